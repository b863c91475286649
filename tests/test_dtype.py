"""float32 all the way in a float32 model, float64 on request, and no silent mixture."""

from __future__ import annotations

import numpy as np
import pytest

import minirnn as m
from minirnn.recurrent.recurrent import _Call

LAYERS = {
    "RNN": lambda d: m.RNN(3, 4, rng=0, dtype=d),
    "RNN relu": lambda d: m.RNN(3, 4, activation="relu", rng=0, dtype=d),
    "RNN sigmoid": lambda d: m.RNN(3, 4, activation="sigmoid", rng=0, dtype=d),
    "LSTM": lambda d: m.LSTM(3, 4, rng=0, dtype=d),
    "GRU": lambda d: m.GRU(3, 4, rng=0, dtype=d),
    "GRU reset before": lambda d: m.GRU(3, 4, reset_after=False, rng=0, dtype=d),
    "loop": lambda d: m.Recurrent(_looped(d)),
    "Bidirectional": lambda d: m.Bidirectional(m.GRU(3, 4, dtype=d), m.LSTM(3, 4, dtype=d)),
    "Dense": lambda d: m.Dense(3, 4, rng=0, dtype=d),
}
LOSSES = [m.SoftmaxCrossEntropy, m.SigmoidCrossEntropy, m.MeanSquaredError, m.CrossEntropy]
OPTIMIZERS = {
    "SGD": lambda p: m.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "RMSProp": lambda p: m.RMSProp(p, 0.1, weight_decay=0.01),
    "Adagrad": lambda p: m.Adagrad(p, 0.1, clip_value=0.1),
    "Adam": lambda p: m.Adam(p, lambda step: np.float64(0.1), weight_decay=0.01, clip_norm=0.1),
    "AdamW": lambda p: m.AdamW(p, 0.1, weight_decay=0.01, clip_norm=0.1),
}
X = np.random.default_rng(0).standard_normal((2, 5, 3))
MASK = np.array([[True] * 5, [True, False, True, True, False]])


class _OwnLSTM(m.LSTMCell):
    def forward(self, x_t, state):
        return super().forward(x_t, state)


def _looped(dtype) -> m.Cell:
    return _OwnLSTM(3, 4, rng=0, dtype=dtype)


def _arrays(value: object) -> list[np.ndarray]:
    """Return every array of floats that an object holds, caches and workspaces included."""
    if isinstance(value, np.ndarray):
        return [value] if value.dtype.kind == "f" else []
    if isinstance(value, m.Parameter):
        return [value.value, value.grad]
    if isinstance(value, dict):
        return [array for item in value.values() for array in _arrays(item)]
    if isinstance(value, list | tuple):
        return [array for item in value for array in _arrays(item)]
    if isinstance(value, m.Layer | _Call):
        return _arrays(vars(value))
    return []


class _Careless(m.RNNCell):
    """A cell whose author has multiplied by an array of float64."""

    def forward(self, x_t, state):
        y_t, state, cache = super().forward(x_t, state)
        one = np.ones(4)
        return y_t * one, (state[0] * one,), cache

    def backward(self, grad_y, grad_state, cache):
        grad_x, (grad_h,) = super().backward(grad_y, grad_state, cache)
        return grad_x, (grad_h * np.ones(4),)


@pytest.mark.parametrize("engine", ["auto", "off"])
@pytest.mark.parametrize("mask", [None, MASK])
def test_a_cell_that_returns_float64_leaves_a_float32_layer_in_float32(mask, engine):
    layer = m.Recurrent(_Careless(3, 4, rng=0), engine=engine)
    y = layer.forward(X, mask)
    grad_x = layer.backward(np.ones((2, 5, 4)))
    arrays = [y, grad_x, *layer.state, *layer.grad_state, layer.step(X[:, 0]), *layer.state]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("name", LAYERS)
def test_one_dtype_in_outputs_states_gradients_and_caches(name, mask, dtype):
    """Whatever comes in: the other dtype, integers, lists."""
    layer = LAYERS[name](dtype)
    for x in (X, X.astype(np.float32), np.ones((2, 5, 3), int), X.tolist()):
        options = {"mask": mask} if mask is not None and layer.uses_mask else {}
        y = layer.forward(x, **options)
        grad_x = layer.backward(np.ones(y.shape))
        assert y.dtype == grad_x.dtype == dtype
        held = _arrays(layer)
        assert len(held) > 4
        assert {array.dtype for array in held} == {np.dtype(dtype)}
    if name != "Bidirectional":
        assert layer.step(X[:, 0]).dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_keeps_the_predictions_dtype(kind, dtype):
    prediction, target = np.full((2, 3, 4), 0.25, dtype), np.full((2, 3, 4), 0.25)
    loss = kind()
    assert type(loss.forward(prediction, target)) is float
    assert loss.backward().dtype == dtype
    assert type(loss.forward(prediction, target, np.ones((2, 3), bool))) is float
    assert loss.backward().dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_keeps_the_parameters_dtype(name, dtype):
    layer = m.LSTM(3, 4, rng=0, dtype=dtype)
    optimizer = OPTIMIZERS[name](layer.parameters())
    for _ in range(3):
        layer.backward(np.ones_like(layer.forward(X)))
        optimizer.step()
    assert {p.value.dtype for p in layer.parameters()} == {np.dtype(dtype)}
    slots = _arrays(optimizer.state_dict()["slots"])
    assert slots
    assert {slot.dtype for slot in slots} == {np.dtype(dtype)}


def test_everything_is_float32_unless_said_otherwise():
    made = [m.RNN(2, 3), m.LSTM(2, 3), m.GRU(2, 3), m.Dense(2, 3), m.Embedding(2, 3)]
    made += [m.RNNCell(2, 3), m.LSTMCell(2, 3), m.GRUCell(2, 3)]
    assert {p.value.dtype for layer in made for p in layer.parameters()} == {np.dtype("f4")}
    assert m.Parameter([1.0, 2.0]).value.dtype == np.float32
    assert m.Parameter(np.ones(2)).value.dtype == np.float64, "an array keeps its own"


@pytest.mark.parametrize("dtype", ["float16", "int32", complex, "floaty", None])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match="LSTMCell: dtype should be float32 or float64, got"):
        m.LSTM(2, 3, dtype=dtype)


@pytest.mark.parametrize("dtype", [5, m.Dense, object(), [np.float32]])
def test_what_is_no_dtype_is_of_the_wrong_kind(dtype):
    with pytest.raises(TypeError, match="LSTMCell: dtype should be float32 or float64, got"):
        m.LSTM(2, 3, dtype=dtype)


class _Wide(m.Cell):
    """A cell whose author did not think of dtypes: everything it makes is float64."""

    def __init__(self):
        self.input_size, self.hidden_size = 4, 3
        self.W = m.Parameter(np.full((4, 3), 0.3))

    def initial_state(self, batch_size):
        return (np.zeros((batch_size, 3)),)

    def forward(self, x_t, state):
        h = np.tanh(x_t @ self.W.value + np.float64(0.5) * state[0])
        return h, (h,), (x_t, h)

    def backward(self, grad_y, grad_state, cache):
        x_t, h = cache
        dz = (grad_y + grad_state[0]) * (1 - h * h)
        self.W.grad += x_t.T @ dz
        return dz @ self.W.value.T, (0.5 * dz,)


def test_a_float64_cell_in_a_float32_model_trains():
    cell = _Wide()
    model = m.Sequential([m.Dense(3, 4, rng=0), m.Recurrent(cell), m.Dense(3, 2, rng=1)])
    optimizer = m.Adam(model.parameters(), 0.01)
    with pytest.warns(
        UserWarning, match=r"_Wide: .* layers.1.cell.W is float64.*astype\(np.float32\)"
    ):
        trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer)
    before = model.state_dict()
    losses = [trainer.train_step(X, np.zeros((2, 5), int)) for _ in range(20)]
    assert losses[-1] < losses[0]
    after = model.state_dict()
    assert all((after[name] != before[name]).any() for name in before)
    assert cell.W.value.dtype == np.float64
    assert model.forward(X).dtype == np.float32


def test_the_other_byte_order_is_no_other_precision():
    swapped = np.array([1 / 3, 2 / 3]).astype(">f8")
    assert m.Parameter(swapped).value.dtype == np.float64
    loss = m.MeanSquaredError()
    assert loss.forward(swapped[None], np.zeros((1, 2))) == 5 / 18
    assert loss.backward().dtype == np.float64
