"""The example runs, says what it saw, and draws where it can."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(importlib.import_module("_pictures"), "OUTPUT", tmp_path)
    return importlib.import_module("insight")


def test_it_reports_on_both_networks_before_and_after(example, tmp_path, capsys):
    assert example.main(["--quick", "--seed", "1"]) == 0
    text = capsys.readouterr().out
    for name in ("RNN", "LSTM"):
        assert text.count(f"layers.0 ({name}): the gradient reaching step 0 is") == 2
    assert text.count("before training:") == text.count("after 20 updates:") == 2
    if importlib.util.find_spec("matplotlib"):
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"insight_gradients.png", "insight_gates.png", "insight_histograms.png"}


def test_without_matplotlib_it_says_what_to_install(example, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert example.main(["--quick"]) == 0
    assert capsys.readouterr().out.count("pip install matplotlib") == 3
    assert not list(tmp_path.iterdir())
