"""What is moved and what is not: several inputs, masks of targets, neutral values, integers."""

import numpy as np
import pytest

import minirnn as m
from minirnn.gradcheck import GradientKindError
from minirnn.testing import check_layer
from tests.gradcheck import hosts as h

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 4, 3)), RNG.normal(size=(2, 3))
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)


class Product(m.Layer):
    """A sequence, read under its mask and summed over time, times a vector."""

    uses_mask = True
    keeps_time = False

    def forward(self, x, mask=None):
        sequence, self.vector = x
        self.real = np.ones(sequence.shape[:2]) if mask is None else mask[0]
        sequence = np.where(self.real[:, :, None], sequence, 0)
        self.sum = sequence.sum(axis=1)
        return self.sum * self.vector

    def backward(self, grad):
        return (grad * self.vector)[:, None] * self.real[:, :, None], grad * self.sum


class Named(Product):
    """The same, of a dictionary."""

    def forward(self, x, mask=None):
        return super().forward((x["sequence"], x["vector"]), mask)

    def backward(self, grad):
        return dict(zip(("sequence", "vector"), super().backward(grad), strict=True))


class TwoArguments(Product):
    """The same, with an argument for each input."""

    def forward(self, sequence, vector, mask=None):
        return super().forward((sequence, vector), mask)


@pytest.mark.parametrize(
    ("layer", "inputs", "names"),
    [
        (Product(), ((A, B),), ["input[0]", "input[1]"]),
        (Named(), ({"sequence": A, "vector": B},), ["input['sequence']", "input['vector']"]),
        (TwoArguments(), (A, B), ["input[0]", "input[1]"]),
    ],
    ids=["tuple", "dictionary", "arguments"],
)
def test_several_inputs_are_all_compared(layer, inputs, names):
    report = m.check_gradients(layer, *inputs)
    assert [c.name for c in report.comparisons] == names
    assert [c.shape for c in report.comparisons] == [(2, 4, 3), (2, 3)]
    padded = np.where(MASK[:, :, None], A, np.nan)
    given = {"sequence": padded, "vector": B} if isinstance(layer, Named) else (padded, B)
    given = given if isinstance(layer, TwoArguments) else (given,)
    assert m.check_gradients(layer, *given, mask=(MASK, None)).passed


def test_a_wrong_gradient_on_one_of_several_inputs_is_named():
    class Wrong(Product):
        def backward(self, grad):
            first, second = super().backward(grad)
            return first, 2 * second

    report = m.check_gradients(Wrong(), (A, B), raises=False)
    assert [(d.kind, d.names) for d in report.diagnoses] == [("factor", ("input[1]",))]


def test_tokens_alone_need_no_gradient():
    class Two(m.Layer):
        def __init__(self):
            self.one, self.two = m.Embedding(4, 3, rng=0), m.Embedding(5, 3, rng=1)

        def forward(self, inputs):
            sum_of_both = self.one.forward(inputs["a"]) + self.two.forward(inputs["b"])
            return sum_of_both + inputs.get("c", 0)

        def backward(self, grad):
            self.one.backward(grad)
            self.two.backward(grad)

    tokens = {"a": RNG.integers(0, 4, (2, 3)), "b": RNG.integers(0, 5, (2, 3))}
    report = m.check_gradients(Two(), tokens)
    assert [c.name for c in report.comparisons] == ["one.W", "two.W"]
    with pytest.raises(GradientKindError, match="should be a dict of 3 arrays, .* NoneType"):
        m.check_gradients(Two(), tokens | {"c": RNG.standard_normal((2, 3, 3))})


@pytest.mark.parametrize("returned", [lambda pair: pair[0], lambda pair: (*pair, 1), dict])
def test_gradients_should_be_built_as_the_inputs_are(returned):
    class Wrong(Product):
        def backward(self, grad):
            pair = super().backward(grad)
            return returned(pair) if returned is not dict else {"a": pair[0], "b": pair[1]}

    with pytest.raises(GradientKindError, match="should be a tuple of 2 arrays, as input is"):
        m.check_gradients(Wrong(), (A, B))


NEUTRAL = [
    (h.LayerNorm, "g = grad * self.gain.value", "g = grad", np.ones, "gain"),
    (h.Normalised, "g = grad * self.gain.value", "g = grad", np.ones, "gain"),
    (h.Linear, "return grad @ self.W.value.T", "return 0 * grad @ self.W.value.T", np.zeros, "W"),
]


@pytest.mark.parametrize(("host", "old", "new", "fill", "name"), NEUTRAL)
def test_neutral_values_hide_nothing(host, old, new, fill, name):
    layer = h.mutant(host, old, new)()
    x = RNG.normal(size=(4, 3 if host is h.Linear else layer.gain.size))
    getattr(layer, name).value = fill(getattr(layer, name).shape)
    assert not m.check_gradients(layer, x, raises=False).passed
    np.testing.assert_array_equal(getattr(layer, name).value, fill(getattr(layer, name).shape))
    sound = host()
    getattr(sound, name).value = fill(getattr(sound, name).shape)
    assert m.check_gradients(sound, x).passed


def test_the_bias_of_a_new_lstm_is_no_hiding_place():
    class Forgetful(m.LSTMCell):
        def forward(self, x_t, state):
            y, state, cache = super().forward(x_t, state)
            return y * (1 + self.b.value[: self.hidden_size]), state, cache

    report = m.check_gradients(Forgetful(3, 4, rng=0), RNG.normal(size=(2, 3)), raises=False)
    assert not report.passed


def test_integers_and_zeros_are_named_in_the_report():
    report = m.check_gradients(m.Embedding(5, 2, rng=0), np.array([[1, 2, 2]]))
    assert report.passed
    assert report.notes == (
        "input: integers cannot be moved, so what backward gives for it was not compared",
    )
    assert "note: input: integers" in repr(report)
    report = m.check_gradients(m.Dense(3, 2, rng=0), np.zeros((4, 3)))
    assert "all zeros" in report.notes[0]
    assert m.check_gradients(m.Dense(3, 2, rng=0), np.ones((4, 3))).notes == ()


@pytest.mark.usefixtures("engine_on")
def test_what_runs_fast_is_compared_with_the_loop():
    report = m.check_gradients(m.LSTM(3, 2, rng=0), A)
    assert report.notes[0].startswith("it runs in ")
    assert report.notes[1].startswith("outputs and gradients are those of the time loop, to ")
    with m.engine.use("off"):
        assert m.check_gradients(m.LSTM(3, 2, rng=0), A).notes == ()


@pytest.mark.usefixtures("engine_on")
def test_an_engine_that_gives_other_numbers_is_named(monkeypatch):
    from minirnn.recurrent.recurrent import Recurrent

    forward = Recurrent.forward

    def wrong(self, *args, **keywords):
        y = forward(self, *args, **keywords)
        return y + 1e-7 if "loop" not in self.engine else y

    monkeypatch.setattr(Recurrent, "forward", wrong)
    report = m.check_gradients(m.GRU(3, 2, rng=0), A, raises=False)
    assert [(d.kind, d.names) for d in report.diagnoses] == [("engine", ("output",))]


@pytest.mark.parametrize("check", [m.check_gradients, check_layer], ids=["gradients", "layer"])
@pytest.mark.parametrize(
    ("layer", "arguments", "keywords", "kind", "message"),
    [
        (m.Dense(3, 2, rng=0), ("text",), {}, TypeError, "should hold real numbers, got str"),
        (m.Dense(3, 2, rng=0), (A * np.nan,), {}, ValueError, "the input holds NaN or infinity"),
        (m.Dense(3, 2, rng=0), (A[:0],), {}, ValueError, r"the input is empty, \(0, 4, 3\)"),
        (m.Dense(3, 2, rng=0), (A, B), {}, TypeError, "Dense.forward: too many positional"),
        (m.GRU(3, 2, rng=0), (A, MASK), {}, TypeError, "GRU.forward: a mask .* goes by its name"),
        (m.GRU(3, 2, rng=0), (A,), {"mask": MASK.T}, ValueError, "are batch and time swapped"),
        (m.GRU(3, 2, rng=0), (A,), {"mask": MASK * 1}, TypeError, "the mask should be boolean"),
        (m.GRU(3, 2, rng=0), (A,), {"mask": "text"}, TypeError, "the mask should be boolean"),
        (m.GRU(3, 2, rng=0), (A,), {"mask": [[True], []]}, ValueError, "mask is not a rectangular"),
        (m.Dense(3, 2, rng=0), ([[1.0], []],), {}, ValueError, "input is not a rectangular array"),
    ],
)
def test_wrong_arguments_are_not_blamed_on_the_layer(
    check, layer, arguments, keywords, kind, message
):
    with pytest.raises(kind, match=message):
        check(layer, *arguments, **keywords)


@pytest.mark.parametrize(
    ("keywords", "kind", "message"),
    [
        ({"epsilon": 0}, ValueError, "epsilon should be greater than 0"),
        ({"tolerance": -1.0}, ValueError, "tolerance should be greater than 0"),
        ({"state": (A,)}, TypeError, "Dense takes no state"),
    ],
)
def test_settings_that_would_make_the_check_pass_are_refused(keywords, kind, message):
    with pytest.raises(kind, match=f"check_gradients: {message}"):
        m.check_gradients(m.Dense(3, 2, rng=0), A, **keywords)


@pytest.mark.parametrize("wrap", [m.Residual, lambda one: m.Residual(m.Sequential([one]))])
def test_a_residual_without_a_state_inside(wrap):
    report = m.check_gradients(wrap(m.Dense(3, 3, rng=0)), A)
    names = [one.name.split(".")[-1] for one in report.comparisons]
    assert names == ["input", "W", "b"]
    assert check_layer(wrap(m.Dense(3, 3, rng=0)), A).passed


def test_a_state_is_a_tuple_of_arrays():
    with pytest.raises(ValueError, match=r"GRU: the state should be a tuple of 1 arrays"):
        m.check_gradients(m.GRU(3, 2, rng=0), A, state=np.zeros((2, 2)))


def test_lists_are_arrays():
    assert m.check_gradients(m.Dense(3, 2, rng=0), B.tolist()).passed
    assert check_layer(m.Dense(3, 2, rng=0), B.tolist()).passed
