"""Where nothing is wrong, the check passes and says nothing."""

import numpy as np
import pytest

import minirnn as m
from tests.gradcheck import hosts as h


class KinkCell(m.Cell):
    """A cell with ReLU, and a state that sits on the kink."""

    def __init__(self):
        self.input_size, self.hidden_size = 3, 4
        self.W, self.U = h.draw(0, (3, 4), (4, 4))

    def forward(self, x, state):
        z = x @ self.W.value + state[0] @ self.U.value
        return np.maximum(z, 0), (np.maximum(z, 0),), (x, state[0], z)

    def backward(self, grad_y, grad_state, cache):
        x, s, z = cache
        dz = (grad_y + grad_state[0]) * (z > 0)
        self.W.grad += x.T @ dz
        self.U.grad += s.T @ dz
        return dz @ self.W.value.T, (dz @ self.U.value.T,)


class BatchNorm(m.Layer):
    """Every row depends on every other; keeps a running mean."""

    def __init__(self, size=3):
        (self.gain,) = h.draw(1, (size,))
        self.mean = np.zeros(size)

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean(axis=0)
        self.s = x.std(axis=0)
        self.n = (x - x.mean(axis=0)) / self.s
        return self.gain.value * self.n

    def backward(self, grad):
        self.gain.grad += (grad * self.n).sum(axis=0)
        g = grad * self.gain.value
        return (g - g.mean(axis=0) - self.n * (g * self.n).mean(axis=0)) / self.s


class Frugal(m.Layer):
    """Writes into scratch arrays of its own, and gives up its cache in backward."""

    def __init__(self):
        (self.w,) = h.draw(2, (3,))
        self.scratch = np.zeros(3)

    def forward(self, x):
        self.kept = [x]
        return x * self.w.value

    def backward(self, grad):
        x = self.kept.pop()
        self.scratch[...] = (grad * x).sum(axis=0)
        self.w.grad += self.scratch
        return grad * self.w.value


class Counter(m.Layer):
    """Carries something from call to call, on purpose."""

    def __init__(self):
        self.level = 1.0

    def forward(self, x):
        self.used = self.level
        self.level = self.level + 1
        return x * self.used

    def backward(self, grad):
        return grad * self.used


class Tied(m.Layer):
    """One weight in two places."""

    def __init__(self):
        self.one = h.Affine(3, 3)
        self.two = h.Affine(3, 3)
        self.two.W = self.one.W

    def forward(self, x):
        return self.two.forward(self.one.forward(x))

    def backward(self, grad):
        return self.one.backward(self.two.backward(grad))


class Identity(m.Layer):
    """Hands on the very array that it got."""

    def forward(self, x):
        return x

    def backward(self, grad):
        return grad


class Scaled(h.Affine):
    """Gradients of a million."""

    def forward(self, x):
        return 1e6 * super().forward(x)

    def backward(self, grad):
        return super().backward(1e6 * grad)


def rows(*shape):
    return np.random.default_rng(3).uniform(-1.5, 1.5, shape or (4, 3))


MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 1, 0, 1]], bool)
PADDED = np.where(MASK[:, :, None], rows(3, 5, 3), np.nan)
ON_KINK = rows()
ON_KINK[0] = 0

SOUND = [
    (h.Affine(), rows(), {}),
    (h.Affine(), rows(2, 4, 3), {}),
    (h.Affine(1, 1), rows(1, 1), {}),
    (h.Linear(), rows(), {}),
    (h.Rectified(), rows(), {}),
    (h.SigmoidLayer(), rows(2, 3, 4), {}),
    (h.Normalised(), rows(5, 4), {}),
    (h.Noisy(), rows(), {}),
    (h.Lookup(), np.array([[0, 2, 2], [5, 5, 0]]), {}),
    (h.Mean(), PADDED, {"mask": MASK}),
    (h.Loop(), rows(3, 5, 3), {}),
    (h.TanhCell(), rows(), {}),
    (h.MemoryCell(), rows(), {}),
    *((cell(), rows(), {}) for cell in (h.PeepholeCell, h.GatedCell, h.MixtureCell, h.SumCell)),
    (m.Recurrent(h.PeepholeCell()), PADDED, {"mask": MASK}),
    (h.LayerNorm(), rows(4, 5), {}),
    (h.Standardised(), rows(6, 3), {}),
    (m.Recurrent(h.TanhCell()), PADDED, {"mask": MASK}),
    (m.Recurrent(h.MemoryCell(), reverse=True), rows(3, 5, 3), {}),
    (m.Recurrent(h.MemoryCell(), stateful=True), rows(3, 5, 3), {}),
    (KinkCell(), ON_KINK, {"state": (np.zeros((4, 4)),)}),
    (m.Recurrent(KinkCell()), rows(3, 5, 3), {}),
    (m.RNNCell(3, 4, activation="relu", rng=0), ON_KINK, {"state": (np.zeros((4, 4)),)}),
    (BatchNorm(), rows(), {}),
    (Frugal(), rows(), {}),
    (Counter(), rows(), {}),
    (Tied(), rows(), {}),
    (Identity(), rows(), {}),
    (Scaled(), rows(), {}),
    (m.Dense(3, 4, rng=0), rows(), {}),
    (m.Dense(3, 4, rng=0), rows().astype(np.float32), {}),
    (m.Dropout(0.5, rng=0), rows(), {}),
    (m.Dropout(0.5, rng=0).eval(), rows(), {}),
    (m.Embedding(7, 3, rng=0), np.array([[0, 2, 2], [6, 6, 0]]), {}),
    (m.ReLU(), ON_KINK, {}),
    (m.Softmax(), rows(), {}),
    (m.LastStep(), PADDED, {"mask": MASK}),
    (m.RNN(3, 4, rng=0), PADDED, {"mask": MASK}),
    (m.LSTM(3, 4, rng=0, stateful=True), rows(3, 5, 3), {}),
    (m.GRU(3, 4, rng=0, reverse=True), PADDED, {"mask": MASK}),
    (m.GRUCell(3, 4, reset_after=False, rng=0), rows(), {}),
    (m.LSTMCell(3, 4, rng=0), rows(1, 3), {}),
    (m.Bidirectional(m.LSTM(3, 2, rng=0), m.GRU(3, 3, rng=1)), PADDED, {"mask": MASK}),
    (
        m.Sequential(
            [m.Dense(3, 4, rng=0), m.Dropout(0.3, rng=1), m.GRU(4, 3, rng=2), m.LastStep()]
        ),
        PADDED,
        {"mask": MASK},
    ),
]
LOSSES = [
    (h.HalfSquares(), rows(3, 5, 2), rows(3, 5, 2), MASK),
    (h.Guess(), rows(3, 4), np.array([0, 3, 1]), None),
    (m.SoftmaxCrossEntropy(), rows(3, 5, 4), np.ones((3, 5), int), MASK),
    (m.CrossEntropy(), m.Softmax().forward(rows(3, 4)), np.array([0, 3, 1]), None),
    (m.SigmoidCrossEntropy(), rows(3, 2), np.ones((3, 2)), None),
    (m.MeanSquaredError(), rows(3, 5, 2), rows(3, 5, 2), MASK),
]


@pytest.mark.parametrize(("layer", "x", "keywords"), SOUND, ids=lambda value: type(value).__name__)
def test_a_sound_layer_passes_in_silence(layer, x, keywords):
    report = m.check_gradients(layer, x, **keywords)
    assert report.passed
    assert report.diagnoses == ()
    assert report.diagnosis is None
    assert all(comparison.diagnosis is None for comparison in report.comparisons)


@pytest.mark.parametrize(("loss", "prediction", "target", "mask"), LOSSES)
def test_a_sound_loss_passes_in_silence(loss, prediction, target, mask):
    report = m.check_gradients(loss, prediction, target, mask=mask)
    assert report.passed
    assert report.diagnoses == ()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 2, 1), (3, 1, 2), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("cell", [h.TanhCell, h.MemoryCell], ids=lambda cell: cell.__name__)
def test_sound_at_every_size_and_seed(cell, sizes, seed):
    size, hidden, batch = sizes
    layer = m.Recurrent(cell(size, hidden, seed))
    x = np.random.default_rng(seed).normal(size=(batch, 3, size))
    assert m.check_gradients(layer, x, rng=seed).diagnoses == ()
