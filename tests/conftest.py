"""What every run of the tests says at its end, and a setting for tests that look at the engine."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from minirnn import engine


def pytest_terminal_summary(terminalreporter):
    if find_spec("torch") is None:
        terminalreporter.write_line(
            "PyTorch is not installed: its recorded numbers stood in for it, and the live "
            "comparisons were skipped."
        )


@pytest.fixture
def engine_on():
    """Run each cell as fast as it can be run, also where MINIRNN_ENGINE says something else."""
    with engine.use("auto"):
        yield
