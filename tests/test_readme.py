"""Every code block of the README and of the documentation runs."""

from __future__ import annotations

import contextlib
import inspect
import io
import operator
import re
from pathlib import Path

import pytest

import minirnn

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


REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")
ROOMS = ["", "callbacks", "course", "data", "insight", "schedules", "tasks", "training"]


def _named(dotted):
    """Return what a name stands for, in the package or in one of its rooms."""
    parts = dotted.removeprefix("minirnn.").split(".")
    for room in ROOMS:
        with contextlib.suppress(AttributeError):
            return operator.attrgetter(".".join([*filter(None, [room]), *parts]))(minirnn)
    return None


def test_every_public_name_is_in_the_reference():
    shown = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", REFERENCE))))
    public = {one for one in minirnn.__all__ if not inspect.ismodule(getattr(minirnn, one))}
    for room in ("callbacks", "course", "data", "schedules"):
        public |= set(getattr(minirnn, room).__all__)
    assert public - shown == {"__version__"}


def test_every_name_of_the_reference_takes_what_is_shown():
    """What is called in the first column is there, and has the arguments named."""
    found = 0
    for cell in re.findall(r"^\| (.*?) \|", REFERENCE, re.MULTILINE):
        for name, arguments in re.findall(r"`((?:minirnn\.)?[\w.]*?[A-Za-z_]\w+)\((.*?)\)`", cell):
            if name.split(".")[0] in ("trainer", "model"):
                owner = minirnn.Trainer if name.startswith("trainer") else minirnn.Layer
                thing = getattr(owner, name.split(".")[1])
            elif "interop" in name:
                continue
            else:
                thing = _named(name)
            assert thing is not None, name
            takes = inspect.signature(thing).parameters
            plain = re.sub(r"\([^()]*\)|\"[^\"]*\"", "", arguments)
            for one in re.findall(r"(?<!=)\b([a-z_]\w*)(?=\s*(?:[,=]|$))", plain):
                assert one in takes, (name, one)
                found += 1
    assert found > 80
