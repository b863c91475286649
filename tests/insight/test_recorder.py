"""Switched on, it changes no number; switched off, it leaves no trace."""

from __future__ import annotations

import copy
import pickle
from types import MethodType
from typing import NamedTuple

import numpy as np
import pytest

from minirnn import (
    GRU,
    LSTM,
    RNN,
    Adam,
    Bidirectional,
    Cell,
    Dense,
    Dropout,
    LastStep,
    LSTMCell,
    Parameter,
    Recurrent,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    check_gradients,
)
from minirnn.insight import Recorder


def rng():
    return np.random.default_rng(7)


def make_model(kind=LSTM, dtype=np.float32):
    r = rng()
    both = Bidirectional(kind(3, 4, rng=r, dtype=dtype), GRU(3, 5, rng=r, dtype=dtype))
    inner = Sequential([kind(9, 6, rng=r, dtype=dtype), Tanh(), Dropout(0.3, rng=r), LastStep()])
    return Sequential([both, inner, Dense(6, 2, rng=r, dtype=dtype)])


def data(count=8, time=5):
    r = rng()
    mask = np.arange(time) < r.integers(1, time + 1, (count, 1))
    return r.standard_normal((count, time, 3)), r.integers(2, size=count), mask


def attributes(model, optimizer=None):
    """Return what hangs on every object, by identity and in order."""
    owners = [layer for _, layer in model.named_layers()] + ([optimizer] if optimizer else [])
    return [[(name, id(value)) for name, value in vars(owner).items()] for owner in owners]


def run_step_by_step(model):
    """Make recurrent layers run their loop, as they do while they are recorded."""
    for _, layer in model.named_layers():
        if isinstance(layer, Recurrent):
            cell = layer.cell
            vars(cell)["forward"] = MethodType(type(cell).forward, cell)


# ---------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_training_is_bit_for_bit_the_same(kind, masked):
    x, y, mask = data()
    runs = []
    for recorded in (False, True):
        model = make_model(kind)
        run_step_by_step(model)
        trainer = Trainer(
            model, SoftmaxCrossEntropy(), Adam(model.parameters(), 0.01, clip_norm=1.0), rng=0
        )

        def fit(trainer):
            return trainer.fit(
                x, y, mask=mask if masked else None, epochs=3, batch_size=3, progress=False,
                validation=(x, y, mask) if masked else (x, y),
            )  # fmt: skip

        if recorded:
            with Recorder(trainer) as record:
                history = fit(trainer)
            assert len(record.update_ratios["layers.2.W"]) == 9
        else:
            history = fit(trainer)
        runs.append((history["loss"], model.state_dict(), trainer.optimizer.state_dict()["slots"]))
    (loss, weights, slots), (loss2, weights2, slots2) = runs
    assert loss == loss2
    for name in weights:
        np.testing.assert_array_equal(weights[name], weights2[name])
    for one, two in zip(slots, slots2, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])


def test_results_are_those_of_the_kernel_too():
    model, (x, _, mask) = make_model(dtype=np.float64).eval(), data()
    y, grad = model.forward(x, mask), np.ones((8, 2))
    grad_x = model.backward(grad)
    expected = {name: p.grad.copy() for name, p in model.named_parameters()}
    model.zero_grad()
    with Recorder(model):
        np.testing.assert_allclose(model.forward(x, mask), y, rtol=1e-12)
        np.testing.assert_allclose(model.backward(grad), grad_x, rtol=1e-10, atol=1e-14)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad, expected[name], rtol=1e-10, atol=1e-14)


def test_the_second_backward_leaves_gradients_as_they_were():
    layer = LSTM(3, 4, rng=0)
    run_step_by_step(layer)
    x, grad = rng().standard_normal((2, 5, 3)), rng().standard_normal((2, 5, 4))
    results = []
    for recorded in (False, True):
        for p in layer.parameters():
            p.grad = np.ones(p.shape)  # something to add to
        if recorded:
            with Recorder(layer) as record:
                layer.forward(x)
                grad_x = layer.backward(grad)
            assert record["model"].reach is not None
        else:
            layer.forward(x)
            grad_x = layer.backward(grad)
        results.append([grad_x, *layer.grad_state, *[p.grad.copy() for p in layer.parameters()]])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


# ---------------------------------------------------------------- no trace


def test_afterwards_everything_is_as_before():
    model, (x, _, mask) = make_model(), data()
    optimizer = Adam(model.parameters(), 0.01)
    model.forward(x, mask)  # so that what layers keep is there before
    model.backward(np.ones((8, 2)))
    names = [list(vars(layer)) for _, layer in model.named_layers()]
    with Recorder(model, optimizer):
        model.forward(x, mask)
        model.backward(np.ones((8, 2)))
        optimizer.step()
    assert [list(vars(layer)) for _, layer in model.named_layers()] == names
    assert "observer" not in vars(optimizer)
    untouched = attributes(model, optimizer)
    with Recorder(model, optimizer):
        pass
    assert attributes(model, optimizer) == untouched


def test_an_exception_in_the_block_leaves_no_trace_and_keeps_what_was_seen():
    model, (x, _, mask) = make_model(), data()
    recorder = Recorder(model)

    def run():
        with recorder:
            model.forward(x, mask)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    own = {name for _, layer in model.named_layers() for name in vars(layer)}
    assert "observer" not in own
    assert recorder["layers.1.layers.0"].hidden.shape == (8, 5, 6)


def test_a_refused_forward_keeps_the_record_of_the_one_before():
    layer, x = LSTM(3, 4, rng=0), data()[0]
    with Recorder(layer) as record:
        layer.forward(x)
        seen = record["model"].hidden
        with pytest.raises(ValueError, match="axis 2"):
            layer.forward(x[:, :, :2])
        assert record["model"].hidden is seen
        layer.backward(np.ones((8, 5, 4)))  # still belongs to the first forward
    assert record["model"].gradients["h"].shape == (8, 5, 4)


def test_a_method_that_the_user_had_replaced_is_called_and_comes_back():
    layer, x = LSTM(3, 4, rng=0), data()[0]
    calls = []

    def mine(x_t, state):
        calls.append(len(calls))
        return LSTMCell.forward(layer.cell, x_t, state)

    layer.cell.forward = mine
    with Recorder(layer) as record:
        layer.forward(x)
    assert len(calls) == 5
    assert layer.cell.forward is mine
    assert record["model"].hidden.shape == (8, 5, 4)


def test_two_recorders_at_once_are_refused_and_the_first_goes_on():
    model, x = make_model(), data()[0]
    optimizer = Adam(model.parameters(), 0.01)
    with Recorder(model, optimizer) as record:
        model.forward(x)
        for second in (
            record,
            Recorder(model),
            Recorder(model[0]),
            Recorder(Dense(1, 1), optimizer),
        ):
            with pytest.raises(RuntimeError, match="being recorded already"), second:
                pass
        assert record[model[1][0]].hidden.shape == (8, 5, 6)
        with Recorder(make_model()):  # of another model: nothing against it
            pass
        model.backward(np.ones((8, 2)))
    assert record[model[1][0]].gradient_norms.shape == (5,)
    with record:  # again: begins anew
        assert not record[model[1][0]].states


def by_pickle(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("copied", [copy.deepcopy, by_pickle])
def test_a_copy_made_inside_the_block_is_not_recorded(copied):
    model, (x, _, mask) = make_model(dtype=np.float64).eval(), data()
    expected = model.forward(2 * x, mask)
    with Recorder(model) as record:
        model.forward(x, mask)
        seen = record["layers.1.layers.0"].hidden
        twin = copied(model)
        twin[2].b.value = [5.0, 5.0]
        for _ in range(2):
            np.testing.assert_allclose(twin.forward(2 * x, mask), expected + 5, rtol=1e-12)
            twin.backward(np.ones((8, 2)))
        assert record["layers.1.layers.0"].hidden is seen
        assert not record["layers.1.layers.0"].gradients
        assert all(not p.grad.any() for p in model.parameters())
        with Recorder(copied(model)) as other:
            other.model.forward(2 * x, mask)
            other.model.forward(x, mask)
        np.testing.assert_array_equal(other["layers.1.layers.0"].hidden, seen)
    assert all(getattr(layer, "observer", None) is None for _, layer in twin.named_layers())


def test_gradients_can_be_checked_inside_the_block():
    layer = GRU(3, 4, rng=0, dtype=np.float64)
    with Recorder(layer):
        assert check_gradients(layer, data(2, 3)[0]).passed


@pytest.mark.parametrize("training", [True, False])
def test_a_forward_before_the_block_or_a_backward_after_it(training):
    layer, x, grad = LSTM(3, 4, rng=0, dtype=np.float64), data()[0], np.ones((8, 5, 4))
    layer.train() if training else layer.eval()
    layer.forward(x)
    expected = layer.backward(grad)
    layer.forward(x)
    with Recorder(layer) as record:
        np.testing.assert_allclose(layer.backward(grad), expected, rtol=1e-12)
        assert not record["model"].gradients  # nothing says which step was which
        layer.forward(x)
    np.testing.assert_allclose(layer.backward(grad), expected, rtol=1e-12)


# ---------------------------------------------------------------- of several passes


def test_states_are_of_the_latest_forward_and_gradients_of_the_latest_backward():
    model, (x, y, _) = make_model(), data()
    trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters(), 0.01))
    with Recorder(trainer) as record:
        trainer.train_step(x, y)
        first = record["layers.1.layers.0"].gradients["h"]
        trainer.evaluate(x[:3], y[:3])
        seen = record["layers.1.layers.0"]
        assert seen.hidden.shape == (3, 5, 6)
        assert seen.gradients["h"] is first
        assert seen.gradient_norms.shape == (5,)
        trainer.train_step(x, y)
        assert seen.gradients["h"] is not first
    assert len(record.update_ratios["layers.2.W"]) == 2


def test_a_layer_whose_backward_for_parameters_is_its_backward():
    class Plain(LSTM):
        def backward_parameters(self, grad):
            self.backward(grad)

    x, grad = data()[0], np.ones((8, 5, 4))
    norms = []
    for kind in (LSTM, Plain):
        layer = kind(3, 4, rng=0)
        with Recorder(layer) as record:
            layer.forward(x)
            layer.backward_parameters(grad)
        norms.append(record["model"].gradient_norms)
    np.testing.assert_array_equal(*norms)


def test_single_steps_are_not_recorded():
    layer = LSTM(3, 4, rng=0)
    with Recorder(layer) as record:
        layer.forward(np.ones((2, 5, 3)))
        layer.step(np.ones((2, 3)))
    assert record["model"].hidden.shape == (2, 5, 4)


def test_a_refused_step_of_the_optimizer_is_not_an_update():
    layer = Dense(2, 1, rng=0)
    optimizer = Adam(layer.parameters(), 0.01, clip_norm=1.0)
    layer.W.grad = [[np.nan], [0.0]]
    with Recorder(layer, optimizer) as record, pytest.raises(FloatingPointError):
        optimizer.step()
    assert len(record.update_ratios["W"]) == 0


# ---------------------------------------------------------------- cells of one's own


class Leaky(Cell):
    gates = {"leak": (0, 1, "what stays")}  # noqa: RUF012  what a user would write

    def __init__(self, gates):
        self.input_size = self.hidden_size = 3
        self.a = Parameter(np.full(3, 0.9))
        self.gates_to_return = gates

    def forward(self, x_t, state):
        h = self.a.value * state[0] + x_t
        return h, (h,), state[0]

    def backward(self, grad_y, grad_state, cache):
        grad = grad_y + grad_state[0]
        self.a.grad += (grad * cache).sum(axis=0)
        return grad, (grad * self.a.value,)

    def gate_values(self, cache):
        return self.gates_to_return(self, cache)


def test_a_cell_of_ones_own_names_its_gates():
    cell = Leaky(lambda cell, h: {"leak": np.broadcast_to(cell.a.value, h.shape), "before": h})
    layer, x = Recurrent(cell), data()[0]
    with Recorder(layer) as record:
        y = layer.forward(x)
    seen = record["model"]
    assert list(seen.gates) == ["leak", "before"]
    assert list(seen.states) == ["h"]
    assert (seen.gates["leak"] == 0.9).all()
    np.testing.assert_array_equal(seen.gates["before"][:, 1:], y[:, :-1])
    assert seen.saturation() == {"leak": (0.0, 0.0)}
    assert repr(seen) == "<record of model (Recurrent): leak, before, h>"


@pytest.mark.parametrize(
    ("gates", "error", "words"),
    [
        (lambda cell, h: [h], TypeError, "Leaky: gate_values should return a dictionary"),
        (lambda cell, h: {"leak": cell.a.value}, ValueError, r"axis 0 \(batch\) .* should be 8"),
    ],
)
def test_gates_that_do_not_fit_are_refused(gates, error, words):
    layer = Recurrent(Leaky(gates))
    with Recorder(layer), pytest.raises(error, match=words):
        layer.forward(data()[0])
    assert layer.forward(data()[0]).shape == (8, 5, 3)


def test_gates_are_fields_of_the_cache():
    class Cache(NamedTuple):
        h: np.ndarray
        leak: np.ndarray

    class Named(Leaky):
        gate_values = Cell.gate_values

        def forward(self, x_t, state):
            y_t, next_state, h = super().forward(x_t, state)
            return y_t, next_state, Cache(h, np.broadcast_to(self.a.value, h.shape))

        def backward(self, grad_y, grad_state, cache):
            return super().backward(grad_y, grad_state, cache.h)

    layer = Recurrent(Named(None))
    with Recorder(layer) as record:
        layer.backward(np.ones_like(layer.forward(data()[0])))
    assert (record["model"].gates["leak"] == 0.9).all()
    assert record["model"].title("leak") == "leak, what stays"
    assert record["model"].saturation()["leak"].high == 0


def test_a_cache_without_the_gates_that_the_class_names_is_refused():
    class Other(LSTMCell):
        def forward(self, x_t, state):
            y_t, state, cache = super().forward(x_t, state)
            return y_t, state, cache[::-1]

        def backward(self, grad_y, grad_state, cache):
            return super().backward(grad_y, grad_state, cache[::-1])

    layer = Recurrent(Other(3, 4, rng=0))
    with Recorder(layer), pytest.raises(TypeError, match="Other: its gates should be fields of"):
        layer.forward(data()[0])
    layer.cell.gates = {}
    with Recorder(layer) as record:
        layer.forward(data()[0])
    assert record["model"].gates == {}
    assert list(record["model"].signals) == ["h", "c"]


# ---------------------------------------------------------------- wrong calls


def test_what_cannot_be_recorded_is_refused():
    with pytest.raises(TypeError, match="takes a model or a trainer, got int"):
        Recorder(3)
    with pytest.raises(TypeError, match="should be an Optimizer, got float"):
        Recorder(LSTM(3, 4), 0.1)
    with pytest.raises(ValueError, match="nothing to record"):
        Recorder(Dense(3, 4))


def test_what_was_not_recorded_says_so():
    model = make_model()
    with Recorder(model) as record:
        pass
    with pytest.raises(RuntimeError, match="no forward was recorded"):
        record["layers.1.layers.0"].hidden  # noqa: B018
    with pytest.raises(RuntimeError, match="no backward was recorded"):
        record["layers.1.layers.0"].gradient_norms  # noqa: B018
    with pytest.raises(RuntimeError, match="no forward was recorded"):
        record["layers.1.layers.1"].output  # noqa: B018
    with pytest.raises(RuntimeError, match="only with the optimizer"):
        record.update_ratios  # noqa: B018
    with pytest.raises(KeyError, match=r"no record of lstm; there are layers\.0\.forward_layer"):
        record["lstm"]
    with pytest.raises(KeyError, match=r"no record of layers\.2"):
        record[model[2]]
