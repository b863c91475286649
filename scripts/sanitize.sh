#!/bin/sh
# Build the engine with the address and undefined-behaviour sanitizers, in a copy of the checkout,
# and run its tests: `scripts/sanitize.sh [arguments of pytest]`. CC chooses the compiler (gcc).
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$here/minirnn" "$here/tests" "$here/docs" "$here/pyproject.toml" "$copy"
cd "$copy"
find . -name '_native*' -delete
include=$(python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
suffix=$(python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
cc=${CC:-gcc}
$cc -O1 -g -Wall -Wextra -Werror -fno-math-errno -fPIC -shared -pthread \
    -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer \
    -I"$include" minirnn/engine/native/machine.c -o "minirnn/engine/_native$suffix" -lm
# Python itself is not built with the sanitizers: their libraries have to be there first. What it
# and NumPy leave to the end of the process is no leak of ours.
libraries=$($cc -print-file-name=libasan.so):$($cc -print-file-name=libubsan.so)
MINIRNN_PROGRAMS=${MINIRNN_PROGRAMS:-40} ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=$libraries \
    python -m pytest -q -p no:cacheprovider tests/engine "$@"
