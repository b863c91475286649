"""Each mutant is called by its name, and nothing else is said."""

import numpy as np
import pytest

from minirnn import GradientError, Recurrent, check_gradients
from tests.gradcheck import hosts
from tests.gradcheck.mutants import MUTANTS, UNKNOWN


def error_of(mutant):
    with pytest.raises(GradientError) as caught, np.errstate(all="ignore"):
        check_gradients(mutant.layer(), *mutant.inputs(), mask=mutant.mask_array())
    return caught.value


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_is_named(mutant):
    error = error_of(mutant)
    assert {diagnosis.kind for diagnosis in error.diagnoses} == {mutant.kind}, error
    named = {name for diagnosis in error.diagnoses for name in diagnosis.names}
    assert named == set(mutant.names), error
    for diagnosis in error.diagnoses:
        assert diagnosis.text.startswith("looks like ")
        assert mutant.says in diagnosis.text, error
        assert diagnosis.text in error.diagnosis
        assert diagnosis.text in str(error)


@pytest.mark.parametrize("mutant", UNKNOWN, ids=str)
def test_where_nothing_fits_nothing_is_claimed(mutant):
    error = error_of(mutant)
    assert error.diagnosis is None
    assert error.diagnoses == ()
    assert "No mistake that this check knows" in str(error)


SIZES = [(1, 1, 1), (2, 1, 3)]  # input, hidden, batch
UNMISTAKABLE = {"factor", "transposed", "derivative", "overwritten", "next step", "not summed"}
UNMISTAKABLE |= {"gate order", "diagonal"}
CELLS = [
    mutant
    for mutant in MUTANTS
    if hasattr(mutant.host(), "input_size") and mutant.how == "alone"
    if mutant.kind in UNMISTAKABLE and not mutant.sizes
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("mutant", CELLS, ids=str)
def test_small_sizes_lead_to_silence_rather_than_to_a_wrong_name(mutant, sizes):
    size, hidden, batch = sizes
    cell = hosts.mutant(mutant.host, mutant.old, mutant.new)(size, hidden)
    x = np.random.default_rng(1).normal(size=(batch, size))
    report = check_gradients(cell, x, raises=False)
    assert {diagnosis.kind for diagnosis in report.diagnoses} <= {mutant.kind, "place"}


def test_two_mistakes_at_once_are_both_named():
    mean = hosts.mutant(
        hosts.Affine,
        ("rows.sum(axis=0)", "grad * (1 - self.y**2)", "self.W.grad +="),
        ("rows.mean(axis=0)", "grad * (1 - self.y**2)", "self.W.grad ="),
    )()
    report = check_gradients(mean, np.random.default_rng(0).normal(size=(5, 3)), raises=False)
    found = {diagnosis.kind: diagnosis.names for diagnosis in report.diagnoses}
    assert found == {"overwritten": ("W",), "not summed": ("b",)}


def test_the_mistake_is_found_inside_a_recurrent_layer_under_a_mask():
    cell = hosts.mutant(hosts.TanhCell, "dh * (1 - new**2)", "dh")()
    x = np.random.default_rng(0).normal(size=(3, 5, 3))
    mask = np.ones((3, 5), bool)
    mask[1, 3:] = False
    x[1, 3:] = np.nan
    report = check_gradients(Recurrent(cell), x, mask=mask, raises=False)
    assert [diagnosis.kind for diagnosis in report.diagnoses] == ["derivative"]
    assert report.diagnoses[0].names == ("cell.Wx", "cell.Wh", "cell.b")


def test_a_term_left_out_is_named_as_far_as_each_gradient_shows_it():
    cell = hosts.mutant(hosts.SumCell, "grad_y * (1 + v_next)", "grad_y")()
    report = check_gradients(cell, np.random.default_rng(0).normal(size=(5, 3)), raises=False)
    found = {diagnosis.names: diagnosis.text for diagnosis in report.diagnoses}
    assert found.keys() == {("input", "state[1]", "W"), ("U",)}
    said = "grad * new_state[1] in the gradient on new_state[0]"
    assert said in found["input", "state[1]", "W"]
    assert "times (1 + new_state[1]), is the truth" in found["U",]
