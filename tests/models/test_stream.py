"""A step of a model, in one pass over layers that run natively, is that of the layers in turn."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minirnn as m
from minirnn.models.sequential import run_step
from minirnn.models.stream import native_step

pytestmark = [
    pytest.mark.skipif(m.engine.native() is None, reason="the engine was not built"),
    pytest.mark.usefixtures("engine_on"),
]


class Leaky(m.Cell):
    """A cell of one's own: h <- 0.9 h + 0.1 tanh(x W + h U)."""

    def __init__(self, input_size, size, rng):
        self.input_size, self.output_size = input_size, size
        self.W = m.Parameter(rng.standard_normal((input_size, size)))
        self.U = m.Parameter(0.3 * rng.standard_normal((size, size)))

    def initial_state(self, batch_size):
        return (np.zeros((batch_size, self.output_size)),)

    def forward(self, x, state):
        (h,) = state
        a = np.tanh(x @ self.W.value + h @ self.U.value)
        new = 0.9 * h + 0.1 * a
        return new, (new,), (x, h, a)

    def backward(self, grad_y, grad_state, cache):
        x, h, a = cache
        grad_new = grad_y + grad_state[0]
        d = 0.1 * grad_new * (1 - a**2)
        self.W.grad += x.T @ d
        self.U.grad += h.T @ d
        return d @ self.W.value.T, (0.9 * grad_new + d @ self.U.value.T,)


def models(dtype):
    rng = np.random.default_rng(0)
    options = {"rng": rng, "dtype": dtype}
    return {
        "stack": m.Sequential(
            [m.LSTM(3, 4, **options), m.GRU(4, 5, **options), m.Dense(5, 2, **options)]
        ),
        "dense first": m.Sequential([m.Dense(3, 4, **options), m.Tanh(), m.RNN(4, 4, **options)]),
        "no bias": m.Sequential([m.RNN(3, 4, **options), m.Dense(4, 2, bias=False, **options)]),
        "softmax": m.Sequential(
            [
                m.LSTM(3, 4, **options),
                m.Dropout(0.5, rng=rng),
                m.Dense(4, 3, **options),
                m.Softmax(),
            ]
        ),
    }


def states_of(model):
    return [
        array.copy()
        for layer in model.layers
        if isinstance(layer, m.Recurrent)
        for array in (*layer.carried_state, *layer.state)
    ]


@pytest.mark.parametrize("name", models(np.float64))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [1, 3])
def test_steps_are_those_of_the_layers_in_turn(name, dtype, batch, monkeypatch):
    model, other = models(dtype)[name], models(dtype)[name]
    inputs = np.random.default_rng(1).standard_normal((5, batch, 3)).astype(dtype)
    for x in inputs:
        y, expected = model.step(x), run_step(other.layers, x)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, expected)
        for ours, theirs in zip(states_of(model), states_of(other), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        # From the second step on, no layer is asked on its own.
        monkeypatch.delattr("minirnn.models.sequential.run_step", raising=False)


def test_tokens_and_a_cell_of_ones_own():
    def build():
        rng = np.random.default_rng(3)
        cell = Leaky(4, 6, rng)
        layers = [m.Embedding(9, 4, rng=rng, dtype=np.float64), m.Recurrent(cell)]
        return m.Sequential([*layers, m.Dense(6, 9, rng=rng, dtype=np.float64)])

    model, other = build(), build()
    for k, token in enumerate([3, 1, 4, 1, 5]):
        tokens = np.array([token])
        if k == 4:
            assert native_step(model, np.array([9])) is None  # no such token
            assert native_step(model, tokens[0]) is None
        np.testing.assert_array_equal(model.step(tokens), run_step(other.layers, tokens))


@pytest.mark.parametrize(
    "x",
    [
        np.ones((1, 3)),  # float64 to a model in float32
        np.ones((1, 3), np.int32),  # as wide as a float32
        np.ones((1, 3), ">f4"),
        np.ones((2, 3), np.float32),  # another batch
        np.ones((1, 4), np.float32),
        np.ones((3,), np.float32),
        np.ones((1, 1, 3), np.float32),
        [[1.0, 1.0, 1.0]],
        None,
    ],
)
@pytest.mark.parametrize("name", models(np.float32))
def test_other_input_is_left_to_the_layers_and_changes_nothing(name, x):
    model = models(np.float32)[name]
    model.step(np.ones((1, 3), np.float32))
    before = states_of(model)
    assert native_step(model, x) is None
    for ours, theirs in zip(before, states_of(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_integer_of_four_bytes_is_a_number():
    model, other = models(np.float32)["stack"], models(np.float32)["stack"]
    for x in (np.ones((1, 3), np.float32), np.full((1, 3), 2, np.int32)):
        y, expected = model.step(x), other.step(x.astype(np.float32))
        np.testing.assert_array_equal(y, expected)


def test_what_may_not_run_natively_does_not():
    x = np.ones((1, 3), np.float32)

    def ready(**options):
        layer = m.RNN(3, 4, rng=0, **options)
        layer.step(x)
        return layer

    def found(*layers):
        return native_step(m.Sequential(layers), x)

    assert found(ready()) is not None
    assert found(ready(engine="off")) is None
    assert found(m.RNN(3, 4, rng=0)) is None  # has no state yet
    with m.engine.use("off"):
        assert found(ready()) is None
    own = ready()
    own.step = lambda x_t: x_t
    assert found(own) is None

    class Mine(m.Dense):
        def step(self, x_t):
            return super().step(x_t) + 1

    model = m.Sequential([ready(), Mine(4, 2, rng=0)])
    assert native_step(model, x) is None
    backwards = m.RNN(3, 4, rng=0, reverse=True)
    with pytest.raises(ValueError, match="whole sequence"):
        m.Sequential([backwards]).step(x)


def test_weights_that_change_are_seen():
    model = models(np.float32)["no bias"]
    x = np.ones((1, 3), np.float32)
    model.step(x)
    model[1].W.value[...] = 0
    np.testing.assert_array_equal(model.step(x), np.zeros((1, 2), np.float32))


def test_what_is_returned_is_the_callers():
    model = m.Sequential([m.RNN(3, 4, rng=0)])
    x = np.ones((1, 3), np.float32)
    model.step(x)
    y = model.step(x)
    before = states_of(model)
    y[...] = 7
    for ours, theirs in zip(before, states_of(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Doubled(m.RNNCell):
    def forward(self, x, state):
        y, state, cache = super().forward(x, state)
        return 2 * y, state, cache


def replace_dense(model):
    model.layers[1] = m.Dense(4, 2, rng=7)


def replace_weights(model):
    model[1].W = m.Parameter(np.ones((4, 2), np.float32))


def replace_cell(model):
    model[0].cell = Doubled(3, 4, rng=5)


def drop_the_bias(model):
    model[1].b = None


def a_step_of_its_own(model):
    model[1].step = lambda x_t: x_t[:, :2]


def turn_off_this_layer(model):
    model[0]._engine = "off"


def other_state(model):
    model[0].carried_state = (np.full((1, 4), 0.5, np.float32),)


def no_state(model):
    model.reset_state()


def state_of_another_batch(model):
    model[0].carried_state = (np.zeros((2, 4), np.float32),)


def a_whole_sequence(model):
    model.forward(np.ones((2, 5, 3), np.float32))


CHANGES = [
    replace_dense,
    replace_weights,
    replace_cell,
    drop_the_bias,
    a_step_of_its_own,
    turn_off_this_layer,
    other_state,
    no_state,
    a_whole_sequence,
]


def stack():
    model = m.Sequential([m.RNN(3, 4, rng=0), m.Dense(4, 2, rng=1)])
    model[1].b.value[...] = 3
    return model


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_two_steps_is_seen(change):
    model, other = stack(), stack()
    x = np.full((1, 3), 0.3, np.float32)
    for k in range(6):
        if k == 3:
            change(model)
            change(other)
        y, expected = model.step(x), run_step(other.layers, x)
        np.testing.assert_array_equal(y, expected)


def test_another_batch_size_is_refused_by_the_layer():
    model, x = stack(), np.ones((1, 3), np.float32)
    model.step(x)
    model.step(x)
    state_of_another_batch(model)
    with pytest.raises(ValueError, match="reset_state"):
        model.step(x)


def test_a_step_of_the_class_that_changes_is_seen(monkeypatch):
    model, x = stack(), np.ones((1, 3), np.float32)
    model.step(x)
    model.step(x)
    monkeypatch.setattr(m.Dense, "step", lambda layer, x_t: x_t[:, :1])
    assert model.step(x).shape == (1, 1)


def test_the_engine_that_is_turned_off_and_on_again_is_heard():
    model, other, x = stack(), stack(), np.ones((1, 3), np.float32)
    for engine in ("auto", "auto", "off", "off", "auto", "require", "auto"):
        with m.engine.use(engine):
            y, expected = model.step(x), run_step(other.layers, x)
            np.testing.assert_allclose(y, expected, rtol=1e-6)
            assert (native_step(model, x) is None) == (engine == "off")
            native_step(other, x)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_a_copy_goes_on_by_itself(copied):
    model, x = stack(), np.ones((1, 3), np.float32)
    model.step(x)
    model.step(x)
    twin = copied(model)
    expected = [model.step(x) for _ in range(3)]
    np.testing.assert_array_equal([twin.step(x) for _ in range(3)], expected)
    assert twin[0].carried_state[0] is not model[0].carried_state[0]


def test_a_layer_that_is_looked_at_runs_by_itself():
    model, x = stack(), np.ones((1, 3), np.float32)
    for observer in (None, None, object(), object(), None):
        model.step(x)
        model[0].observer = observer
        assert (native_step(model, x) is None) == (observer is not None)


def test_a_state_that_is_a_property_is_set_once_a_step():
    class Watched(m.GRU):
        @property
        def state(self):
            return self.__dict__["state"]

        @state.setter
        def state(self, new):
            if new is not None:
                raise ValueError("not today")

    plain, model = (
        m.Sequential([kind(3, 4, rng=0), m.Dense(4, 2, rng=1)]) for kind in (m.GRU, Watched)
    )
    for x_t in np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32):
        np.testing.assert_array_equal(model.step(x_t), plain.step(x_t))
