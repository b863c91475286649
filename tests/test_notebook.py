"""The notebook runs from top to bottom, and shows pictures and tables without any set-up."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "first_steps.ipynb"


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs_and_without_set_up():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for cell in code_cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        source = "".join(cell["source"])
        assert "%" not in source.replace("%,", "")
        assert "pyplot" not in source


def test_it_runs_from_top_to_bottom(capsys):
    """The cells one after the other, as a script; a notebook shows what each one ends with."""
    pytest.importorskip("matplotlib")
    names: dict[str, object] = {}
    for cell in code_cells(json.loads(NOTEBOOK.read_text(encoding="utf-8"))):
        exec("".join(cell["source"]), names)
    assert names["history"]["val_accuracy"][-1] > 0.8
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("default")  # those of the notebook's machinery are not ours
def test_it_shows_pictures_and_tables(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = {}
    for cell in code_cells(notebook):
        last = cell["source"].splitlines()[-1]
        shown[last] = next((o["data"] for o in cell["outputs"] if "data" in o), {})
    for call in ("history.plot()", "plot_gradients(record, reach=True)"):
        assert base64.b64decode(shown[call]["image/png"])[:4] == b"\x89PNG"
    for name in ("model", "history", "trainer", "record.report()"):
        assert "text/html" in shown[name]
        assert "at 0x" not in shown[name]["text/plain"]
