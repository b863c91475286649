"""minirnn against the numbers that PyTorch 2.13.0 gave when they were recorded."""

import numpy as np
import pytest

from tests.parity import minirnn_side
from tests.parity.cases import CASES
from tests.parity.compare import RECORDED, assert_agree, recorded, recorded_arrays


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_recorded_numbers(name, dtype):
    inputs, expected = recorded(CASES[name], dtype)
    assert_agree(minirnn_side.results(CASES[name], inputs), expected, dtype)


def test_the_trainer_takes_the_recorded_steps():
    case = CASES["training/embedding-lstm-dense"]
    inputs, expected = recorded(case, np.float64)
    trained = minirnn_side.training(case, inputs, with_trainer=True)
    assert_agree(trained, expected, np.float64)


def test_the_two_forms_of_weight_decay_are_told_apart():
    l2, decoupled, none = (CASES[f"optimizers/{name}"] for name in ("adam-l2", "adamw", "adam"))
    assert l2.learning_rate == decoupled.learning_rate
    assert l2.options == decoupled.options
    inputs, _ = recorded(none, np.float64)
    ends = [
        {name: values[-1] for name, values in minirnn_side.results(case, inputs).items()}
        for case in (l2, decoupled, none)
    ]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert np.min(np.abs(ends[one]["W"] - ends[other]["W"])) > 1e-3
        np.testing.assert_array_equal(ends[one]["b"], ends[other]["b"])  # exempt from decay


@pytest.mark.parametrize("group", sorted({case.group for case in CASES.values()}))
def test_exactly_the_cases_of_the_table_are_recorded(group):
    found = {f"{group}/{key.split(':')[0]}" for key in recorded_arrays(group)}
    assert found == {name for name, case in CASES.items() if case.group == group}


def test_the_recorded_files_are_small():
    assert sum(path.stat().st_size for path in RECORDED.iterdir()) < 800_000


@pytest.mark.parametrize("wrong", ["value", "nan", "shape", "dtype", "missing"])
def test_the_comparison_notices(wrong):
    """What every test here rests on."""
    _, expected = recorded(CASES["recurrent/lstm"], np.float64)
    actual = {name: array.copy() for name, array in expected.items()}
    match wrong:
        case "value":
            actual["grad_x"][0, 0, 0] += 1e-9 * np.max(np.abs(expected["grad_x"]))
        case "nan":
            actual["grad_x"][0, 0, 0] = np.nan
        case "shape":
            actual["grad_x"] = actual["grad_x"][:1]
        case "dtype":
            actual["grad_x"] = actual["grad_x"].astype(np.longdouble)
        case "missing":
            del actual["grad_x"]
    assert_agree(expected, expected, np.float64)
    with pytest.raises(AssertionError, match=r"grad_x|shape"):
        assert_agree(actual, expected, np.float64)
