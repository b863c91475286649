"""Models inside models and own composite layers: states, masks, steps, sizes, blame."""

from __future__ import annotations

import numpy as np
import pytest

import minirnn as m
from minirnn import check_gradients
from tests.contract import helpers

D = {"dtype": np.float64}
X = np.random.default_rng(0).standard_normal((3, 5, 2))
MASK = np.array([[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4])


def stack():
    inner = m.Sequential([m.GRU(4, 3, rng=1, **D), m.Tanh()])
    return m.Sequential([m.LSTM(2, 4, rng=0, **D), inner, m.Dense(3, 2, rng=2, **D)])


# ---------------------------------------------------------------- states


def test_states_go_out_and_come_in_again():
    model = stack()
    whole = model.forward(X)
    model.forward(X[:, :3])
    state = model.state
    assert [type(entry) for entry in state] == [tuple, tuple, type(None)]
    np.testing.assert_allclose(model.forward(X[:, 3:], state=state), whole[:, 3:], rtol=1e-12)


def test_gradients_flow_through_states_as_through_time():
    """Two halves, their states and gradients handed on by hand, are the whole."""
    model = stack()
    rng = np.random.default_rng(1)
    grad = rng.standard_normal((3, 5, 2))
    model.forward(X)
    expected = model.backward(grad)
    grads = [p.grad.copy() for p in model.parameters()]
    model.zero_grad()
    model.forward(X[:, :3])
    state = model.state
    model.forward(X[:, 3:], state=state)
    late = model.backward(grad[:, 3:])
    into = model.grad_state
    assert [type(entry) for entry in into] == [tuple, tuple, type(None)]
    model.forward(X[:, :3])
    early = model.backward(grad[:, :3], into)
    np.testing.assert_allclose(np.concatenate([early, late], axis=1), expected, rtol=1e-10)
    for one, other in zip(model.parameters(), grads, strict=True):
        np.testing.assert_allclose(one.grad, other, rtol=1e-10, atol=1e-13)


def test_a_state_of_another_form_is_refused():
    model = stack()
    with pytest.raises(ValueError, match=r"a tuple with an entry for each of the 3"):
        model.forward(X, state=(None,))
    with pytest.raises(TypeError, match=r"Dense \(layer 2 of the model\): has no state"):
        model.forward(X, state=(None, None, (X[:, 0],)))


# ---------------------------------------------------------------- own composite layers


class Careless(m.Layer):
    """Holds a layer that would need the mask, and does not take one."""

    def __init__(self):
        self.inside = [m.GRU(2, 3, rng=0)]

    def forward(self, x):
        return self.inside[0].forward(x)

    def backward(self, grad):
        return self.inside[0].backward(grad)


class Careful(Careless):
    uses_mask = True

    def forward(self, x, mask=None):
        return self.inside[0].forward(x, mask)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: m.Sequential([one, m.Dense(3, 2)])])
def test_a_mask_that_would_be_lost_is_refused(wrap):
    for run in ("predict", "forward"):
        model = wrap(Careless())
        if run == "forward" and isinstance(model, Careless):
            continue
        with pytest.raises(TypeError, match=r"Careless.*inside\.0 \(GRU\).*uses_mask = True"):
            getattr(model, run)(X, MASK)
        assert getattr(model, run)(X).shape[:2] == (3, 5)


class Mean(m.Layer):
    """Takes the time axis away, and would count the padding."""

    def forward(self, x):
        return x.mean(axis=1)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: m.Sequential([one, m.Dense(2, 2)])])
def test_the_padding_is_not_counted_by_a_layer_that_does_not_take_the_mask(wrap):
    model = wrap(Mean())
    for x in (X, X[:, :2]):  # of two steps, the output has the mask's shape by chance
        mask = MASK[:, : x.shape[1]]
        with pytest.raises(ValueError, match=r"Mean.*\(3, 2\) has no time axis.*uses_mask = True"):
            model.predict(x, mask)
        assert model.predict(x).shape == (3, 2)
    inside = model if isinstance(model, Mean) else model[0]
    inside.keeps_time = False  # said, so meant
    assert model.predict(X, MASK).shape == (3, 2)


def test_tokens_that_become_tokens_keep_their_mask():
    class Shift(m.Layer):
        def forward(self, x):
            return x + 1

    tokens = np.arange(15).reshape(3, 5) % 4
    rest = [m.Embedding(5, 2, rng=0), m.GRU(2, 3, rng=1), m.Dense(3, 2, rng=2)]
    np.testing.assert_array_equal(
        m.Sequential([Shift(), *rest]).forward(tokens, MASK),
        m.Sequential(rest).forward(np.where(MASK, tokens + 1, 0), MASK),
    )


def test_ten_lines_of_ones_own_get_masks_right():
    own = m.Sequential([Careful(), m.Dense(3, 2, rng=1)])
    plain = m.Sequential([m.GRU(2, 3, rng=0), m.Dense(3, 2, rng=1)])
    np.testing.assert_array_equal(own.forward(X, MASK), plain.forward(X, MASK))
    assert own.predict(X, MASK).shape == (3, 5, 2)


def test_a_composite_without_a_step_of_its_own_says_so():
    with pytest.raises(NotImplementedError, match=r"Careless: .*inside\.0, a GRU.*write step"):
        Careless().step(X[:, 0])
    with pytest.raises(NotImplementedError, match=r"Careless \(layer 1 of the model\)"):
        m.Sequential([m.Tanh(), Careless()]).step(X[:, 0])


def test_several_inputs_with_a_mask_each():
    class Joined(m.Layer):
        uses_mask = True

        def __init__(self):
            self.seen = None

        def forward(self, inputs, mask=None):
            self.seen = mask
            a, b = inputs
            return np.concatenate([a, b], axis=2)

        def backward(self, grad):
            return grad[:, :, :2], grad[:, :, 2:]

        def output_mask(self, mask):
            return mask[0]

    model = m.Sequential([Joined(), m.GRU(4, 3, rng=0, **D), m.MeanOverTime()])
    dirty = np.where(MASK[:, :, None], X, np.nan)
    y = model.forward((dirty, X), (MASK, None))
    np.testing.assert_array_equal(y, model.forward((X * MASK[:, :, None], X), (MASK, None)))
    one, two = model.backward(np.ones((3, 3)))
    assert one.shape == two.shape == X.shape
    np.testing.assert_array_equal(model.predict((dirty, X), (MASK, None)), y)
    with pytest.raises(TypeError, match="for 2 inputs the mask should be a tuple of 2"):
        model.forward((X, X), MASK)
    Joined.output_mask = m.Layer.output_mask
    with pytest.raises(TypeError, match=r"Joined .*several masks.*output_mask"):
        model.forward((X, X), (MASK, None))


def test_inputs_by_name():
    class Named(m.Layer):
        uses_mask = True

        def forward(self, inputs, mask=None):
            return inputs["a"] + inputs["b"]

        def output_mask(self, mask):
            return mask["a"]

    model = m.Sequential([Named(), m.LastStep()])
    y = model.forward({"a": X, "b": X}, {"a": MASK})
    np.testing.assert_allclose(y, [2 * X[0, 4], X[1, 2] * 2, X[2, 0] * 2])
    with pytest.raises(TypeError, match="names a, b"):
        model.forward({"a": X, "b": X}, MASK)


# ---------------------------------------------------------------- who is to blame


class Silent(m.Layer):
    def __init__(self, where):
        self.where = where

    def forward(self, x):
        return None if self.where == "forward" else x

    def backward(self, grad):
        return None if self.where == "backward" else grad[:, :-1]


def test_a_layer_that_returns_nothing_is_named():
    model = m.Sequential([m.Dense(2, 3), Silent("forward"), m.Dense(3, 2)])
    with pytest.raises(TypeError, match=r"Silent \(layer 1 .*forward should return .*got None"):
        model.forward(X)
    model = m.Sequential([m.Dense(2, 3), Silent("backward"), m.Dense(3, 2)])
    model.forward(X)
    before = helpers.snapshot(model)
    with pytest.raises(TypeError, match=r"Silent \(layer 1 .*backward should return .*got None"):
        model.backward(np.ones((3, 5, 2)))
    helpers.assert_same(before, helpers.snapshot(model))


def test_a_backward_of_another_shape_is_named():
    model = m.Sequential([m.Dense(2, 3), Silent("nowhere"), m.Dense(3, 2)])
    model.forward(X)
    with pytest.raises(ValueError, match=r"Silent \(layer 1 .*\(3, 5, 3\), got \(3, 4, 3\)"):
        model.backward(np.ones((3, 5, 2)))


def test_sizes_are_compared_when_the_model_is_made():
    with pytest.raises(ValueError, match=r"layer 0 \(LSTM\) gives 4 .*layer 1 \(Dense\) takes 5"):
        m.Sequential([m.LSTM(3, 4), m.Dense(5, 2)])
    with pytest.raises(ValueError, match=r"layer 0 \(LSTM\) gives 4 .*layer 2 \(Dense\) takes 5"):
        m.Sequential([m.LSTM(3, 4), m.Dropout(0.5), m.Dense(5, 2)])
    inner = m.Sequential([m.Tanh(), m.GRU(5, 6)])
    with pytest.raises(ValueError, match=r"layer 0 \(LSTM\) gives 4 .*\(Sequential\) takes 5"):
        m.Sequential([m.LSTM(3, 4), inner])
    with pytest.raises(ValueError, match=r"layer 0 \(Sequential\) gives 6 .*\(Dense\) takes 5"):
        m.Sequential([inner, m.Dense(5, 2)])


# ---------------------------------------------------------------- tables


def test_tied_weights_are_counted_once_and_marked():
    embedding, logits = m.Embedding(7, 3, rng=0), m.Dense(3, 7, rng=1, bias=False)
    tied = m.Dense(3, 7, rng=2, bias=False)
    tied.W = logits.W
    model = m.Sequential([embedding, m.Parallel([logits, tied], merge="sum")])
    lines = str(model.summary()).splitlines()
    assert lines[4].split() == ["0", "Dense", "(...,", "7)", "21"]
    assert lines[5].split() == ["1", "Dense", "(...,", "7)", "0", "tied"]
    assert lines[-1].split() == ["total", "42"]
    assert model.parameter_count == 42


def test_every_layer_has_a_summary():
    assert "LSTM" in m.LSTM(2, 3).summary()
    assert "(batch, time, 3)" in m.LSTM(2, 3).summary()
    lines = str(Careful().summary()).splitlines()
    assert lines[2].startswith("inside.0 GRU")


def test_gradients_of_nested_models_are_right():
    assert check_gradients(stack(), X, mask=MASK).passed
