"""A broken thing for each part of the contract: it is named, in words with what to write."""

import numpy as np
import pytest

import minirnn as m
from minirnn.testing import ContractError, check_layer
from tests.gradcheck import hosts as h
from tests.testing import planted, things

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(2, 3))
SEQUENCES = RNG.normal(size=(2, 4, 3))
PREDICTION, TARGET = RNG.normal(size=(3, 4, 2)), RNG.normal(size=(3, 4, 2))
LOGITS, CLASSES = RNG.normal(size=(5, 4, 3)), RNG.integers(0, 3, (5, 4))

GLOBAL = np.random.RandomState(0)


class Unpicklable(h.Affine):
    """Keeps a function of its own."""

    def __init__(self):
        super().__init__()
        self.hook = lambda: None


class Around(m.Layer):
    """A residual connection round a recurrent layer, mask and all."""

    uses_mask = True

    def __init__(self):
        self.inner = m.RNN(3, 3, rng=0)

    def forward(self, x, mask=None):
        self.padding = np.zeros(x.shape[:2], bool) if mask is None else ~mask
        x = np.where(self.padding[:, :, None], x.dtype.type(0), x)
        return x + self.inner.forward(x, mask)

    def backward(self, grad):
        grad = np.where(self.padding[:, :, None], grad.dtype.type(0), grad)
        return grad + self.inner.backward(grad)

    def step(self, x_t):
        return x_t + self.inner.step(x_t)


class Switch(m.Layer):
    """Adds noise in training, from a generator of its own."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.gain = m.Parameter(np.ones(3, np.float32))

    def forward(self, x):
        self.x = x
        noise = self.rng.normal(size=x.shape).astype(x.dtype) if self.training else 0
        return x * self.gain.value + noise

    def backward(self, grad):
        self.gain.grad += (grad * self.x).reshape(-1, 3).sum(axis=0)
        return grad * self.gain.value


def test_what_is_sound_passes():
    for thing, inputs in [
        (h.Affine(), (ROWS,)),
        (h.Affine(), (SEQUENCES,)),
        (h.Lookup(), (np.array([[0, 2, 2], [5, 5, 0]]),)),
        (h.Mean(), (SEQUENCES,)),
        (h.SigmoidLayer(), (ROWS,)),
        (h.LayerNorm(), (RNG.normal(size=(4, 5)),)),
        (Around(), (SEQUENCES,)),
        (Switch(), (ROWS,)),
        (h.TanhCell(3, 2), (ROWS,)),
        (h.PeepholeCell(3, 2), (ROWS,)),
        (h.HalfSquares(), (PREDICTION, TARGET)),
        (h.Guess(), (LOGITS[:, 0], CLASSES[:, 0])),
        (things.Hits(), (LOGITS, CLASSES)),
        (things.Streamed(), (PREDICTION, TARGET)),
        (things.Momentum, ()),
        (things.Momentum([m.Parameter(np.ones((2, 3))), m.Parameter(np.ones(2))], 0.1), ()),
        (things.BestLoss(), ()),
    ]:
        report = check_layer(thing, *inputs)
        assert report.passed
        assert report.kept


BROKEN = [
    # what, with which line in the place of which, on what, in which check, what is said
    (h.Affine, "columns.T @ rows", "2 * columns.T @ rows", (ROWS,), "gradients", "2 times"),
    (h.Affine, "return dz @", "dz @", (ROWS,), "gradients", "missing return"),
    (h.Affine, "b.grad += rows", "b.grad += 0 * rows", (ROWS,), "gradients", "that is missing"),
    (h.Affine, "self.W.grad +=", "self.W.grad =", (ROWS,), "gradients add", "write .grad +="),
    (h.Affine, "self.x = x\n", "self.x = x; x *= 2\n", (ROWS,), "gradients", "in place"),
    (h.Affine, "self.y = np.tanh(", "self.y = np.float64(1) * np.tanh(np.float64(1) * ",
     (ROWS,), "dtype", "made without a dtype"),
    (h.Linear, "y = y + self.b.value", "y += self.b.value[...]; x.flat[0] = x.flat[0]", (ROWS,),
     "arrays", "read-only"),
    (h.Linear, "y = x @ self.W.value", "y = x @ self.W.value; return self.W.value[: len(x)]",
     (ROWS,), "arrays", "view of W"),
    (h.Affine, "self.y = np.tanh(x @ self.W.value + self.b.value)",
     "z = x @ self.W.value + self.b.value; "
     "self.y = np.tanh(z, out=self.__dict__.setdefault('room', np.empty_like(z)))",
     (ROWS,), "later calls", "return a new array"),
    (h.Affine, "self.x = x\n", "self.x = self.__dict__.setdefault('old', x)\n", (ROWS,),
     "latest forward", "each forward replace all"),
    (Switch, "self.rng.normal", "GLOBAL.normal", (ROWS,), "latest forward", "self.rng"),
    (h.Linear, "return y", "self.W.grad *= 0; return y", (ROWS,), "gradients", "overwritten"),
    (h.Loop, "self.x = x\n", "self.x = x = np.atleast_3d(x.T).T if x.ndim < 3 else x\n",
     (SEQUENCES,), "steps", "step(x_t) of its own"),
    (Around, "x_t + self.inner.step(x_t)", "self.inner.step(x_t)", (SEQUENCES,), "steps", "step 0"),
    (Switch, "if self.training else 0", "", (ROWS,), "train and eval", "in evaluation mode"),
    (Around, "self.inner = m.RNN(3, 3, rng=0)",
     "self.inner = m.RNN(3, 3, rng=0); self.train = lambda: None", (SEQUENCES,),
     "train and eval", "return the layer"),
    (h.Linear, "self.x = x\n", "self.x = x; self.c = self.__dict__.get('c', Parameter([1.0]))\n",
     (ROWS,), "state_dict", "make them in __init__"),
    (h.Linear, "draw(seed, (size, width), (width,))",
     "draw(seed, (size, width), (width,)); self.state_dict = lambda: {}", (ROWS,), "state_dict",
     "state_dict has []"),
    (h.Mean, "self.x = np.where(mask[:, :, None], x, 0)", "self.x = x", (SEQUENCES,), "padding",
     "np.where"),
    (h.Mean, "(mask / mask.sum(axis=1, keepdims=True))", "(mask / mask.shape[1])", (SEQUENCES,),
     "padding", "runs over the padding"),
    (h.Mean, "mask = np.ones(x.shape[:2], bool) if mask is None else mask",
     "mask = np.ones(x.shape[:2], bool)", (SEQUENCES,), "padding", "in it, the results"),
    (Around, ("uses_mask = True", "forward(self, x, mask=None):", "forward(x, mask)"),
     ("pass", "forward(self, x):\n        mask = None", "forward(x)"), (SEQUENCES,), "padding",
     "its inner (RNN) would need"),
    (h.Affine, "dz = grad", "self.b.grad += 1; dz = grad", (ROWS,), "refused calls",
     "changed by then"),
    # cells
    (h.TanhCell, "(grad_h,)", "(2 * grad_h,)", (ROWS,), "gradients", "2 times"),
    (h.TanhCell, "return new, (new,), cache", "return new, (new,)", (ROWS,), "sizes",
     "should return (y_t, state, cache)"),
    (h.MemoryCell, "return tuple(", "return list(", (ROWS,), "sizes", "write (array,)"),
    (h.MemoryCell, "np.zeros((batch_size, ", "np.zeros((1, ", (ROWS,), "sizes",
     "batch first"),
    (h.TanhCell, "self.input_size, self.hidden_size = input_size, hidden_size",
     "self.input_size = input_size", (ROWS,), "sizes", "no hidden_size"),
    (h.TanhCell, "return new, (new,)", "return new[:, :2], (new,)", (ROWS,), "sizes",
     "set self.output_size"),
    (h.TanhCell, "new = np.tanh(", "new = np.ones(()) * np.tanh(", (ROWS,), "dtype",
     "np.zeros(shape, x.dtype)"),
    (h.TanhCell, "h @ self.Wh.value", "h.mean(axis=0) @ self.Wh.value", (ROWS,), "rows",
     "other sequences"),
    (h.MemoryCell, "self.input_size, self.hidden_size = input_size",
     "self.gates = {'i': (0, 1)}; self.input_size, self.hidden_size = input_size", (ROWS,),
     "gates", "NamedTuple"),
    # losses
    (h.HalfSquares, "self.gap / self.mask.sum()", "self.gap", (PREDICTION, TARGET), "gradients",
     "constant factor"),
    (h.HalfSquares, "float((self.gap**2).sum() / (2 * self.mask.sum()))",
     "np.float32((self.gap**2).sum() / (2 * self.mask.sum()))", (PREDICTION, TARGET), "number",
     "float(...)"),
    (h.HalfSquares, "np.where(self.mask[..., None], prediction - target, 0)",
     "self.mask[..., None] * (prediction - target)", (PREDICTION, TARGET), "padding",
     "a product with 0 keeps NaN"),
    (h.HalfSquares, "mask.sum()", "mask.size", (PREDICTION, TARGET), "padding",
     "divide by mask.sum()"),
    (h.HalfSquares, "target, mask=None):", "target):\n        mask = None", (PREDICTION, TARGET),
     "padding", "mask=None"),
    (h.HalfSquares, "return self.gap / self.mask.sum()",
     "return self.gap / self.mask.sum() if hasattr(self, 'gap') else 0.0", (PREDICTION, TARGET),
     "order of calls", "RuntimeError"),
    # metrics
    (things.Streamed, "name = \"error\"", "pass", (PREDICTION, TARGET), "attributes", "set name"),
    (things.Streamed, "higher_is_better = False", "higher_is_better = 'down'",
     (PREDICTION, TARGET), "attributes", "should be True or False"),
    (things.Streamed, "@property\n", "\n", (PREDICTION, TARGET), "attributes", "@property"),
    (things.Streamed, ("(gap**2).sum()", "gap.size"), ("(gap**2).mean()", "1"),
     (PREDICTION, TARGET), "streaming", "not averages of batches"),
    (things.Streamed, "self.total, self.count = 0.0, 0",
     "self.total, self.count = self.__dict__.get('total', 0.0), 0", (PREDICTION, TARGET), "reset",
     "what came before"),
    (things.Streamed, "raise RuntimeError(\"Streamed: nothing yet\")", "return 0.0",
     (PREDICTION, TARGET), "reset", "raise a RuntimeError"),
    (things.Streamed, "mask = np.ones(prediction.shape[:-1], bool) if mask is None else mask",
     "mask = np.ones(prediction.shape[:-1], bool)", (PREDICTION, TARGET), "padding",
     "in it, the results"),
    (things.Streamed, "target, mask=None):", "target):\n        mask = None",
     (PREDICTION, TARGET), "padding", "takes no mask"),
    (things.Streamed, "gap = prediction[mask]", "prediction *= 2; gap = prediction[mask]",
     (PREDICTION, TARGET), "in place", "work on a copy"),
    (things.Streamed, "return {\"total\": self.total, \"count\": self.count}",
     "return {\"total\": 0.0, \"count\": self.count}", (PREDICTION, TARGET), "state_dict",
     "loses something"),
    (things.Streamed, "def state_dict", "def states", (PREDICTION, TARGET), "state_dict",
     "has no state_dict"),
    (things.Hits, "hit[mask].sum()", "hit.sum()", (LOGITS, CLASSES), "padding",
     "in it, the results"),
    (things.Hits, "self, prediction", "self, prediction, /, extra", (LOGITS, CLASSES),
     "attributes", "raises TypeError"),
    # optimizers
    (things.Momentum, "value -= learning_rate * m", "value = value - learning_rate * m", (),
     "updates", "makes a new array"),
    (things.Momentum, "value -=", "value +=", (), "updates", "uphill"),
    (things.Momentum, "value -= learning_rate * m", "value[:5] -= learning_rate * m[:5]", (),
     "updates", "as it was"),
    (things.Momentum, "m *= 0.9\n        m += grad", "m = 0.9 * m + grad", (), "updates",
     "makes a new array that is forgotten"),
    (things.Momentum, " + 1e-8", "", (), "zero gradient", "epsilon"),
    (things.Momentum, "value -=", "value += learning_rate; value -=", (), "zero gradient", "moves"),
    (things.Momentum, "m *= 0.9", "self.n = self.__dict__.get('n', 0) + 1; m *= 0.9 / self.n", (),
     "resume", "not on self"),
    (things.Momentum, "learning_rate * m", "(learning_rate + 0.01) * m", (), "schedule",
     "the rate that update is given"),
    (things.Momentum, "m = slots",
     "grad = self.parameters[0].grad.ravel()[0] + 0 * grad; m = slots", (), "clipping",
     "clipped already"),
    # callbacks
    (things.BestLoss, ("(Callback)", "on_epoch_end"), ("", "on_epoch_ended"), (), "hooks",
     "did you mean on_epoch_end"),
    (things.BestLoss, "(Callback)", "", (), "hooks", "class BestLoss(minirnn.callbacks.Callback)"),
    (things.BestLoss, ("(Callback)", "(self, trainer)"), ("", "(self, epoch, logs)"), (), "hooks",
     "def on_epoch_end(self, trainer)"),
    (things.BestLoss, "def load_state_dict", "def load", (), "state", "go together"),
    (things.BestLoss, ("def state_dict", "def load_state_dict"), ("def a", "def b"), (), "training",
     "it remembers best"),
    (things.BestLoss, "self.best = state[\"best\"]", "pass", (), "training", "other weights"),
    (things.BestLoss, "{\"best\": self.best}", "{\"best\": self}", (), "training", "raises"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "old", "new", "inputs", "check", "says"),
    BROKEN,
    ids=lambda value: getattr(value, "__name__", str(value))[:40],
)
def test_what_is_broken_is_named(host, old, new, inputs, check, says):
    made = h.mutant(host, old, new)
    report = check_layer(made if issubclass(made, m.Optimizer) else made(), *inputs, raises=False)
    assert not report.passed
    found = {violation.check: "" for violation in report.violations}
    for violation in report.violations:
        found[violation.check] += violation.text + "\n"
    assert check in found, report
    assert says in found[check], report


@pytest.mark.parametrize(
    ("kind", "inputs"), planted.SOUND, ids=lambda v: getattr(v, "__name__", "")
)
def test_what_the_planted_mistakes_are_built_on_is_sound(kind, inputs):
    assert check_layer(kind(), *inputs).passed


@pytest.mark.parametrize(
    ("kind", "inputs", "check", "says"), planted.PLANTED, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_planted_mistake_is_named(kind, inputs, check, says):
    thing = kind if issubclass(kind, m.Optimizer) else kind()
    report = check_layer(thing, *inputs, raises=False)
    said = [v.text for v in report.violations if v.check == check]
    assert any(says in text for text in said), report


def test_what_cannot_be_pickled_is_named():
    report = check_layer(Unpicklable(), ROWS, raises=False)
    assert [violation.check for violation in report.violations] == ["copies"]
    assert "keep no function or file on self" in report.violations[0].text


def test_all_that_is_broken_is_said_at_once():
    layer = h.mutant(
        h.Affine,
        ("self.x = x\n", "self.W.grad +=", "(1 - self.y**2)"),
        ("self.x = self.__dict__.setdefault('old', x)\n", "self.W.grad =", "1"),
    )()
    with pytest.raises(ContractError) as caught:
        check_layer(layer, ROWS)
    report = caught.value.report
    assert {"gradients", "gradients add", "latest forward"} <= {v.check for v in report.violations}
    for violation in report.violations:
        assert repr(violation) in str(caught.value)


def test_advice_is_not_a_violation():
    report = check_layer(h.Affine(), ROWS)
    assert report.passed
    assert any("backward before forward raises AttributeError" in a.text for a in report.advice)
    assert "advice: " in repr(report)
    assert "the layer takes no mask" in report.skipped["padding"]


def test_the_thing_stays_as_it_is():
    for thing, inputs in [
        (h.Affine(), (ROWS,)),
        (m.GRU(3, 2, rng=0), (SEQUENCES,)),
        (things.Momentum([m.Parameter(np.ones(3))], 0.1), ()),
    ]:
        parameters = thing.parameters if not callable(thing.parameters) else thing.parameters()
        for parameter in parameters:
            parameter.grad += 2
        before = [(p.value.copy(), p.grad.copy()) for p in parameters]
        attributes = set(vars(thing))
        check_layer(thing, *inputs)
        assert set(vars(thing)) == attributes
        for (value, grad), parameter in zip(before, parameters, strict=True):
            np.testing.assert_array_equal(parameter.value, value)
            np.testing.assert_array_equal(parameter.grad, grad)


def test_wrong_calls_of_the_check():
    with pytest.raises(TypeError, match="got no input"):
        check_layer(h.Affine())
    with pytest.raises(TypeError, match=r"takes one step x_t of shape \(batch, input_size\)"):
        check_layer(h.TanhCell(), SEQUENCES)
    with pytest.raises(TypeError, match="the prediction and the target"):
        check_layer(h.HalfSquares(), PREDICTION)
    with pytest.raises(TypeError, match=r"a class: write Affine\(\.\.\.\)"):
        check_layer(h.Affine, ROWS)
    with pytest.raises(TypeError, match="takes a layer, cell, loss"):
        check_layer(3)


def test_a_metric_of_a_lambda_breaks_nothing():
    metric = m.FunctionMetric(lambda p, t: abs(p - t).mean(), name="gap", higher_is_better=False)
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert check_layer(metric, x, x + 1).passed


@pytest.mark.parametrize(
    "layer",
    [
        m.LSTM(3, 2, rng=0),
        m.Sequential([m.GRU(3, 2, rng=0)]),
        m.Dense(2, 3, rng=0),
        m.GRUCell(4, 2),
    ],
)
def test_what_the_layer_says_of_an_input_that_it_does_not_take(layer):
    report = check_layer(layer, ROWS, raises=False)
    assert "should be" in report.violations[0].text
    assert "in shape (2," in report.violations[0].text
    assert report.kept == ()


def test_an_error_of_the_layer_itself_is_a_broken_contract():
    report = check_layer(h.Affine(4, 2), ROWS, raises=False)
    assert "Affine.forward, in `self.y = np.tanh(" in report.violations[0].text
