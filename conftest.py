"""Settings of a test run; docstring examples run where the library they need is installed."""

import os
from importlib.util import find_spec

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
# Read when NumPy is imported. The tests share out the processors: threads of BLAS would only wait
# for one another. Tests of what becomes of those threads ask for several_blas_threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_NEEDS = {
    "minirnn/interop/torch*.py": ["torch"],
    "minirnn/interop/onnx*.py": ["onnx", "onnxruntime"],
    "minirnn/sklearn.py": ["sklearn"],
    "minirnn/interop/keras*.py": ["keras", "torch"],
}

collect_ignore_glob = [
    files for files, libraries in _NEEDS.items() if not all(map(find_spec, libraries))
]


@pytest.fixture(autouse=True)
def _settings_of_the_engine_kept():
    """Put the engine's settings back: examples in docstrings and pages choose some."""
    from minirnn.engine import current  # not before OPENBLAS_NUM_THREADS is set

    before = current.engine, current.threads
    yield
    current.engine, current.threads = before
