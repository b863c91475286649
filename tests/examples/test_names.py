"""The main job as a user runs it, files that cannot be learned from included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
TOWNS = ["Aachen", "Berlin", "Bremen", "Dresden", "Essen", "Köln", "Leipzig", "München", "Ulm"]


@pytest.fixture
def run(example, monkeypatch, capsys, without_pictures):
    """Call the script with the words of a command line; return what it says and its exit status."""

    def run(*arguments):
        words = [*map(str, arguments)]
        monkeypatch.setattr(sys, "argv", ["names.py", *words])
        try:
            status, message = example("names").main(), ""
        except SystemExit as error:  # with a text, Python prints it and the status is 1
            status, message = (error.code, "") if isinstance(error.code, int) else (1, error.code)
        said = capsys.readouterr()
        return SimpleNamespace(returncode=status, stdout=said.out, stderr=said.err + message)

    return run


def test_from_the_command_line(towns):
    done = subprocess.run(
        [sys.executable, "-W", "error", "examples/names.py", "--text", str(towns), "--epochs=0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "8 names to learn from, 1 held out" in done.stdout


@pytest.fixture
def towns(tmp_path):
    path = tmp_path / "towns.txt"
    path.write_text("\n".join([*TOWNS, "", "Ulm"]) + "\n", encoding="utf-8")
    return path


def test_the_size_of_a_batch(run, towns):
    sizes = ["--hidden-size", 8, "--epochs", 1]
    one, all_at_once = (run("--text", towns, *sizes, "--batch-size", n) for n in (1, 8))
    assert one.returncode == all_at_once.returncode == 0
    assert one.stdout != all_at_once.stdout  # eight updates, and one


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_list_of_ones_own(run, cell, towns):
    done = run("--text", towns, "--cell", cell, "--hidden-size", 8, "--epochs", 3, "--seed", 1)
    assert done.returncode == 0, done.stderr
    assert "8 names to learn from, 1 held out" in done.stdout, "Ulm is there twice"
    assert cell.upper() in done.stdout
    epochs = [line.split() for line in done.stderr.splitlines() if line.startswith("epoch ")]
    assert [line[1] for line in epochs] == ["1/3", "2/3", "3/3"]
    best = min(float(line[-1]) for line in epochs)
    (said,) = (line for line in done.stdout.splitlines() if line.startswith("Best validation"))
    assert float(said.split()[3].rstrip(";")) == pytest.approx(best, abs=1e-3)
    invented = done.stdout.split("none of them in the list:\n")[1].split("\n")[0].split()
    assert not set(invented) & set(TOWNS)


def test_a_model_that_was_saved_and_loaded_says_the_same(run, towns, tmp_path):
    model = tmp_path / "towns.model"
    first = run("--text", towns, "--quick", "--cell", "gru", "--save", model)
    assert first.returncode == 0, first.stderr
    again = [run("--text", towns, "--epochs", 0, "--load", model) for _ in range(2)]
    assert again[0].returncode == 0, again[0].stderr
    assert "GRU" in again[0].stdout, "the file knows the cell"
    assert again[0].stdout == again[1].stdout
    nowhere = run("--text", towns, "--quick", "--save", tmp_path / "nowhere" / "towns.model")
    assert "there is no folder" in nowhere.stderr
    assert nowhere.stdout == "", "said before any time is spent"
    other = tmp_path / "other.txt"
    other.write_text("abc\nxyz\n")
    wrong = run("--text", other, "--epochs", 0, "--load", model)
    assert "does not fit the saved model" in wrong.stderr
    assert "'b' (U+0062)" in wrong.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"\n  \n", "is empty"),
        (b"Anna", "has one line only"),
        (b"Anna\nAnna\n", "has one line only"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is not a UTF-8 text"),
        (b"a\x00b\nc\n", "is a binary file"),
        ("Zoë\nRené\n".encode("latin-1"), "is not a UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_learned_from(run, content, message, tmp_path):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    done = run("--text", path)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith("names.py: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1, "one line, no traceback"


@pytest.mark.parametrize(
    "arguments",
    [("--hidden-size", 0), ("--epochs", -1), ("--cell", "elman")],
)
def test_options_that_make_no_sense(run, arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert arguments[0] in done.stderr


def test_a_folder_and_a_file_that_holds_no_model(run, towns, tmp_path):
    for wrong in (run("--text", tmp_path), run("--text", towns, "--load", towns)):
        assert wrong.returncode != 0
        assert len(wrong.stderr.splitlines()) == 1
        assert wrong.stderr.startswith("names.py: ")
