"""minirnn against PyTorch, where it is installed, on fresh numbers and sizes."""

import importlib

import numpy as np
import pytest

from tests.parity import minirnn_side
from tests.parity.cases import CASES, draw, resized
from tests.parity.compare import assert_agree, recorded


@pytest.fixture(scope="module")
def torch_side():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    return importlib.import_module("tests.parity.torch_side")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_torch(torch_side, name, seed, dtype):
    case = resized(CASES[name], np.random.default_rng([seed, *name.encode()]))
    inputs = draw(case, seed, dtype)
    assert_agree(minirnn_side.results(case, inputs), torch_side.results(case, inputs), dtype)


@pytest.mark.parametrize("name", CASES)
def test_the_recorded_numbers_are_those_of_torch(torch_side, name):
    inputs, expected = recorded(CASES[name], np.float64)
    assert_agree(torch_side.results(CASES[name], inputs), expected, np.float64)
