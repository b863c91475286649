"""Every recorded number against one computed another way."""

from __future__ import annotations

import numpy as np
import pytest

from minirnn import (
    GRU,
    LSTM,
    RNN,
    SGD,
    Adam,
    Bidirectional,
    Cell,
    Dense,
    LastStep,
    MeanSquaredError,
    Parameter,
    Recurrent,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
    Trainer,
)
from minirnn.functions import sigmoid
from minirnn.insight import Recorder

BATCH, TIME, INPUT, HIDDEN = 3, 6, 2, 4


class TwoStates(Cell):
    """States u (hidden) and s (one number a sequence); the output u' s' is neither."""

    state_names = ("u", "s")

    def __init__(self, input_size, hidden_size):
        rng = np.random.default_rng(5)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.W = Parameter(rng.standard_normal((input_size, hidden_size)))
        self.w = Parameter(rng.standard_normal(input_size))

    def initial_state(self, batch_size):
        return np.zeros((batch_size, self.hidden_size)), np.full(batch_size, 0.5)

    def forward(self, x_t, state):
        u, s = state
        u_next = np.tanh(0.8 * u + x_t @ self.W.value)
        s_next = 0.9 * s + x_t @ self.w.value
        return u_next * s_next[:, None], (u_next, s_next), (x_t, u_next, s_next)

    def backward(self, grad_y, grad_state, cache):
        x_t, u_next, s_next = cache
        dz = (grad_state[0] + grad_y * s_next[:, None]) * (1 - u_next**2)
        ds = grad_state[1] + (grad_y * u_next).sum(axis=1)
        self.W.grad += x_t.T @ dz
        self.w.grad += x_t.T @ ds
        return dz @ self.W.value.T + ds[:, None] * self.w.value, (0.8 * dz, 0.9 * ds)


def layers():
    keywords = {"rng": 1, "dtype": np.float64}
    return {
        "rnn": RNN(INPUT, HIDDEN, **keywords),
        "relu": RNN(INPUT, HIDDEN, activation="relu", **keywords),
        "lstm": LSTM(INPUT, HIDDEN, **keywords),
        "gru": GRU(INPUT, HIDDEN, **keywords),
        "gru of 2014": GRU(INPUT, HIDDEN, reset_after=False, **keywords),
        "own": Recurrent(TwoStates(INPUT, HIDDEN)),
        "reverse": LSTM(INPUT, HIDDEN, reverse=True, **keywords),
        "own reverse": Recurrent(TwoStates(INPUT, HIDDEN), reverse=True),
    }


MASKS = {
    "no mask": None,
    "end": np.arange(TIME) < np.array([[5], [3], [1]]),
    "holes": np.array([[1, 0, 0, 1, 0, 1], [0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]], bool),
}


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((BATCH, TIME, INPUT))


@pytest.fixture
def weights():
    """The loss is the sum of these times the outputs, so they are the gradient on them."""
    return np.random.default_rng(2).standard_normal((BATCH, TIME, HIDDEN))


def record_of(layer, x, grad, mask=None, grad_state=None):
    with Recorder(layer) as record:
        layer.forward(x, mask)
        layer.backward(grad, grad_state)
    return record["model"]


def split(values, count):
    return np.split(values, count, axis=-1)


def before(states, initial=0.0):
    """Return the state that each step was given, from that which it handed on."""
    first = np.full_like(states[:, :1], initial)
    return np.concatenate([first, states[:, :-1]], axis=1)


# ---------------------------------------------------------------- states and gates


def test_gates_and_memory_of_an_lstm_obey_its_equations(x, weights):
    layer = layers()["lstm"]
    seen, cell = record_of(layer, x, weights), layer.cell
    assert list(seen.gates) == list("ifog")
    assert list(seen.states) == ["h", "c"]
    h, c = before(seen.states["h"]), before(seen.states["c"])
    z = split(x @ cell.Wx.value + h @ cell.Wh.value + cell.b.value, 4)
    for name, argument in zip("ifo", z[:3], strict=True):
        np.testing.assert_allclose(seen.gates[name], sigmoid(argument), rtol=1e-12)
    np.testing.assert_allclose(seen.gates["g"], np.tanh(z[3]), rtol=1e-12)
    gates, c_next = seen.gates, seen.states["c"]
    np.testing.assert_allclose(c_next, gates["f"] * c + gates["i"] * gates["g"], rtol=1e-12)
    np.testing.assert_allclose(seen.hidden, gates["o"] * np.tanh(c_next), rtol=1e-12)
    assert seen.output == "h"


@pytest.mark.parametrize("reset_after", [True, False])
def test_gates_of_a_gru_obey_its_equations(x, weights, reset_after):
    layer = layers()["gru" if reset_after else "gru of 2014"]
    if reset_after:
        layer.cell.bn.value = np.linspace(-1, 1, HIDDEN)
    seen, cell = record_of(layer, x, weights), layer.cell
    h = before(seen.hidden)
    a_r, a_z, a_n = split(x @ cell.Wx.value + cell.b.value, 3)
    u_r, u_z, u_n = split(h @ cell.Wh.value, 3)
    r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
    if reset_after:
        n = np.tanh(a_n + r * (u_n + cell.bn.value))
    else:
        n = np.tanh(a_n + (r * h) @ split(cell.Wh.value, 3)[2])
    for name, values in {"r": r, "z": z, "n": n}.items():
        np.testing.assert_allclose(seen.gates[name], values, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(seen.hidden, (1 - z) * n + z * h, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", layers())
@pytest.mark.parametrize("mask", MASKS)
def test_hidden_states_are_the_outputs_and_masked_steps_are_nan(name, mask, x, weights):
    layer, mask = layers()[name], MASKS[mask]
    seen = record_of(layer, x, weights, mask)
    y = layer.forward(x, mask)
    valid = np.ones((BATCH, TIME), bool) if mask is None else mask
    for values in {**seen.signals, **seen.gradients}.values():
        assert values.shape[:2] == (BATCH, TIME)
        flat = values.reshape(BATCH, TIME, -1)
        assert not np.isnan(flat[valid]).any()
        assert np.isnan(flat[~valid]).all()
    if "own" not in name:
        np.testing.assert_allclose(seen.hidden[valid], y[valid], rtol=1e-12, atol=1e-15)
    assert seen.reverse is layer.reverse


# ---------------------------------------------------------------- gradients on the state


def loss_from(layer, t, state, x, weights, mask):
    """Return the loss that still depends on the state after step t, run on from there."""
    reverse = layer.reverse
    rest = slice(0, t) if reverse else slice(t + 1, None)
    total = 0.0
    if not isinstance(layer.cell, TwoStates):  # h is the output of step t as well
        valid = 1.0 if mask is None else mask[:, t, None]
        total += (state[0] * weights[:, t] * valid).sum()
    if x[:, rest].shape[1]:
        part = None if mask is None else mask[:, rest]
        total += (layer.forward(x[:, rest], part, state) * weights[:, rest]).sum()
    return total


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", layers())
def test_gradient_on_every_state_by_central_differences(name, mask, x, weights):
    layer, mask = layers()[name], MASKS[mask]
    seen = record_of(layer, x, weights, mask)
    names, epsilon = list(seen.states), 1e-5
    for t in range(TIME):
        valid = np.ones(BATCH, bool) if mask is None else mask[:, t]
        # Padded rows stand for the rows that no step t exists in: any finite state will do.
        states = [np.nan_to_num(seen.states[n][:, t]) for n in names]
        for k, key in enumerate(names):
            numeric = np.zeros_like(states[k])
            for place in np.ndindex(numeric.shape):
                around = []
                for sign in (1, -1):
                    moved = [state.copy() for state in states]
                    moved[k][place] += sign * epsilon
                    around.append(loss_from(layer, t, tuple(moved), x, weights, mask))
                numeric[place] = (around[0] - around[1]) / (2 * epsilon)
            np.testing.assert_allclose(
                seen.gradients[key][valid, t], numeric[valid], rtol=1e-6, atol=1e-8
            )


def test_norms_are_over_sequences_units_and_all_arrays_of_the_state(x, weights):
    seen = record_of(layers()["lstm"], x, weights)
    expected = [
        np.linalg.norm(np.concatenate([seen.gradients[n][:, t].ravel() for n in "hc"]))
        for t in range(TIME)
    ]
    np.testing.assert_allclose(seen.gradient_norms, expected, rtol=1e-14)


def test_norms_leave_masked_rows_out(x, weights):
    seen = record_of(layers()["rnn"], x, weights, MASKS["holes"])
    for t in range(TIME):
        valid = MASKS["holes"][:, t]
        expected = np.linalg.norm(seen.gradients["h"][valid, t]) if valid.any() else np.nan
        np.testing.assert_allclose(seen.gradient_norms[t], expected)


def test_a_gradient_on_the_final_state_is_seen(x):
    layer = layers()["lstm"]
    zero = np.zeros((BATCH, TIME, HIDDEN))
    final = (np.full((BATCH, HIDDEN), 2.0), np.full((BATCH, HIDDEN), 3.0))
    seen = record_of(layer, x, zero, grad_state=final)
    np.testing.assert_array_equal(seen.gradients["h"][:, -1], final[0])
    np.testing.assert_array_equal(seen.gradients["c"][:, -1], final[1])
    norms = seen.gradient_norms
    np.testing.assert_allclose(seen.reach, norms / norms[-1], rtol=1e-12)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "reverse"])
def test_reach_is_what_arrives_of_the_latest_steps_gradient_alone(name, x, weights):
    layer = layers()[name]
    seen = record_of(layer, x, weights)
    latest = 0 if layer.reverse else TIME - 1
    alone = np.zeros_like(weights)
    alone[:, latest] = weights[:, latest]
    norms = record_of(layer, x, alone).gradient_norms
    np.testing.assert_allclose(seen.reach, norms / norms[latest], rtol=1e-12)
    assert seen.reach[latest] == 1
    assert not np.allclose(seen.reach, seen.gradient_norms / seen.gradient_norms[latest])


def test_reach_begins_at_each_sequences_own_last_step(x, weights):
    layer, mask = layers()["gru"], MASKS["end"]
    seen = record_of(layer, x, weights, mask)
    lengths = mask.sum(axis=1)
    above, below = np.zeros(TIME), np.full(TIME, 1e-300)
    for row, length in enumerate(lengths):  # each sequence by itself, its last step alone
        alone = np.zeros((1, length, HIDDEN))
        alone[:, -1] = weights[row, length - 1]
        norms = record_of(layer, x[[row], :length], alone).gradient_norms
        above[:length] += norms**2
        below[:length] += norms[-1] ** 2
    np.testing.assert_allclose(seen.reach[:5], np.sqrt(above / below)[:5], rtol=1e-10)
    assert np.isnan(seen.reach[5])  # where no sequence has a step


def test_reach_where_the_output_is_no_state_begins_one_step_before(x, weights):
    layer = layers()["own"]
    seen = record_of(layer, x, weights)
    assert np.isnan(seen.reach[-1])
    assert seen.reach[-2] == 1


def test_norms_of_tiny_and_huge_gradients_neither_vanish_nor_overflow(x, weights):
    layer = layers()["rnn"]
    plain = record_of(layer, x, weights).gradient_norms
    for factor in (1e-200, 1e200):
        scaled = record_of(layer, x, weights * factor)
        np.testing.assert_allclose(scaled.gradient_norms, plain * factor, rtol=1e-12)
        assert np.isfinite(scaled.reach).all()


def test_both_directions_and_stacked_layers_have_their_own_records(x):
    keywords = {"rng": 3, "dtype": np.float64}
    both = Bidirectional(LSTM(INPUT, 4, **keywords), GRU(INPUT, 5, **keywords))
    model = Sequential([both, Sequential([RNN(9, 3, **keywords), LastStep()])])
    with Recorder(model) as record:
        y = model.forward(x)
        model.backward(np.ones_like(y))
    names = ["layers.0.forward_layer", "layers.0.backward_layer", "layers.1.layers.0"]
    assert list(record.layers) == names
    hidden = np.concatenate([record[name].hidden for name in names[:2]], axis=2)
    np.testing.assert_allclose(hidden, both.forward(x), rtol=1e-12)
    np.testing.assert_array_equal(record[names[2]].hidden[:, -1], y)
    # The gradient on the first layers' states is what came in on the second's input.
    alone = RNN(9, 3, **keywords)
    alone.forward(both.forward(x))
    last = np.zeros((BATCH, TIME, 3))
    last[:, -1] = 1
    coming = alone.backward(last)
    gradient = record[names[1]].gradients["h"]
    np.testing.assert_allclose(
        record[names[0]].gradients["h"][:, -1], coming[:, -1, :4], rtol=1e-12
    )
    np.testing.assert_allclose(gradient[:, 0], coming[:, 0, 4:], rtol=1e-12)


# ---------------------------------------------------------------- saturation


def test_saturation_counts_values_within_five_percent_of_the_range(x):
    layer = layers()["lstm"]
    layer.cell.Wx.value *= 8
    seen = record_of(layer, x, np.zeros((BATCH, TIME, HIDDEN)), MASKS["end"])
    valid = MASKS["end"]
    shares = seen.saturation()
    assert list(shares) == list("ifog")
    for name in "ifo":
        gate = seen.gates[name][valid]
        assert shares[name].low == np.mean(gate < 0.05)
        assert shares[name].high == np.mean(gate > 0.95)
    g = seen.gates["g"][valid]
    assert shares["g"].total == pytest.approx(np.mean(np.abs(g) > 0.9))
    assert seen.saturation(margin=0.1)["i"].low == np.mean(seen.gates["i"][valid] < 0.1)


def test_activation_layers_under_a_mask(x):
    x, mask = x.copy(), MASKS["end"]
    x[~mask] = np.nan
    rnn = RNN(INPUT, HIDDEN, rng=0, dtype=np.float64)
    dense = Dense(HIDDEN, 5, rng=0, dtype=np.float64)
    dense.b.value = [9.0, -9.0, 0.0, 0.0, 0.0]
    model = Sequential([rnn, Sequential([dense, ReLU()]), Tanh(), LastStep(), Sigmoid()])
    with Recorder(model) as record:
        model.forward(x, mask)
    relu = record["layers.1.layers.1"]
    z = dense.forward(rnn.forward(x, mask))
    np.testing.assert_allclose(relu.output[mask], np.maximum(z, 0)[mask], rtol=1e-12)
    assert np.isnan(relu.output[~mask]).all()
    assert relu.dead == np.mean((np.maximum(z, 0)[mask] == 0).all(axis=0))
    assert relu.dead >= 0.2
    assert relu.saturation() == {}
    tanh = record["layers.2"]
    assert tanh.saturation()["output"].high == np.mean(np.tanh(np.maximum(z, 0))[mask] > 0.9)
    assert tanh.dead is None
    assert record["layers.4"].output.shape == (BATCH, 5)  # one a sequence: no mask any more
    assert not np.isnan(record["layers.4"].output).any()


# ---------------------------------------------------------------- updates


def test_update_ratios_of_plain_descent_are_learning_rate_times_gradient(x):
    rnn = RNN(INPUT, HIDDEN, rng=0, dtype=np.float64)
    model = Sequential([rnn, Dense(HIDDEN, 1, rng=1, dtype=np.float64)])
    trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.25))
    target = np.ones((BATCH, TIME, 1))
    expected = {name: [] for name, _ in model.named_parameters()}
    with Recorder(trainer) as record:
        for _ in range(3):
            before = {name: p.value.copy() for name, p in model.named_parameters()}
            trainer.train_step(x, target)
            for name, p in model.named_parameters():
                weight = np.linalg.norm(before[name])
                expected[name].append(0.25 * np.linalg.norm(p.grad) / weight if weight else np.inf)
    assert list(record.update_ratios) == list(expected)
    for name, ratios in record.update_ratios.items():
        np.testing.assert_allclose(ratios, expected[name], rtol=1e-9)
    assert record.update_ratios["layers.0.cell.b"][0] == np.inf


def test_update_ratios_by_hand():
    layer = Dense(2, 1, bias=False, rng=0, dtype=np.float64)
    layer.W.value = [[3.0], [4.0]]
    optimizer = Adam(layer.parameters(), learning_rate=0.5)
    with Recorder(layer, optimizer) as record:
        layer.W.grad = [[1.0], [-2.0]]
        optimizer.step()  # the first step of Adam moves every number by the learning rate
    np.testing.assert_allclose(record.update_ratios["W"], [np.sqrt(0.5) / 5], rtol=1e-7)
