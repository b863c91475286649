"""Residual, Parallel and merge modes: numbers, gradients, masks, states, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import minirnn as m
from minirnn import check_gradients
from tests.contract import helpers

D = {"dtype": np.float64}
MERGES = ("concat", "sum", "mean", "product")
X = np.random.default_rng(0).standard_normal((3, 5, 4))
MASK = np.array([[True] * 5, [True, False, True, True, False], [True, True, False, False, False]])


def merged(parts, how):
    if how == "concat":
        return np.concatenate(parts, axis=-1)
    total = parts[0] * parts[1] if how == "product" else parts[0] + parts[1]
    return total / 2 if how == "mean" else total


def residual():
    inner = m.Sequential([m.LayerNorm(4, **D), m.GRU(4, 4, rng=0, **D), m.Dense(4, 4, rng=1, **D)])
    return m.Residual(inner)


def parallel(how):
    dense = m.Sequential([m.Dense(4, 3, rng=1, **D), m.Tanh()])
    return m.Parallel([m.LSTM(4, 3, rng=0, **D), dense], merge=how)


def bidirectional(how):
    return m.Bidirectional(m.LSTM(4, 3, rng=0, **D), m.GRU(4, 3, rng=1, **D), merge=how)


LAYERS = {"residual": residual} | {
    f"{make.__name__} {how}": lambda make=make, how=how: make(how)
    for make in (parallel, bidirectional)
    for how in MERGES
}
layers = pytest.mark.parametrize("name", LAYERS)


@layers
@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])
def test_every_gradient(name, mask):
    layer = helpers.randomize(LAYERS[name](), 1)
    assert check_gradients(layer, X, mask=mask).passed


@layers
def test_padding_may_hold_anything_and_gives_zeros(name):
    layer = LAYERS[name]()
    y = layer.forward(np.where(MASK[:, :, None], X, np.nan), MASK)
    np.testing.assert_array_equal(y[~MASK], 0)
    np.testing.assert_array_equal(y, layer.forward(X, MASK))
    grad = layer.backward(np.where(MASK[:, :, None], np.ones(y.shape), np.nan))
    np.testing.assert_array_equal(grad[~MASK], 0)
    assert all(np.isfinite(p.grad).all() for p in layer.parameters())


@pytest.mark.parametrize("how", MERGES)
def test_what_is_merged(how):
    layer = parallel(how)
    parts = [one.forward(X) for one in layer.layers]
    np.testing.assert_allclose(layer.forward(X), merged(parts, how), rtol=1e-14)
    both = bidirectional(how)
    parts = [both.forward_layer.forward(X), both.backward_layer.forward(X)]
    np.testing.assert_allclose(both.forward(X), merged(parts, how), rtol=1e-14)
    assert both.output_size == both.forward(X).shape[2]


def test_residual_adds_its_input():
    layer = residual()
    np.testing.assert_allclose(layer.forward(X), X + layer.layer.forward(X), rtol=1e-14)


@pytest.mark.parametrize("make", [residual, lambda: parallel("sum")])
def test_step_by_step_is_the_whole_sequence(make):
    model = m.Sequential([make(), m.Softmax()])
    steps = np.stack([model.step(X[:, t]) for t in range(5)], axis=1)
    np.testing.assert_allclose(steps, model.predict(X), rtol=1e-12)
    model.reset_state()
    np.testing.assert_allclose(model.step(X[:, 0]), steps[:, 0], rtol=1e-12)


def test_one_branch_alone_is_not_changed_by_the_mask():
    inner = m.Tanh()
    y = m.Parallel([inner], merge="sum").forward(X, MASK)
    assert y is not inner._cache
    np.testing.assert_allclose(inner.backward(np.ones_like(X))[MASK], 1 - np.tanh(X[MASK]) ** 2)


def test_branches_that_end_without_time():
    model = m.Sequential(
        [m.GRU(4, 3, rng=0), m.Parallel([m.LastStep(), m.MeanOverTime()]), m.Dense(6, 2, rng=1)]
    )
    assert model.forward(X, MASK).shape == (3, 2)
    assert not model.keeps_time


def test_a_cell_keeps_nothing_and_may_stand_in_several_layers():
    cell = m.GRUCell(4, 4, rng=0, **D)
    one, two = m.Recurrent(cell), m.Recurrent(cell, reverse=True)
    for layer in (m.Parallel([one, two]), m.Sequential([one, two])):
        assert check_gradients(layer, X, mask=MASK).passed


REFUSED = {
    "another number of features": (
        lambda: m.Residual(m.Dense(4, 3)).forward(X),
        r"Residual: Dense should .*\(3, 5, 4\), got \(3, 5, 3\); .*put a Dense beside it",
    ),
    "no time left": (
        lambda: m.Residual(m.LastStep()).forward(X, MASK),
        r"Residual: LastStep should return .*\(3, 5, 4\), got \(3, 4\)",
    ),
    "some keep time": (
        lambda: m.Parallel([m.LastStep(), m.Tanh()]).forward(X, MASK),
        r"same shape but for the features, got \(3, 4\), \(3, 5, 4\)",
    ),
    "other inputs": (lambda: m.Parallel([m.Dense(4, 2), m.Dense(3, 2)]), "input_size is 4 and 3"),
    "sizes that do not add": (
        lambda: m.Parallel([m.Dense(4, 2), m.Dense(4, 3)], merge="sum").forward(X),
        r"Parallel: for merge='sum' .* same shape, got \(3, 5, 2\), \(3, 5, 3\)",
    ),
    "the same layer twice": (lambda: m.Parallel([m.Tanh()] * 2), "hold the same Tanh object"),
    "no layers": (lambda: m.Parallel([]), "the list of layers is empty"),
    "an unknown merge": (lambda: m.Parallel([m.Tanh()], merge="ave"), "merge should be one of"),
    "directions that do not add": (
        lambda: m.Bidirectional(m.GRU(4, 3), m.GRU(4, 4), merge="mean").forward(X),
        r"Bidirectional: for merge='mean' .* got \(3, 5, 3\), \(3, 5, 4\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_an_output_that_cannot_be_added_is_refused():
    class Half(m.Layer):
        def forward(self, x):
            return x[..., :2]

    with pytest.raises(ValueError, match=r"Residual: Half should return .*\(3, 5, 4\), got"):
        m.Residual(Half()).forward(X)
    with pytest.raises(ValueError, match=r"Residual: SteppedHalf should return .*\(3, 4\), got"):
        m.Residual(SteppedHalf()).step(X[:, 0])


class SteppedHalf(m.Layer):
    def step(self, x_t):
        return x_t[:, :1]  # which would be added to every feature


class Summed(m.Layer):
    """Adds its weight; forgets that the gradient on the input has a time axis."""

    def __init__(self):
        self.w = m.Parameter(np.zeros(4))

    def forward(self, x):
        return x + self.w.value

    def backward(self, grad):
        self.w.grad += grad.sum(axis=(0, 1))
        return grad.sum(axis=1, keepdims=True)


def test_a_gradient_that_would_be_broadcast_is_refused_and_nothing_is_added():
    for layer in (m.Residual(Summed()), m.Parallel([m.Tanh(), Summed()], merge="sum")):
        y = layer.forward(X)
        with pytest.raises(ValueError, match=r"Summed: backward .*\(3, 5, 4\), got \(3, 1, 4\)"):
            layer.backward(np.ones_like(y))
        (w,) = layer.parameters()
        np.testing.assert_array_equal(w.grad, 0)


def test_a_gradient_that_is_a_list_is_refused_by_its_shape():
    class Listed(Summed):
        def backward(self, grad):
            return super().backward(grad).tolist()

    for layer in (m.Residual(Listed()), m.Parallel([m.Tanh(), Listed()], merge="sum")):
        y = layer.forward(X)
        with pytest.raises(ValueError, match=r"Listed: backward .*\(3, 5, 4\), got \(3, 1, 4\)"):
            layer.backward(np.ones_like(y))


class CumulativeSum(m.Layer):
    """Mixes the steps, and knows nothing of a mask."""

    def forward(self, x):
        self.shape = x.shape
        return x.cumsum(axis=1)

    def backward(self, grad):
        return grad[:, ::-1].cumsum(axis=1)[:, ::-1]


def test_padding_takes_no_gradient_where_the_layer_inside_mixes_the_steps():
    x, mask = np.array([[[1.0], [5.0], [2.0]]]), np.array([[True, False, True]])
    layer = m.Residual(CumulativeSum())
    np.testing.assert_array_equal(layer.forward(x, mask)[0, :, 0], [2, 0, 5])
    np.testing.assert_array_equal(layer.backward([[[1.0], [7.0], [1.0]]])[0, :, 0], [3, 0, 2])
    for model in (
        m.Parallel([CumulativeSum(), m.Tanh()]),
        m.Sequential([CumulativeSum()]),
        m.Sequential([CumulativeSum(), m.GRU(1, 2, rng=0), m.LastStep()]),
        m.Sequential([m.Parallel([m.Sequential([CumulativeSum(), m.LastStep()]), m.LastStep()])]),
    ):
        assert m.check_gradients(model, x, mask=mask).passed
