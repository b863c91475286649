"""Layers, cells and losses as a user would write them, all right as they stand.

The tests take the source of one, put another line in the place of one, and expect to be told.
"""

import functools
import inspect
import linecache
import sys
import textwrap

import numpy as np

from minirnn import Cell, Layer, Loss, Parameter
from tests.contract.own_cells import SumCell  # noqa: F401 - a host like those below


def draw(seed, *shapes):
    """Return parameters in which no number is special."""
    rng = np.random.default_rng(seed)
    return [Parameter(rng.uniform(-1, 1, shape)) for shape in shapes]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@functools.cache
def source_of(cls):
    return textwrap.dedent(inspect.getsource(cls))


@functools.cache
def mutant(cls, old, new):
    """Return the class with a piece of its source replaced, or several."""
    source = source_of(cls)
    pairs = [(old, new)] if isinstance(old, str) else zip(old, new, strict=True)
    for before, after in pairs:
        assert before in source, f"{before!r} is not in {cls.__name__}"
        source = source.replace(before, after)
    names, file = dict(vars(sys.modules[cls.__module__])), f"<{cls.__name__} with {new!r}>"
    linecache.cache[file] = len(source), None, source.splitlines(True), file
    exec(compile(source, file, "exec"), names)
    return names[cls.__name__]


class Affine(Layer):
    """Dense-like, followed by tanh; on (..., features)."""

    def __init__(self, size=3, width=4, seed=0):
        self.W, self.b = draw(seed, (size, width), (width,))

    def forward(self, x):
        self.x = x
        self.y = np.tanh(x @ self.W.value + self.b.value)
        return self.y

    def backward(self, grad):
        dz = grad * (1 - self.y**2)
        rows, columns = dz.reshape(-1, dz.shape[-1]), self.x.reshape(-1, self.x.shape[-1])
        self.W.grad += columns.T @ rows
        self.b.grad += rows.sum(axis=0)
        return dz @ self.W.value.T


class Linear(Layer):
    """Dense-like, without a non-linearity."""

    def __init__(self, size=3, width=4, seed=1):
        self.W, self.b = draw(seed, (size, width), (width,))

    def forward(self, x):
        self.x = x
        y = x @ self.W.value
        y = y + self.b.value
        return y

    def backward(self, grad):
        self.W.grad += self.x.T @ grad
        self.b.grad += grad.sum(axis=0)
        return grad @ self.W.value.T


class SigmoidLayer(Layer):
    """A non-linearity alone, any shape."""

    def forward(self, x):
        self.y = sigmoid(x)
        return self.y

    def backward(self, grad):
        return grad * self.y * (1 - self.y)


class Rectified(Layer):
    """Dense-like, followed by ReLU."""

    def __init__(self, size=3, width=4, seed=2):
        self.W, self.b = draw(seed, (size, width), (width,))

    def forward(self, x):
        self.x = x
        self.y = np.maximum(x @ self.W.value + self.b.value, 0)
        return self.y

    def backward(self, grad):
        dz = grad * (self.y > 0)
        self.W.grad += self.x.T @ dz
        self.b.grad += dz.sum(axis=0)
        return dz @ self.W.value.T


class Normalised(Layer):
    """Softmax on the last axis, then a gain."""

    def __init__(self, size=4, seed=3):
        (self.gain,) = draw(seed, (size,))

    def forward(self, x):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        self.p = e / e.sum(axis=-1, keepdims=True)
        return self.p * self.gain.value

    def backward(self, grad):
        self.gain.grad += (grad * self.p).reshape(-1, len(self.gain.value)).sum(axis=0)
        g = grad * self.gain.value
        g = self.p * (g - (g * self.p).sum(axis=-1, keepdims=True))
        return g


class Noisy(Layer):
    """Dropout that keeps its generator where the check finds it."""

    def __init__(self, rate=0.5, seed=0):
        self.rate = rate
        self.rng = np.random.default_rng(seed)

    def forward(self, x):
        self.keep = np.ones_like(x)
        if self.training:
            self.keep = (self.rng.random(x.shape) >= self.rate) / (1 - self.rate)
        return x * self.keep

    def backward(self, grad):
        return grad * self.keep


class Lookup(Layer):
    """Embedding-like: tokens (batch, time)."""

    def __init__(self, words=6, width=3, seed=4):
        (self.W,) = draw(seed, (words, width))

    def forward(self, tokens):
        self.tokens = tokens
        return self.W.value[tokens]

    def backward(self, grad):
        np.add.at(self.W.grad, self.tokens, grad)
        return np.zeros(self.tokens.shape)


class Mean(Layer):
    """Mean over the valid steps."""

    uses_mask = True
    keeps_time = False

    def __init__(self, size=3, seed=5):
        (self.gain,) = draw(seed, (size,))

    def forward(self, x, mask=None):
        mask = np.ones(x.shape[:2], bool) if mask is None else mask
        self.share = (mask / mask.sum(axis=1, keepdims=True))[:, :, None].astype(x.dtype)
        self.x = np.where(mask[:, :, None], x, 0)
        return (self.x * self.share).sum(axis=1) * self.gain.value

    def backward(self, grad):
        self.gain.grad += (grad[:, None] * self.x * self.share).sum(axis=(0, 1))
        return (grad * self.gain.value)[:, None] * self.share


class Loop(Layer):
    """A simple recurrent network with a time loop of its own."""

    def __init__(self, size=3, width=4, seed=6):
        self.Wx, self.Wh, self.b = draw(seed, (size, width), (width, width), (width,))

    def forward(self, x):
        self.x = x
        self.h = [np.zeros((len(x), len(self.b.value)))]
        for t in range(x.shape[1]):
            z = x[:, t] @ self.Wx.value + self.h[t] @ self.Wh.value + self.b.value
            self.h.append(np.tanh(z))
        return np.stack(self.h[1:], axis=1)

    def backward(self, grad):
        grad_x, dh_next = np.zeros(self.x.shape), 0
        dWx, dWh, db = 0, 0, 0
        for t in reversed(range(self.x.shape[1])):
            dh = grad[:, t] + dh_next
            dz = dh * (1 - self.h[t + 1] ** 2)
            dWx += self.x[:, t].T @ dz
            dWh += self.h[t].T @ dz
            db += dz.sum(axis=0)
            grad_x[:, t] = dz @ self.Wx.value.T
            dh_next = dz @ self.Wh.value.T
        self.Wx.grad += dWx
        self.Wh.grad += dWh
        self.b.grad += db
        return grad_x


class TanhCell(Cell):
    """The simple recurrent network, one step."""

    def __init__(self, input_size=3, hidden_size=4, seed=7):
        self.input_size, self.hidden_size = input_size, hidden_size
        shapes = (input_size, hidden_size), (hidden_size, hidden_size), (hidden_size,)
        self.Wx, self.Wh, self.b = draw(seed, *shapes)

    def forward(self, x, state):
        (h,) = state
        new = np.tanh(x @ self.Wx.value + h @ self.Wh.value + self.b.value)
        cache = (x, h, new)
        return new, (new,), cache

    def backward(self, grad_y, grad_state, cache):
        x, h, new = cache
        dh = grad_y + grad_state[0]
        dz = dh * (1 - new**2)
        self.Wx.grad += x.T @ dz
        self.Wh.grad += h.T @ dz
        self.b.grad += dz.sum(axis=0)
        grad_x = dz @ self.Wx.value.T
        grad_h = dz @ self.Wh.value.T
        return grad_x, (grad_h,)


class MemoryCell(Cell):
    """LSTM-like: gates i, f, o, g side by side."""

    def __init__(self, input_size=3, hidden_size=4, seed=8):
        self.input_size, self.hidden_size = input_size, hidden_size
        shapes = (input_size, 4 * hidden_size), (hidden_size, 4 * hidden_size), (4 * hidden_size,)
        self.Wx, self.Wh, self.b = draw(seed, *shapes)

    def initial_state(self, batch_size):
        return tuple(np.zeros((batch_size, self.hidden_size)) for _ in range(2))

    def forward(self, x, state):
        h, c = state
        z = x @ self.Wx.value + h @ self.Wh.value + self.b.value
        n = self.hidden_size
        gates = sigmoid(z[:, : 3 * n])
        i, f, o = gates[:, :n], gates[:, n : 2 * n], gates[:, 2 * n :]
        g = np.tanh(z[:, 3 * n :])
        c_new = f * c + i * g
        tanh_c = np.tanh(c_new)
        h_new = o * tanh_c
        return h_new, (h_new, c_new), (x, h, c, i, f, o, g, tanh_c)

    def backward(self, grad_y, grad_state, cache):
        x, h, c, i, f, o, g, tanh_c = cache
        dh = grad_y + grad_state[0]
        dc = grad_state[1] + dh * o * (1 - tanh_c**2)
        di = dc * g * i * (1 - i)
        df = dc * c * f * (1 - f)
        do = dh * tanh_c * o * (1 - o)
        dg = dc * i * (1 - g**2)
        dz = np.concatenate([di, df, do, dg], axis=1)
        self.Wx.grad += x.T @ dz
        self.Wh.grad += h.T @ dz
        self.b.grad += dz.sum(axis=0)
        grad_x = dz @ self.Wx.value.T
        grad_h = dz @ self.Wh.value.T
        grad_c = dc * f
        return grad_x, (grad_h, grad_c)


class HalfSquares(Loss):
    """Sum of squares over the real positions, divided by twice their number."""

    def forward(self, prediction, target, mask=None):
        self.mask = np.ones(prediction.shape[:-1], bool) if mask is None else mask
        self.gap = np.where(self.mask[..., None], prediction - target, 0)
        return float((self.gap**2).sum() / (2 * self.mask.sum()))

    def backward(self):
        return self.gap / self.mask.sum()


class Guess(Loss):
    """Cross-entropy on logits, integer targets."""

    def forward(self, prediction, target, mask=None):
        e = np.exp(prediction - prediction.max(axis=-1, keepdims=True))
        self.p = e / e.sum(axis=-1, keepdims=True)
        self.t = np.eye(prediction.shape[-1])[target]
        self.n = self.p[..., 0].size
        return float(-(self.t * np.log(self.p)).sum() / self.n)

    def backward(self):
        return (self.p - self.t) / self.n


class LayerNorm(Layer):
    """Normalised over the features, with a gain; in all its pieces."""

    def __init__(self, size=5):
        self.gain, self.b = Parameter(np.ones(size)), Parameter(np.zeros(size))

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        self.n = (x - x.mean(axis=-1, keepdims=True)) / self.std
        return self.n * self.gain.value + self.b.value

    def backward(self, grad):
        self.gain.grad += (grad * self.n).sum(axis=0)
        self.b.grad += grad.sum(axis=0)
        g = grad * self.gain.value
        mean = g.mean(axis=-1, keepdims=True)
        along = (g * self.n).sum(axis=-1, keepdims=True) / grad.shape[-1]
        return (g - mean - self.n * along) / self.std


class NormalisedTanh(Layer):
    """Normalised over the features, then tanh: what comes in at the normalisation is not kept."""

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        self.n = (x - x.mean(axis=-1, keepdims=True)) / self.std
        self.y = np.tanh(self.n)
        return self.y

    def backward(self, grad):
        g = grad * (1 - self.y**2)
        mean, along = g.mean(axis=-1, keepdims=True), (g * self.n).mean(axis=-1, keepdims=True)
        return (g - mean - self.n * along) / self.std


class Standardised(Layer):
    """Divided by the standard deviation over the batch, the unbiased one."""

    def forward(self, x):
        self.std = x.std(axis=0, ddof=1)
        self.n = (x - x.mean(axis=0)) / self.std
        return self.n

    def backward(self, grad):
        along = (grad * self.n).sum(axis=0) / (len(grad) - 1)
        return (grad - grad.mean(axis=0) - self.n * along) / self.std


class Gate(Layer):
    """The input through two weights, neither of them square; the one gates the other."""

    def __init__(self, input_size=3, output_size=5, seed=12):
        self.W, self.V = draw(seed, (input_size, output_size), (input_size, output_size))

    def forward(self, x):
        self.x, self.u, self.g = x, x @ self.W.value, np.tanh(x @ self.V.value)
        return self.u * self.g

    def backward(self, grad):
        du, dv = grad * self.g, grad * self.u * (1 - self.g**2)
        self.W.grad += self.x.T @ du
        self.V.grad += self.x.T @ dv
        grad_x = du @ self.W.value.T
        grad_x += dv @ self.V.value.T
        return grad_x


class PeepholeCell(Cell):
    """LSTM whose gates see the memory: i and f the old one, o the new one."""

    def __init__(self, input_size=3, hidden_size=4, seed=9):
        self.input_size, self.hidden_size = input_size, hidden_size
        n = hidden_size
        shapes = (input_size, 4 * n), (n, 4 * n), (4 * n,), (n,), (n,), (n,)
        self.Wx, self.Wh, self.b, self.pi, self.pf, self.po = draw(seed, *shapes)

    def initial_state(self, batch_size):
        return tuple(np.zeros((batch_size, self.hidden_size)) for _ in range(2))

    def forward(self, x, state):
        h, c = state
        z = x @ self.Wx.value + h @ self.Wh.value + self.b.value
        n = self.hidden_size
        zi, zf, zo, zg = z[:, :n], z[:, n : 2 * n], z[:, 2 * n : 3 * n], z[:, 3 * n :]
        i, f = sigmoid(zi + c * self.pi.value), sigmoid(zf + c * self.pf.value)
        g = np.tanh(zg)
        c_new = f * c + i * g
        o = sigmoid(zo + c_new * self.po.value)
        t = np.tanh(c_new)
        return o * t, (o * t, c_new), (x, h, c, i, f, o, g, c_new, t)

    def backward(self, grad_y, grad_state, cache):
        x, h, c, i, f, o, g, c_new, t = cache
        dh = grad_y + grad_state[0]
        dzo = dh * t * o * (1 - o)
        dc = grad_state[1] + dh * o * (1 - t**2) + dzo * self.po.value
        dzi = dc * g * i * (1 - i)
        dzf = dc * c * f * (1 - f)
        dzg = dc * i * (1 - g**2)
        self.pi.grad += (dzi * c).sum(axis=0)
        self.pf.grad += (dzf * c).sum(axis=0)
        self.po.grad += (dzo * c_new).sum(axis=0)
        dz = np.concatenate([dzi, dzf, dzo, dzg], axis=1)
        self.Wx.grad += x.T @ dz
        self.Wh.grad += h.T @ dz
        self.b.grad += dz.sum(axis=0)
        grad_c = dc * f + dzi * self.pi.value + dzf * self.pf.value
        return dz @ self.Wx.value.T, (dz @ self.Wh.value.T, grad_c)


class GatedCell(Cell):
    """GRU-like, with the reset gate after the product: gates z, r, and the candidate n."""

    def __init__(self, input_size=3, hidden_size=4, seed=10):
        self.input_size, self.hidden_size = input_size, hidden_size
        n = hidden_size
        shapes = (input_size, 3 * n), (n, 3 * n), (3 * n,), (n,)
        self.Wx, self.Wh, self.b, self.bn = draw(seed, *shapes)

    def forward(self, x, state):
        (h,) = state
        n = self.hidden_size
        a, u = x @ self.Wx.value + self.b.value, h @ self.Wh.value
        z = sigmoid(a[:, :n] + u[:, :n])
        r = sigmoid(a[:, n : 2 * n] + u[:, n : 2 * n])
        v = u[:, 2 * n :] + self.bn.value
        new = np.tanh(a[:, 2 * n :] + r * v)
        y = (1 - z) * new + z * h
        return y, (y,), (x, h, z, r, v, new)

    def backward(self, grad_y, grad_state, cache):
        x, h, z, r, v, new = cache
        dy = grad_y + grad_state[0]
        dn = dy * (1 - z) * (1 - new**2)
        dz = dy * (h - new) * z * (1 - z)
        dr = dn * v * r * (1 - r)
        dv = dn * r
        da = np.concatenate([dz, dr, dn], axis=1)
        du = np.concatenate([dz, dr, dv], axis=1)
        self.Wx.grad += x.T @ da
        self.b.grad += da.sum(axis=0)
        self.Wh.grad += h.T @ du
        self.bn.grad += dv.sum(axis=0)
        grad_h = du @ self.Wh.value.T + dy * z
        return da @ self.Wx.value.T, (grad_h,)


class MixtureCell(Cell):
    """A softmax over the units decides how much each takes of the new candidate."""

    def __init__(self, input_size=3, hidden_size=4, seed=11):
        self.input_size, self.hidden_size = input_size, hidden_size
        n = hidden_size
        self.Wa, self.Wg, self.ba, self.bg = draw(seed, (input_size, n), (n, n), (n,), (n,))

    def forward(self, x, state):
        (h,) = state
        e = np.exp(x @ self.Wa.value + self.ba.value)
        a = e / e.sum(axis=1, keepdims=True)
        g = np.tanh(h @ self.Wg.value + self.bg.value)
        y = a * g + h
        return y, (y,), (x, h, a, g)

    def backward(self, grad_y, grad_state, cache):
        x, h, a, g = cache
        dy = grad_y + grad_state[0]
        da = dy * g
        dz = a * (da - (da * a).sum(axis=1, keepdims=True))
        dg = dy * a * (1 - g**2)
        self.Wa.grad += x.T @ dz
        self.ba.grad += dz.sum(axis=0)
        self.Wg.grad += h.T @ dg
        self.bg.grad += dg.sum(axis=0)
        return dz @ self.Wa.value.T, (dg @ self.Wg.value.T + dy,)
