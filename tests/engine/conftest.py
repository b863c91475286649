import pytest

from minirnn.engine import native


@pytest.fixture
def poisoned():
    """Fill all memory with NaN before it is used: what is read unwritten shows."""
    native().poison(True)
    yield
    native().poison(False)
