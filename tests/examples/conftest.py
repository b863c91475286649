"""What the tests of the examples share."""

import importlib
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Import a script by its name, as if it were run, with pictures written elsewhere."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(importlib.import_module("_pictures"), "OUTPUT", tmp_path)
    return importlib.import_module


@pytest.fixture
def without_pictures(monkeypatch):
    """Nothing is drawn: there is no matplotlib, as far as the scripts can see."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
