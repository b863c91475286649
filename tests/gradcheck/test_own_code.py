"""Errors inside a user's own code say in which class, method, step and line they are."""

import numpy as np
import pytest

import minirnn as m
from minirnn.gradcheck import GradientKindError, GradientShapeError
from tests.gradcheck import hosts as h

ROWS = np.random.default_rng(0).normal(size=(2, 3))
SEQUENCES = np.random.default_rng(1).normal(size=(2, 5, 3))


def raised(host, old, new, how="alone", sizes=()):
    """Return the error that checking a host with a mutant raises."""
    made = h.mutant(host, old, new)(*sizes)
    layer, x = made, ROWS
    if how == "over time":
        layer, x = m.Recurrent(made), SEQUENCES
    if how == "in a model":
        layer = m.Sequential([m.Dense(3, 3, rng=0), m.Recurrent(made), m.Dense(4, 2, rng=1)])
        x = SEQUENCES
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests look at the kind
        m.check_gradients(layer, x)
    return caught.value


PLACES = [
    ("alone", ""),
    ("over time", " at step {} (cell)"),
    ("in a model", " at step {} (layers.1"),
]


@pytest.mark.parametrize(("how", "place"), PLACES)
def test_a_cell_whose_backward_returns_nothing(how, place):
    error = raised(h.TanhCell, "return grad_x, (grad_h,)", "pass", how)
    assert isinstance(error, GradientKindError)
    assert isinstance(error, TypeError)
    assert str(error).startswith("TanhCell.backward" + place.format(4))
    assert "should return (grad_x, grad_state), and gives NoneType" in str(error)
    assert "missing return" in error.diagnosis


@pytest.mark.parametrize(("how", "place"), PLACES)
def test_a_cell_whose_forward_returns_two_values(how, place):
    error = raised(h.TanhCell, "return new, (new,), cache", "return new, (new,)", how)
    assert isinstance(error, GradientKindError)
    assert str(error).startswith("TanhCell.forward" + place.format(0))
    assert "should return (y_t, state, cache), and gives a tuple of 2" in str(error)


@pytest.mark.parametrize(("how", "place"), PLACES)
def test_a_weight_where_its_transpose_belongs_and_does_not_fit(how, place):
    error = raised(h.MemoryCell, "dz @ self.Wh.value.T", "dz @ self.Wh.value", how)
    assert isinstance(error, ValueError)
    text = str(error)
    assert text.startswith("MemoryCell.backward" + place.format(4))
    assert "`grad_h = dz @ self.Wh.value`" in text
    assert "(for y = v @ W, grad_v is grad_y @ W.T" in text


@pytest.mark.parametrize(("how", "place"), PLACES)
@pytest.mark.parametrize("cache", ["(x, h)", "(x, h, new, new)"])
def test_a_cache_of_the_wrong_length(how, place, cache):
    error = raised(h.TanhCell, "cache = (x, h, new)", f"cache = {cache}", how)
    assert isinstance(error, ValueError)
    text = str(error)
    assert text.startswith("TanhCell.backward" + place.format(4))
    assert "`x, h, new = cache`" in text
    assert "values to unpack (expected 3" in text


def test_a_loss_that_returns_an_array():
    loss = h.mutant(h.HalfSquares, "float((self.gap**2).sum()", "((self.gap**2).sum(axis=1)")()
    with pytest.raises(GradientKindError, match=r"forward should return one number.*an array \(2,"):
        m.check_gradients(loss, ROWS, ROWS[::-1])


def test_a_layer_that_returns_nothing_is_named_and_not_its_neighbour():
    silent = h.mutant(h.Affine, "return self.y", "pass")()
    with pytest.raises(GradientKindError, match=r"^Affine.forward \(layers.0\).*missing return"):
        m.check_gradients(m.Sequential([silent, m.Dense(4, 2, rng=0)]), ROWS)
    silent = h.mutant(h.Affine, "return dz @", "dz @")()
    with pytest.raises(GradientKindError, match=r"^Affine.backward \(layers.1\).*missing return"):
        m.check_gradients(m.Sequential([m.Dense(3, 3, rng=0), silent]), ROWS)


def test_a_layer_whose_backward_has_another_shape_is_named_and_not_its_neighbour():
    flat = h.mutant(h.Affine, "return dz @ self.W.value.T", "return grad")()
    with pytest.raises(GradientShapeError, match=r"^Affine.backward \(layers.1\).*\(2, 3\), got"):
        m.check_gradients(m.Sequential([m.Dense(3, 3, rng=0), flat]), ROWS)


ADDED = (
    "what is added to the gradient of a parameter should have the parameter's shape, summed over"
)


@pytest.mark.parametrize(("how", "place"), PLACES)
def test_a_transposed_gradient_that_does_not_fit(how, place):
    error = raised(h.TanhCell, "self.Wx.grad += x.T @ dz", "self.Wx.grad += dz.T @ x", how)
    assert isinstance(error, ValueError)
    assert str(error).startswith("TanhCell.backward" + place.format(4))
    assert str(error).count(ADDED) == 1
    assert "Wx (3, 4)" in str(error)


@pytest.mark.parametrize("how", ["alone", "over time", "in a model"])
@pytest.mark.parametrize("line", ["self.b.grad = dz", "self.b.grad += dz"])
def test_a_gradient_without_the_sum(how, line):
    error = raised(h.TanhCell, "self.b.grad += dz.sum(axis=0)", line, how)
    assert isinstance(error, ValueError)
    assert f"`{line}`" in str(error)
    assert str(error).count(ADDED) == 1
    assert "b (4,)" in str(error)


def test_a_class_in_the_place_of_an_object():
    with pytest.raises(TypeError, match=r"got the class Dense: write Dense\(\.\.\.\)"):
        m.check_gradients(m.Dense, ROWS)


@pytest.mark.parametrize(("how", "place"), PLACES)
@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("(grad_h,)", r"shapes [(2, 4), (2, 4)], got [(2, 4)]"),
        ("(grad_h, grad_c, grad_c)", r"got [(2, 4), (2, 4), (2, 4)]"),
        ("(grad_h, None)", "got [(2, 4), ()]"),
        ("[grad_h, grad_c]", "a tuple of 2 state arrays, got list"),
    ],
)
def test_other_states_than_it_was_given(how, place, new, says):
    error = raised(h.MemoryCell, "(grad_h, grad_c)", new, how)
    assert str(error).startswith("MemoryCell.backward" + place.format(4))
    assert says in str(error)


@pytest.mark.parametrize(("how", "place"), PLACES)
def test_a_step_of_another_shape(how, place):
    error = raised(h.TanhCell, "return new, (new,)", "return new[:, :2], (new,)", how)
    assert str(error).startswith("TanhCell.forward" + place.format(0))
    assert "= (2, 4), got (2, 2); set self.output_size" in str(error)
    error = raised(h.TanhCell, "return grad_x, (grad_h,)", "return None, (grad_h,)", how)
    assert str(error).startswith("TanhCell.backward" + place.format(4))
    assert "a gradient on the input (batch, input_size) = (2, 3), got ()" in str(error)


def test_an_error_of_any_kind_keeps_its_class():
    error = raised(h.TanhCell, "new = np.tanh(", "new = nothing * np.tanh(", "over time")
    assert isinstance(error, NameError)
    assert str(error).startswith("TanhCell.forward at step 0 (cell), in `new = nothing * np.tanh(")


def test_a_wrong_call_is_not_blamed_on_the_layer():
    with pytest.raises(ValueError, match=r"^Dense: axis 1"):
        m.check_gradients(m.Dense(4, 2, rng=0), ROWS)
    with pytest.raises(ValueError, match=r"^GRU: the input should be"):
        m.check_gradients(m.GRU(3, 2, rng=0), ROWS)


def test_a_mask_that_a_composite_layer_would_drop_names_both():
    class Around(m.Layer):
        def __init__(self):
            self.inner = m.GRU(3, 3, rng=0)

        def forward(self, x):
            return x + self.inner.forward(x)

        def backward(self, grad):
            return grad + self.inner.backward(grad)

    with pytest.raises(TypeError, match=r"Around: .* a mask, which its inner \(GRU\) would need"):
        m.check_gradients(Around(), SEQUENCES, mask=np.ones((2, 5), bool))
