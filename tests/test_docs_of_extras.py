"""The documentation's blocks that need an extra, marked `py`, each run alone where it is there."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
NEEDS = {  # what a block imports, and the libraries that it then needs
    "import torch": ["torch"],
    "interop.torch": ["torch"],
    "interop.onnx": ["onnx", "onnxruntime"],
    "interop.keras": ["keras", "torch"],
    "sklearn": ["sklearn"],
    "distributed": ["distributed"],
    "optuna": ["optuna"],
    "TensorBoard": ["tensorboardX"],
}
BLOCK = re.compile(r"^```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = {
    f"{page.stem}-{k}": block
    for page in sorted(DOCS.glob("*.md"))
    for k, block in enumerate(
        re.findall(r"^```py\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    )
    if "mpi4py" not in block  # run on two ranks by tests/mpi
}


@pytest.mark.parametrize("name", BLOCKS)
def test_each_block_runs_alone(name, tmp_path, monkeypatch):
    block = BLOCKS[name]
    libraries = {library for word in NEEDS if word in block for library in NEEDS[word]}
    assert libraries, "it needs no extra: mark it as python"
    for library in sorted(libraries):
        pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(block, name, "exec"), {"__name__": "__main__"})
