"""What the documentation shows of the engine is what it does."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minirnn
from minirnn import engine

PAGE = (Path(__file__).parents[2] / "docs" / "engine.md").read_text("utf-8")


def test_the_program_of_the_lstm_is_the_one_that_is_shown():
    assert f"```text\n{engine.program_of(minirnn.LSTMCell(3, 4))}\n```" in PAGE


def test_the_command_says_what_is_there():
    command = [sys.executable, "-m", "minirnn"]
    root = Path(minirnn.__file__).parents[1]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout
    assert minirnn.__version__ in said
    assert ("not built" in said) == (engine.native() is None)


def test_use_is_a_setting_and_a_block():
    layer = minirnn.GRU(3, 4)
    usual, before = layer.engine, engine.current.engine
    with engine.use("off", threads=3):
        assert "loop" in layer.engine
        assert engine.current.threads == 3
        assert "loop" not in minirnn.GRU(3, 4, engine="require").engine
    assert layer.engine == usual
    assert engine.current.engine == before


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"engine": "fast"}, ValueError, r"one of auto, off, require, got 'fast'"),
        ({"threads": 0}, ValueError, r"at least 1, got 0"),
        ({"threads": True}, TypeError, r"a whole number, got True"),
        ({"engine": "off", "threads": "2"}, TypeError, r"a whole number, got '2'"),
    ],
)
def test_a_wrong_setting_changes_nothing(wrong, error, message):
    before = engine.current.engine, engine.current.threads
    with pytest.raises(error, match=message):
        engine.use(**wrong)
    assert (engine.current.engine, engine.current.threads) == before


def test_the_environment_chooses_the_engine(monkeypatch):
    from minirnn.engine import settings

    monkeypatch.setenv("MINIRNN_ENGINE", "off")
    assert settings.default_engine() == "off"
    monkeypatch.setenv("MINIRNN_ENGINE", "")
    assert settings.default_engine() == "auto"
    monkeypatch.setenv("MINIRNN_ENGINE", "fast")
    with pytest.raises(ValueError, match="MINIRNN_ENGINE should be one of auto, off, require"):
        settings.default_engine()


@pytest.mark.skipif(not hasattr(engine.native(), "sources"), reason="not built by setup.py")
def test_a_module_built_from_other_sources_is_not_used(tmp_path):
    """A checkout that has moved on would otherwise call functions that are not there."""
    shutil.copytree(Path(minirnn.__file__).parent, tmp_path / "minirnn")
    with open(tmp_path / "minirnn/engine/native/step.h", "a", encoding="utf-8") as file:
        file.write("/* changed */\n")
    run = [sys.executable, "-m", "minirnn"]
    said = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "engine   built from other sources than these" in said
