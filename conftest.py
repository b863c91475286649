"""Examples in docstrings run where the library that they need is installed."""

from importlib.util import find_spec

_NEEDS = {"torch": "minirnn/interop/torch*.py"}

collect_ignore_glob = [files for library, files in _NEEDS.items() if find_spec(library) is None]
