"""What every run of the tests says at its end, and settings that some of the tests need."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from minirnn import engine
from minirnn.kernels.threads import _blas


def pytest_terminal_summary(terminalreporter):
    if engine.native() is None:
        terminalreporter.write_line(
            "The engine is not built in this folder (pip install -e . builds it): its tests were "
            "skipped."
        )
    elif engine.current.engine == "off":
        terminalreporter.write_line("The engine was off.")
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


@pytest.fixture(params=engine.native().instruction_sets() if engine.native() else ["none"])
def instruction_set(request):
    """Run the machine with each instruction set of this processor."""
    before = engine.native().instruction_set()
    engine.native().instruction_set(request.param)
    yield request.param
    engine.native().instruction_set(before)


@pytest.fixture(scope="module")
def several_blas_threads():
    """Give BLAS two threads, where their number can be set at all."""
    blas = _blas()
    before = blas and blas.get()
    if blas:
        blas.set(2)
        assert blas.get() == 2
    yield
    if blas:
        blas.set(before)
