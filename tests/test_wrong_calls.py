"""What a beginner calls by mistake: the answer, and that nothing has changed."""

from __future__ import annotations

import numpy as np
import pytest

import minirnn as m
from tests.contract import helpers

X = np.random.default_rng(0).standard_normal((2, 6, 3))
TOKENS = np.array([[0, 1, 2], [3, 4, 0]])


def _ran(layer, *arguments):
    """Return a layer that has run once, as it would have in a program."""
    layer.forward(*arguments)
    return layer


CALLS = {
    "the loss in place of its gradient": (
        lambda: _ran(m.Sequential([m.Dense(3, 2, rng=0)]), X[:, 0]),
        lambda one: one.backward(0.25),
        ValueError,
        r"the gradient should have shape \(2, 2\), got \(\); it is loss\.backward\(\)",
    ),
    # name: (make the layer, the call, the error, what its message says)
    "features where time should be": (
        lambda: m.LSTM(6, 4, rng=0),
        lambda one: one.forward(X),
        ValueError,
        r"^LSTM: axis 2 \(features\) should be 6, got 3 in shape \(2, 6, 3\); axis 1 \(time\) is "
        r"6: are time and features swapped\?",
    ),
    "in a model, which layer": (
        lambda: m.Sequential([m.Tanh(), m.GRU(4, 2)]),
        lambda one: one.forward(X),
        ValueError,
        r"^GRU \(layer 1 of the model\): axis 2 \(features\) should be 4, got 3",
    ),
    "in a model in a model": (
        lambda: m.Sequential([m.Tanh(), m.Sequential([m.Tanh(), m.Dense(4, 2)])]),
        lambda one: one.forward(X),
        ValueError,
        r"^Dense \(layer 1 of layer 1 of the model\): axis 2 \(features\) should be 4, got 3",
    ),
    "no features axis": (
        lambda: m.RNN(3, 4),
        lambda one: one.forward(X[:, :, 0]),
        ValueError,
        r"^RNN: the input should be \(batch, time, features\), got 2 axes.*x\[:, :, None\]",
    ),
    "tokens in an LSTM": (
        lambda: m.LSTM(3, 4),
        lambda one: one.forward(TOKENS),
        ValueError,
        r"^LSTM: .*got 2 axes in shape \(2, 3\); for integer tokens put an Embedding first",
    ),
    "tokens too large": (
        lambda: m.Embedding(4, 3),
        lambda one: one.forward(TOKENS),
        ValueError,
        r"^Embedding: tokens should be in 0\.\.3 \(4 of them\), got 4 at position \(1, 1\)",
    ),
    "negative tokens": (
        lambda: m.Embedding(5, 3),
        lambda one: one.forward(-TOKENS),
        ValueError,
        r"^Embedding: tokens should be in 0\.\.4 .*got -1 at position \(0, 1\)",
    ),
    "float tokens": (
        lambda: m.Embedding(5, 3),
        lambda one: one.forward(TOKENS * 1.0),
        TypeError,
        r"^Embedding: tokens should be integers in 0\.\.4, got an array of float64.*astype\(int\)",
    ),
    "one-hot into an Embedding": (
        lambda: m.Embedding(5, 3),
        lambda one: one.forward(np.ones((2, 3, 5), int)),
        ValueError,
        r"^Embedding: tokens should be \(batch, time\), got shape \(2, 3, 5\): are they one-hot",
    ),
    "a sequence of which nothing is real": (
        lambda: m.LastStep(),
        lambda one: one.forward(X, np.array([[True] * 6, [False] * 6])),
        ValueError,
        r"^LastStep: sequence 1 of the batch has no valid step in the mask",
    ),
    "an empty batch": (
        lambda: m.GRU(3, 4),
        lambda one: one.forward(X[:0]),
        ValueError,
        r"^GRU: axis 0 \(batch\) should be at least 1, got 0 in shape \(0, 6, 3\)",
    ),
    "no time steps": (
        lambda: m.GRU(3, 4),
        lambda one: one.forward(X[:, :0]),
        ValueError,
        r"^GRU: axis 1 \(time\) should be at least 1, got 0 in shape \(2, 0, 3\)",
    ),
    "backward before forward": (
        lambda: m.LSTM(3, 4),
        lambda one: one.backward(np.ones((2, 6, 4))),
        RuntimeError,
        r"^LSTM: backward was called before forward",
    ),
    "backward before forward, in a model": (
        lambda: m.Sequential([m.LSTM(3, 4), m.Dense(4, 2)]),
        lambda one: one.backward(np.ones((2, 6, 2))),
        RuntimeError,
        r"^Dense \(layer 1 of the model\): backward was called before forward",
    ),
    "a gradient of another shape": (
        lambda: _ran(m.LSTM(3, 4, rng=0), X),
        lambda one: one.backward(np.ones((2, 4))),
        ValueError,
        r"^LSTM: the gradient should have shape \(2, 6, 4\), got \(2, 4\)",
    ),
    "another batch size in a stateful layer": (
        lambda: _ran(m.LSTM(3, 4, stateful=True, rng=0), X),
        lambda one: one.forward(X[:1]),
        ValueError,
        r"^LSTM: axis 0 \(batch\) should be 2, that of the carried state, got 1; call reset_state",
    ),
    "a mask of ones and zeros": (
        lambda: m.RNN(3, 4),
        lambda one: one.forward(X, np.ones((2, 6))),
        TypeError,
        r"^RNN: the mask should be boolean.*got an array of float64; write mask\.astype\(bool\)",
    ),
    "lengths as a mask": (
        lambda: m.RNN(3, 4),
        lambda one: one.forward(X, np.array([3, 6])),
        TypeError,
        r"^RNN: the mask should be boolean.*lengths_to_mask\(lengths\)",
    ),
    "a mask the other way round": (
        lambda: m.RNN(3, 4),
        lambda one: one.forward(X, np.ones((6, 2), bool)),
        ValueError,
        r"^RNN: the mask should have shape \(2, 6\) .*got \(6, 2\): are batch and time swapped",
    ),
    "a state that is one array": (
        lambda: m.LSTM(3, 4),
        lambda one: one.forward(X, state=np.zeros((2, 4))),
        TypeError,
        r"^LSTM: the state should be a tuple of 2 arrays, got ndarray",
    ),
    "a state of another size": (
        lambda: m.LSTM(3, 4),
        lambda one: one.forward(X, state=(np.zeros((2, 4)), np.zeros((2, 5)))),
        ValueError,
        r"^LSTM: the state\[1\] \(batch, ...\) should have shape \(2, 4\), got \(2, 5\)",
    ),
    "a step of three axes": (
        lambda: m.LSTM(3, 4),
        lambda one: one.step(X),
        ValueError,
        r"^LSTM: one time step should be \(batch, features\), got 3 axes.*x\[:, t\]",
    ),
    "a step in reverse": (
        lambda: m.LSTM(3, 4, reverse=True),
        lambda one: one.step(X[:, 0]),
        ValueError,
        r"^LSTM: a layer with reverse=True needs the whole sequence",
    ),
    "text": (
        lambda: m.Dense(3, 4),
        lambda one: one.forward(["abc", "def"]),
        TypeError,
        r"^Dense: the input should hold real numbers, got an array of <U3 \(from a list\)",
    ),
    "nothing": (
        lambda: m.Dense(3, 4),
        lambda one: one.forward(None),
        TypeError,
        r"^Dense: the input should be an array, got None",
    ),
    "sequences of different lengths": (
        lambda: m.LSTM(1, 4),
        lambda one: one.forward([[[1], [2]], [[1]]]),
        ValueError,
        r"^LSTM: the input is not a rectangular array.*pad_sequences",
    ),
    "complex numbers": (
        lambda: m.LSTM(3, 4),
        lambda one: one.forward(X + 1j),
        TypeError,
        r"^LSTM: the input should hold real numbers, got an array of complex128",
    ),
    "weights that do not fit": (
        lambda: m.LSTM(3, 4, rng=0),
        lambda one: one.load_state_dict({"cell.Wx": np.ones((3, 8)), "cell.c": 1.0}),
        ValueError,
        r"^LSTM: the weights do not fit, nothing was loaded:\n  missing: cell\.Wh \(4, 16\)\n  "
        r"missing: cell\.b \(16,\)\n  unexpected: cell\.c\n  misshapen: cell\.Wx should be "
        r"\(3, 16\), got \(3, 8\)",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_of_a_layer(name):
    make, call, error, message = CALLS[name]
    layer = make()
    before = helpers.snapshot(layer)
    with pytest.raises(error, match=message):
        call(layer)
    helpers.assert_same(before, helpers.snapshot(layer))


MAKING = {
    "a size of nothing": (lambda: m.LSTM(3, 0), ValueError, "hidden_size should be at least 1"),
    "a negative size": (lambda: m.Dense(-1, 2), ValueError, "input_size should be at least 1"),
    "half a size": (lambda: m.GRU(3, 2.5), TypeError, r"hidden_size should be a whole number, got"),
    "a size as text": (lambda: m.RNN("3", 2), TypeError, "input_size should be a whole number"),
    "an activation unheard of": (
        lambda: m.RNN(3, 2, activation="gelu"),
        ValueError,
        "activation should be one of 'tanh', 'relu', 'sigmoid', got 'gelu'",
    ),
    "a function for an activation": (
        lambda: m.RNN(3, 2, activation=np.tanh),
        TypeError,
        "activation should be one of 'tanh', 'relu', 'sigmoid', got <ufunc 'tanh'>",
    ),
    "a flag for an engine": (
        lambda: m.GRU(3, 2, engine=True),
        TypeError,
        "GRU: engine should be one of 'auto', 'off', 'require', got True",
    ),
    "a number for the engine of all": (
        lambda: m.engine.use(1),
        TypeError,
        "use: engine should be one of auto, off, require, got 1",
    ),
    "a flag for a seed": (
        lambda: m.Dense(2, 2, rng=True),
        TypeError,
        "rng should be None, an int seed or a numpy.random.Generator, got bool",
    ),
    "one beta": (
        lambda: m.Adam(m.Dense(2, 2).parameters(), 0.1, betas=0.9),
        TypeError,
        "Adam: betas should be two numbers, got float",
    ),
    "three betas": (
        lambda: m.Adam(m.Dense(2, 2).parameters(), 0.1, betas=(0.9, 0.9, 0.9)),
        ValueError,
        "Adam: betas should be two numbers, got tuple of 3",
    ),
    "a rate of one": (lambda: m.Dropout(1), ValueError, "rate should be at least 0 and below 1"),
    "a generator of old": (
        lambda: m.Dense(2, 2, rng=np.random.RandomState(0)),
        TypeError,
        "rng should be None, an int seed or a numpy.random.Generator, got RandomState",
    ),
    "no parameters": (lambda: m.Adam([], 0.1), ValueError, "Adam: the list of parameters is empty"),
    "a model for parameters": (
        lambda: m.Adam(m.Dense(2, 2), 0.1),
        TypeError,
        r"Adam: takes parameters, got a layer; write model\.parameters\(\)",
    ),
    "named parameters": (
        lambda: m.Adam(m.Dense(2, 2).named_parameters(), 0.1),
        TypeError,
        "takes Parameters, got a tuple",
    ),
    "a learning rate of 0": (
        lambda: m.SGD(m.Dense(2, 2).parameters(), 0),
        ValueError,
        "SGD: learning_rate should be greater than 0, got 0",
    ),
    "a learning rate of -1": (
        lambda: m.SGD(m.Dense(2, 2).parameters(), -1),
        ValueError,
        "SGD: learning_rate should be greater than 0, got -1",
    ),
    "a learning rate that is none": (
        lambda: m.SGD(m.Dense(2, 2).parameters(), np.nan),
        ValueError,
        "SGD: learning_rate should be finite, got nan",
    ),
    "a class for a layer": (
        lambda: m.Sequential([m.Dense]),
        TypeError,
        r"Sequential: layer 0 should be a Layer, got the class Dense: write Dense\(...\)",
    ),
    "layers without a list": (
        lambda: m.Sequential(m.Dense(2, 2), m.Tanh()),
        TypeError,
        r"Sequential: takes \(layers\), got 2 arguments; several .*: write Sequential\(\[...\]\)",
    ),
    "a cell for a layer": (
        lambda: m.Sequential([m.LSTMCell(2, 3)]),
        TypeError,
        r"layer 0 is a LSTMCell, one time step; to run it over time, write Recurrent\(LSTMCell",
    ),
    "parameters without brackets": (
        lambda: m.SGD(m.Dense(2, 2).parameters, 0.1),
        TypeError,
        r"SGD: takes a list of parameters, got method; write model\.parameters\(\)",
    ),
    "a word for a flag": (
        lambda: m.Dense(2, 2, bias="no"),
        TypeError,
        "Dense: bias should be True or False, got 'no'",
    ),
    "a loss for a model": (
        lambda: m.Trainer(m.MeanSquaredError(), m.MeanSquaredError(), None),
        TypeError,
        "Trainer: model should be a Layer, got MeanSquaredError",
    ),
    "a class for a loss": (
        lambda: m.Trainer(one := m.Dense(2, 2), m.MeanSquaredError, m.SGD(one.parameters(), 0.1)),
        TypeError,
        r"Trainer: loss should be a Loss, got the class MeanSquaredError: write MeanSquaredError\(",
    ),
}


@pytest.mark.parametrize("name", MAKING)
def test_a_thing_that_cannot_be_made(name):
    make, error, message = MAKING[name]
    with pytest.raises(error, match=message):
        make()


def test_nan_goes_through_a_layer_and_stops_the_training():
    layer = m.LSTM(3, 4, rng=0)
    x = X.copy()
    x[0, 2, 1] = np.nan
    y = layer.forward(x)
    assert np.isfinite(y[0, :2]).all()
    assert np.isnan(y[0, 2:]).all()
    assert np.isfinite(y[1]).all()
    trainer = m.Trainer(layer, m.MeanSquaredError(), m.SGD(layer.parameters(), 0.1))
    weights = layer.state_dict()
    with pytest.raises(m.NotFiniteError, match=r"the input itself has 1 of 36 numbers"):
        trainer.train_step(x, np.zeros_like(y))
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, weights[name])


def test_backward_twice_is_the_gradient_twice():
    layer = m.GRU(3, 4, rng=0, dtype=np.float64)
    y = layer.forward(X)
    one = layer.backward(np.ones_like(y))
    once = [p.grad.copy() for p in layer.parameters()]
    np.testing.assert_array_equal(layer.backward(np.ones_like(y)), one)
    for parameter, grad in zip(layer.parameters(), once, strict=True):
        np.testing.assert_allclose(parameter.grad, 2 * grad, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize(
    ("loss", "target", "error", "message"),
    [
        (
            m.SoftmaxCrossEntropy,
            np.zeros((2, 5), int),
            ValueError,
            r"integer classes of shape \(2, 6",
        ),
        (m.SoftmaxCrossEntropy, np.full((2, 6), 3), ValueError, r"in 0\.\.2 .*got 3 at position"),
        (m.SoftmaxCrossEntropy, np.zeros((2, 6)), TypeError, "target classes should be integers"),
        (m.SoftmaxCrossEntropy, np.zeros((2, 6, 1), int), ValueError, r"drop the last axis"),
        (m.CrossEntropy, np.zeros((2, 6), int), ValueError, "for logits take SoftmaxCrossEntropy"),
        (
            m.SigmoidCrossEntropy,
            np.full((2, 6, 3), 2.0),
            ValueError,
            r"targets should be in 0\.\.1",
        ),
        (m.MeanSquaredError, np.zeros((2, 6)), ValueError, r"shape \(2, 6, 3\), got \(2, 6\)"),
        (m.MeanSquaredError, np.zeros((2, 6, 1)), ValueError, r"shape \(2, 6, 3\), got \(2, 6, 1"),
    ],
)
def test_wrong_targets(loss, target, error, message):
    one = loss()
    with pytest.raises(error, match=message):
        one.forward(X, target)
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        one.backward()


# ---------------------------------------------------------------- training, and own classes

Y = np.array([0, 1])


def _model(*layers):
    return m.Sequential([m.LSTM(3, 4, rng=0), m.LastStep(), *(layers or [m.Dense(4, 2, rng=1)])])


def _trainer(model=None, loss=None, **options):
    model = _model() if model is None else model
    optimizer = m.SGD(model.parameters(), 0.1)
    return m.Trainer(model, loss or m.SoftmaxCrossEntropy(), optimizer, **options)


def _fit(*data, trainer=None, **options):
    options = {"epochs": 1, "progress": False} | options
    return (trainer or _trainer()).fit(*data, **options)


class Tensor:
    """As PyTorch's, where it has a gradient."""

    def __array__(self, *arguments, **keywords):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        return self


class OwnRate(m.Optimizer):
    def __init__(self, parameters, rate):
        self.rate = rate


class NoMask(m.Loss):
    def forward(self, prediction, target):
        return 0.0

    def backward(self):
        return 0


class Unsummed(m.Layer):
    def __init__(self):
        self.W = m.Parameter(np.ones((4, 2), np.float32))

    def forward(self, x):
        return x @ self.W.value

    def backward(self, grad):
        self.W.grad += np.ones((3, 2, 2))
        return grad @ self.W.value.T


class Assigns(Unsummed):
    def forward(self, x):
        self.x = x
        return x @ self.W.value

    def backward(self, grad):
        self.W.grad = self.x.T @ grad
        return grad @ self.W.value.T


class Changes(m.Layer):
    def forward(self, x):
        x *= 2
        return x

    def backward(self, grad):
        return grad * 2


def _given_an_array():
    m.Dense(3, 4).W = np.zeros((3, 4))


def _loss_in_the_place_of_its_gradient():
    model, loss = _model(), m.SoftmaxCrossEntropy()
    model.backward(loss.forward(model.forward(X), Y))


ROWS = {
    "time first": (
        lambda: _fit(X.swapaxes(0, 1), Y),
        r"as long as that of the inputs \(6, 2, 3\), got .*axis 1 .*is 2: are batch and time swapp",
    ),
    "a tensor": (lambda: _model().forward(Tensor()), r"LSTM .*the input is a Tensor.*\.detach\(\)"),
    "a masked array": (
        lambda: _fit(np.ma.masked_greater(X, 0.5), Y),
        r"the input is a masked array, .*\.filled\(0\), and pass a boolean mask",
    ),
    "a tensor in fit": (lambda: _fit(Tensor(), Y), r"the input is a Tensor.*\.detach\(\)"),
    "words as labels": (lambda: _fit(X, np.array(["a", "b"])), "np.unique.*return_inverse=True"),
    "bool labels": (lambda: _fit(X, Y == 1), r"astype\(int\)"),
    "a metric's name": (lambda: _trainer(metrics=["accuracy"]), r"write Accuracy\(\)"),
    "a loss's name": (lambda: _trainer(loss="mse"), r"write MeanSquaredError\(\)"),
    "a row without a step": (
        lambda: _fit(X, Y, mask=np.array([[True] * 6, [False] * 6])),
        "row 1 of the mask has no valid step",
    ),
    "validation in a dictionary": (
        lambda: _fit(X, Y, validation={"inputs": X, "targets": Y}),
        r"validation should be \(inputs, targets\).*got a dictionary with the keys 'inputs', 'targ",
    ),
    "an optimizer without super": (
        lambda: OwnRate(_model().parameters(), 0.1).step(),
        r"OwnRate: .*does __init__ call super\(\)\.__init__\(",
    ),
    "a loss without mask": (lambda: _trainer(loss=NoMask()), "NoMask does not take mask.*mask=No"),
    "a gradient of a wrong shape": (
        lambda: _trainer(_model(Unsummed())).train_step(X, Y),
        r"Unsummed \(layer 2 of the model\): .*summed over batch and time: W \(4, 2\)",
    ),
    "an array for a parameter": (_given_an_array, r"W is a Parameter; .*write \.W\.value = "),
    "the loss for its gradient": (
        _loss_in_the_place_of_its_gradient,
        r"Dense .*should have shape \(2, 2\), got \(\); it is loss\.backward\(\)",
    ),
    "a layer for a cell": (lambda: m.Recurrent(m.LSTM(3, 4)), r"whole layer LSTM; .*LSTMCell\("),
    "one direction": (lambda: m.Bidirectional(m.LSTM(3, 4)), r"write Bidirectional\(LSTM\(...\), "),
    "sizes that do not meet": (
        lambda: m.Sequential([m.LSTM(3, 4), m.Dense(5, 2)]),
        r"layer 0 \(LSTM\) gives 4 features, but layer 1 \(Dense\) takes 5",
    ),
    "a metric twice": (
        lambda: _trainer(metrics=[m.Accuracy(), m.Accuracy()]),
        "two of the values .* named 'accuracy'",
    ),
    "batch_size beside batches": (
        lambda: _fit(m.data.Batches(X, Y, batch_size=1), batch_size=1),
        "batches bring their own size",
    ),
    "progress as a number": (lambda: _fit(X, Y, progress=2), "True or False, got 2"),
    "float tokens": (
        lambda: m.data.StreamBatches(np.arange(9.0), batch_size=1, steps=2),
        r"tokens .*should be integers.*astype\(int\)",
    ),
    "an input that is changed": (
        lambda: _fit(X.copy(), Y, trainer=_trainer(m.Sequential([Changes(), *_model()]))),
        "forward changes its input in place",
    ),
    "a gradient that is assigned": (
        lambda: _fit(X, Y, trainer=_trainer(_model(Assigns()))),
        r"Assigns: backward assigns the gradient.*write \.grad \+=",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_to_write_instead(name):
    call, message = ROWS[name]
    with pytest.raises((TypeError, ValueError, RuntimeError, AttributeError), match=message):
        call()


def test_read_only_arrays_are_taken():
    x = X.astype(np.float32)
    x.flags.writeable = False
    assert np.isfinite(_fit(x, Y)["loss"]).all()
