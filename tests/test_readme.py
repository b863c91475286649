"""Every code block of the README and of the documentation runs."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/*.md", "examples/*.md")
    for page in ROOT.glob(pattern)
    if page.name != "gallery.md"  # written by the site's build
)

NEEDS = {  # what a block has in it, and the library that it then needs
    ".plot(": "matplotlib",
    "matplotlib.pyplot": "matplotlib",
    "plot_attention(": "matplotlib",
    "sklearn": "sklearn",
}


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


BLOCKS = [(page, k) for page in PAGES for k in range(len(python_blocks(page)))]


@pytest.mark.parametrize(
    ("page", "k"), BLOCKS, ids=[f"{page.relative_to(ROOT)}-{k}" for page, k in BLOCKS]
)
def test_each_code_block_runs_alone(page, k, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = python_blocks(page)[k]
    for word, library in NEEDS.items():
        if word in block:
            pytest.importorskip(library)
    code = compile(block, f"{page.name}, block {k}", "exec")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        exec(code, {"__name__": "__main__"})


def test_the_readme_has_its_two_commands_and_a_program():
    text = (ROOT / "README.md").read_text("utf-8")
    commands = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert "examples/names.py" in commands[0]
    assert "pytest" in commands[1]
    assert len(python_blocks(ROOT / "README.md")) >= 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
