"""Faulty networks, whose fault has to be named, and sound ones, which have to be left in peace."""

from __future__ import annotations

import numpy as np
import pytest

from minirnn import (
    GRU,
    LSTM,
    RNN,
    SGD,
    Adam,
    Dense,
    LastStep,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
)
from minirnn.insight import Recorder

TIME = 100


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((8, TIME, 3)).astype(np.float32)


def seen(layer, x, at=-1, mask=None):
    """Return the record of a pass whose loss is the sum of the outputs at one step."""
    with Recorder(layer) as record:
        grad = np.zeros_like(layer.forward(x, mask))
        grad[:, at] = 1
        layer.backward(grad)
    return record


def scaled(layer, factor):
    """Make Wh a multiple of the identity, whose powers are known."""
    layer.cell.Wh.value = factor * np.eye(layer.hidden_size)
    return layer


def only(record):
    """Return the texts of what is not healthy."""
    return [finding.text for finding in record.findings() if not finding.healthy]


def test_a_gradient_that_vanishes_with_the_numbers_of_a_linear_network(x):
    layer = scaled(RNN(3, 4, activation="relu", rng=0), 0.8)
    layer.cell.b.value += 100  # in the linear part of the ReLU throughout
    record = seen(layer, x)
    assert record["model"].reach[0] == pytest.approx(0.8**99, rel=1e-4)  # 2.5e-10
    assert str(record.report()) == (
        "model (RNN): the gradient reaching step 0 is 3e-10 of that at step 99: it vanishes. It "
        "falls below 1 % within 21 steps.\n"
        "model (RNN): 0 % of its units are 0 for every input: healthy.\n"
        "1 thing to look at."
    )


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(0.85, "it vanishes"), (0.92, "it fades"), (0.99, None), (1.02, None), (1.08, "it grows"),
     (1.2, "it explodes")],
)  # fmt: skip
def test_verdicts(x, factor, verdict):
    layer = scaled(RNN(3, 4, activation="relu", rng=0), factor)
    layer.cell.b.value += 100
    record = seen(layer, x)
    first = record.findings()[0]
    assert f": {verdict or 'healthy'}." in first.text
    assert first.healthy is (verdict is None)


def test_a_loss_at_every_step_does_not_hide_what_vanishes(x):
    layer = scaled(RNN(3, 4, rng=0), 0.5)
    with Recorder(layer) as record:
        layer.backward(np.ones_like(layer.forward(x)))
    norms = record["model"].gradient_norms
    assert norms[0] > 0.1 * norms[-1]  # each step has a gradient of its own
    assert "vanishes" in only(record)[0]


def test_time_read_backwards_is_described_in_that_direction(x):
    record = seen(scaled(RNN(3, 4, rng=0, reverse=True), 0.5), x, at=0)
    assert "the gradient reaching step 99 is" in only(record)[0]
    assert "of that at step 0: it vanishes" in only(record)[0]


def test_a_gradient_too_small_for_its_dtype_is_said_to_be_0(x):
    record = seen(scaled(RNN(3, 4, rng=0), 0.1), x)
    assert "the gradient reaching step 0 is 0 of that at step 99: it vanishes." in only(record)[0]


def test_no_gradient_and_gradients_that_are_not_finite(x):
    record = seen(LSTM(3, 4, rng=0), x)
    with record:
        record.model.backward(np.zeros_like(record.model.forward(x)))
    assert "nothing of the loss arrives here" in only(record)[0]
    with record:
        record.model.backward(np.full_like(record.model.forward(x), np.nan))
    assert "is not finite" in only(record)[0]
    with record:
        record.model.forward(x[:, :1])
        record.model.backward(np.ones((8, 1, 4)))
    assert only(record) == []
    assert "one step only" in record.report()


def test_gates_that_are_closed_nearly_always(x):
    layer = LSTM(3, 4, forget_bias=3.0, rng=0)
    layer.cell.b.value[:4] = -9  # i
    record = seen(layer, x)
    assert only(record)[1:] == [
        "gate i is closed nearly always: 100 % of its values are below 0.05."
    ]


def test_a_forget_gate_that_is_open_is_no_fault(x):
    record = seen(LSTM(3, 4, forget_bias=9.0, rng=0), x)
    assert record["model"].saturation()["f"].high == 1
    assert only(record) == []


def test_a_saturated_state_and_saturated_activations(x):
    rnn = RNN(3, 4, rng=0)
    rnn.cell.Wx.value *= 100
    assert any(text.startswith("h is saturated") for text in only(seen(rnn, x)))
    dense = Dense(3, 4, rng=0)
    dense.W.value *= 1000
    for layer, words in [(Tanh(), "-1 or 1"), (Sigmoid(), "0 or 1")]:
        with Recorder(Sequential([dense, layer])) as record:
            record.model.forward(x)
        assert words in only(record)[0]


def test_dead_units(x):
    dense = Dense(3, 4, rng=0)
    dense.b.value = [-99, -99, 0, 0]
    with Recorder(Sequential([dense, ReLU()])) as record:
        record.model.forward(x)
    assert only(record) == ["50 % of its units are 0 for every input: they are dead."]
    rnn = RNN(3, 4, activation="relu", rng=0)
    rnn.cell.b.value = [-99, -99, 1, 1]
    assert any("dead" in text for text in only(seen(rnn, x[:, :5])))


@pytest.mark.parametrize(
    ("rate", "words"), [(30.0, "too large; try a smaller"), (1e-9, "hardly anything is learned")]
)
def test_learning_rates_out_of_proportion(x, rate, words):
    model = Sequential([GRU(3, 4, rng=0), LastStep(), Dense(4, 2, rng=0)])
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), rate))
    with Recorder(trainer) as record:
        trainer.train_step(x[:, :5], np.arange(8) % 2)
    assert any(words in finding.text for finding in record.findings() if not finding.healthy)


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_a_sound_network_is_said_to_be_healthy_before_and_after_training(kind):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 8, 3))
    y = (x[:, :, 0].sum(axis=1) > 0).astype(int)
    layers = [kind(3, 16, rng=rng), LastStep(), Dense(16, 16, rng=rng), ReLU()]
    model = Sequential([*layers, Dense(16, 2, rng=rng)])
    trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters(), 0.003), rng=0)
    for epochs in (1, 20):
        with Recorder(trainer) as record:
            trainer.fit(x, y, epochs=epochs, batch_size=16, progress=False)
        assert only(record) == []
        assert record.report().endswith("Healthy: nothing stands out.")
        assert "updates: a typical update is" in record.report()


def test_a_report_of_nothing_says_that_nothing_was_recorded():
    model = Sequential([LSTM(3, 4, rng=0), Tanh()])
    with Recorder(model, SGD(model.parameters(), 0.1)) as record:
        pass
    text = record.report()
    assert "no backward was recorded" in text
    assert "no forward was recorded" in text
    assert "no step of the optimizer was recorded" in text
    assert repr(text) == text  # an interactive session shows the lines
