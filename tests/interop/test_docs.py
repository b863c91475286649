"""The blocks of docs/interop.md run, section by section, where the library is installed."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"
LIBRARIES = {"PyTorch": ["torch"], "ONNX": ["onnx", "onnxruntime"], "Keras": ["keras", "torch"]}
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S))


@pytest.mark.parametrize("name", SECTIONS)
def test_blocks_run(name, tmp_path, monkeypatch):
    for library in LIBRARIES[name]:
        pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```py\n(.*?)^```$", SECTIONS[name], re.M | re.S)
    assert blocks
    names = {"__name__": "__main__"}
    for k, block in enumerate(blocks):
        exec(compile(block, f"{name}, block {k}", "exec"), names)
