"""What our layers keep beyond the contract of `check_layer`, which test_everything runs on all.

Larger sizes, the wording of errors, names and seeds; and gradients that are not zero by chance.
"""

import copy

import numpy as np
import pytest

from tests.contract import helpers, table

LAYERS = pytest.mark.parametrize("case", **table.by_name(table.LAYERS))
LEARNED = pytest.mark.parametrize("case", **table.by_name(table.LEARNED))
MASKED = pytest.mark.parametrize("case", **table.by_name(table.MASKED))


def _ready(case, seed=5, dtype=np.float64):
    layer = helpers.randomize(case.make(4, dtype), seed)
    x = case.input(3, 5)
    y = layer.forward(x)
    return layer, x, y, np.random.default_rng(seed).normal(size=y.shape)


def _grads(layer):
    return {name: parameter.grad.copy() for name, parameter in layer.named_parameters()}


@LAYERS
def test_backward_before_forward_is_refused(case):
    layer = case.make(4, np.float32)
    x = case.input(3, 5)
    grad = np.ones_like(copy.deepcopy(layer).forward(x))
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        layer.backward(grad)


@LAYERS
def test_two_backwards_give_the_same_and_double_the_gradient(case):
    layer, _, _, grad = _ready(case)
    layer.zero_grad()
    first = layer.backward(grad)
    once = _grads(layer)
    second = layer.backward(grad)
    np.testing.assert_array_equal(first, second)
    for name, parameter in layer.named_parameters():
        assert np.abs(once[name]).max() > 0, name
        np.testing.assert_allclose(parameter.grad, 2 * once[name], 1e-11, 1e-13, err_msg=name)


@LAYERS
def test_nothing_given_or_returned_is_changed_by_later_calls(case):
    layer, x, y, grad = _ready(case)
    grad_x = layer.backward(grad)
    kept = [y, x, grad] + ([] if grad_x is None else [grad_x])
    if hasattr(layer, "state"):
        kept += helpers.arrays_of(layer.state) + helpers.arrays_of(layer.grad_state)
    before = [array.copy() for array in kept]

    layer.forward(case.input(3, 5, seed=9))
    layer.backward(-grad)
    layer.forward(case.input(3, 2, seed=8))
    for parameter in layer.parameters():
        parameter.value += 1
    for array, old in zip(kept, before, strict=True):
        np.testing.assert_array_equal(array, old)


@LAYERS
def test_parameters_have_their_names_in_their_order_always(case):
    layer, x, _, grad = _ready(case)
    assert [name for name, _ in layer.named_parameters()] == list(case.names)
    identities = [id(parameter) for parameter in layer.parameters()]
    layer.backward(grad)
    layer.forward(x)
    assert [id(parameter) for parameter in layer.parameters()] == identities
    assert list(layer.state_dict()) == list(case.names)
    assert layer.parameter_count == sum(p.size for p in layer.parameters())


@LAYERS
@pytest.mark.parametrize("wrong", ["wider", "longer", "flat", "number"])
def test_a_gradient_of_the_wrong_shape_changes_nothing(case, wrong):
    layer, _, y, grad = _ready(case)
    layer.backward(grad)
    before = helpers.snapshot(layer)
    bad = {
        "wider": np.ones((*y.shape[:-1], y.shape[-1] + 1)),
        "longer": np.ones((y.shape[0] + 1, *y.shape[1:])),
        "flat": np.ones(y.shape[-1]),  # would broadcast
        "number": 1.0,
    }[wrong]
    with pytest.raises(ValueError, match=r"gradient should have shape .*got \("):
        layer.backward(bad)
    helpers.assert_same(before, helpers.snapshot(layer))


@LEARNED
def test_an_input_of_the_wrong_shape_changes_nothing(case):
    layer, x, _, grad = _ready(case)
    expected = layer.backward(grad)
    before = helpers.snapshot(layer)
    wrong = x[..., None] if case.takes == "tokens" else np.ones((*x.shape[:-1], 7))
    with pytest.raises(
        ValueError, match=r"got (shape )?\(3, 5, 1\)|axis \d \(features\).*be 3, got 7"
    ):
        layer.forward(wrong)
    helpers.assert_same(before, helpers.snapshot(layer))
    again = layer.backward(grad)  # still that of the forward before
    if expected is not None:
        np.testing.assert_array_equal(again, expected)


@MASKED
def test_a_wrong_mask_is_refused_and_changes_nothing(case):
    layer, x, _, grad = _ready(case)
    layer.backward(grad)
    before = helpers.snapshot(layer)
    with pytest.raises(ValueError, match=r"mask should have shape \(3, 5\).*got \(5, 3\).*swapped"):
        layer.forward(x, np.ones((5, 3), bool))
    with pytest.raises(TypeError, match=r"mask should be boolean.*int"):
        layer.forward(x, np.ones((3, 5), int))
    helpers.assert_same(before, helpers.snapshot(layer))


@LEARNED
def test_the_same_seed_gives_the_same_weights_and_the_global_state_is_left_alone(case):
    before = np.random.get_state()  # the legacy generator, which nothing may touch
    first, second = case.make(4, np.float32), case.make(4, np.float32)
    for name, value in first.state_dict().items():
        np.testing.assert_array_equal(value, second.state_dict()[name], err_msg=name)
    after = np.random.get_state()
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]
