"""Cells of random array code, to hold the engine to the loop.

Their backward is no derivative of their forward: it is other random code, that gives zero where the
gradients that it is given are zero, as any derivative does.
"""

from itertools import pairwise

import numpy as np

from minirnn import Cell, Parameter

UNARY = ("tanh", "sigmoid", "sin", "cos", "abs", "neg", "square", "rest", "exp", "sqrt", "log1p",
         "relu", "clip", "norm", "softmax", "centre", "sign", "arctan",
         "expm1", "power")  # fmt: skip
BINARY = ("add", "sub", "mul", "div", "max", "min", "where", "lerp", "fused", "power")


def unary(name, a):
    if name == "sigmoid":
        return 0.5 + 0.5 * np.tanh(0.5 * a)
    if name == "square":
        return a**2
    if name == "rest":
        return 1 - a
    if name == "exp":
        return 1 / (1 + np.exp(-a))
    if name == "sqrt":
        return np.sqrt(1 + a * a)
    if name == "log1p":
        return np.log1p(np.abs(a))
    if name == "relu":
        return a * (a > 0)
    if name == "clip":
        return np.clip(a, -0.5, 1.5)
    if name == "norm":
        return a / np.sqrt(1 + (a**2).mean(axis=1, keepdims=True))
    if name == "softmax":
        e = np.exp(a - a.max(axis=-1, keepdims=True))
        return e / e.sum(axis=1)[:, None]
    if name == "centre":
        return a - np.mean(a, axis=1, keepdims=True)
    if name == "expm1":
        return np.expm1(np.minimum(a, 1))
    if name == "power":
        return np.abs(a) ** 1.5
    if name == "neg":
        return -a
    return getattr(np, name)(a)


def binary(name, a, b, c):
    if name == "div":
        return a / (1 + b**2)
    if name == "max":
        return np.maximum(a, b)
    if name == "min":
        return np.minimum(a, b)
    if name == "where":
        return np.where(np.logical_and(a > b, ~(c < 0)), a, 0.3 * c)
    if name == "lerp":
        return (1 - a) * b + a * c
    if name == "fused":
        return c - a * b
    if name == "power":
        return np.abs(a) ** np.tanh(b)
    return {"add": a + b, "sub": a - b, "mul": a * b}[name]


class RandomCell(Cell):
    """Array code drawn from a seed: the same at every call."""

    def __init__(self, seed, dtype=np.float64):
        rng = np.random.default_rng(seed)
        size = lambda: int(rng.choice([1, 2, 3, 5, 8, 16, 17, 33]))  # noqa: E731
        self.input_size, self.hidden_size, self.output_size = size(), size(), size()
        self.widths = [self.hidden_size] + [size() for _ in range(rng.integers(0, 3))]
        self.seed, self.dtype = seed, np.dtype(dtype)
        self.length = int(rng.integers(3, 12))
        inside = self.input_size + sum(self.widths)
        draw = lambda *shape: Parameter(0.4 * rng.standard_normal(shape).astype(dtype))  # noqa: E731
        self.W, self.V, self.U = draw(inside, 12), draw(12, 12), draw(24, 12)
        self.b, self.s, self.one = draw(12), draw(1, 12), draw()
        self.out = draw(12, self.output_size)
        self.next = [draw(12, n) for n in self.widths]
        self.fixed = rng.standard_normal((12, 12)).astype(dtype)

    def initial_state(self, batch_size):
        return tuple(np.zeros((batch_size, n), self.dtype) for n in self.widths)

    def forward(self, x, state):
        rng = np.random.default_rng(self.seed + 1)
        pool = [np.tanh(np.concatenate([x, *state], axis=1) @ self.W.value + self.b.value)]
        for _ in range(self.length):
            pool.append(self.operation(rng, pool))
        pick = lambda: pool[rng.integers(len(pool))]  # noqa: E731
        y = pick() @ self.out.value
        if self.output_size == self.widths[0] and rng.random() < 0.7:
            new = [y, *[np.tanh(pick() @ W.value) for W in self.next[1:]]]
        else:
            new = [0.5 * s + np.tanh(pick() @ W.value)
                   for s, W in zip(state, self.next, strict=True)]  # fmt: skip
        if rng.random() < 0.2:
            new[0] = state[0]
        return y, tuple(new), (x, state, pool, new)

    def operation(self, rng, pool):
        a, b, c = (pool[rng.integers(len(pool))] for _ in range(3))
        kind = rng.random()
        if kind < 0.35:
            return np.tanh(unary(rng.choice(UNARY), a))
        if kind < 0.6:
            return np.tanh(binary(rng.choice(BINARY), a, b, c))
        if kind < 0.7:
            return np.tanh(a @ self.V.value + b)
        if kind < 0.75:
            return np.tanh(b @ self.V.value.T + a @ self.fixed + self.s.value)
        if kind < 0.8:
            return np.tanh(np.hstack([a, b]) @ self.U.value) * self.one.value
        if kind < 0.85:
            return np.concatenate([b[:, 6:], a[:, :6]], axis=1)
        if kind < 0.9:
            left, right = np.split(np.tanh(np.concatenate([a, b], axis=1)), 2, axis=1)
            return left * right
        if kind < 0.95:
            d = np.ones_like(a)
            d *= a
            d -= 0.5
            return d
        return np.einsum("bi,ij->bj", a, self.V.value[:, :12]) * 0.2

    def backward(self, grad_y, grad_state, cache):
        x, state, pool, new = cache
        rng = np.random.default_rng(self.seed + 2)
        grads = [grad_y @ self.out.value.T]
        grads += [g @ W.value.T for g, W in zip(grad_state, self.next, strict=True)]
        for _ in range(self.length):
            g, h = (grads[rng.integers(len(grads))] for _ in range(2))
            a = pool[rng.integers(len(pool))]
            kind = rng.integers(7)
            if kind == 0:
                grads.append(g * (1 - a**2))
            elif kind == 1:
                grads.append(0.5 * g + h * a * (1 - a))
            elif kind == 2:
                grads.append(np.where(a > 0, g, 0.1 * h))
            elif kind == 3:
                grads.append((g * a) @ self.V.value.T)
            elif kind == 4:
                grads.append(g - (g * a).mean(axis=1, keepdims=True) * a)
            elif kind == 5:
                grads.append(np.concatenate([g[:, :5], h[:, 5:]], axis=1))
            else:
                grads.append(g * new[0].sum(axis=1, keepdims=True) * 0.1)
        pick = lambda: grads[rng.integers(len(grads))]  # noqa: E731
        n = self.input_size
        d = pick()
        self.W.grad[:n] += x.T @ d
        at = n
        for s in state:
            self.W.grad[at : at + s.shape[1]] += s.T @ d
            at += s.shape[1]
        self.V.grad += 2 * pool[-1].T @ pick() - (pool[0] * pick()).T @ pool[-1]
        self.V.grad[:, 3:7] += pool[0].T @ pick()[:, 3:7]
        self.U.grad += np.concatenate([pool[0], pool[-1]], axis=1).T @ pick()
        self.b.grad += pick().sum(axis=0)
        self.b.grad[2:5] -= (pick() * pool[-1])[:, 2:5].sum(axis=0)
        self.s.grad += pick().sum(axis=0, keepdims=True)
        self.one.grad += (pick() * pool[-1]).sum()
        rows = len(grad_y) if self.seed % 2 else 4  # who looks at the batch size is read twice
        self.out.grad += pool[-1].T @ grad_y / rows
        for W, g in zip(self.next, grad_state, strict=True):
            W.grad = W.grad + pool[0].T @ g
        back = pick() @ self.W.value.T
        edges = np.cumsum([n, *self.widths])
        parts = [back[:, low:high] for low, high in pairwise(edges)]
        return back[:, :n], tuple(g + p for g, p in zip(grad_state, parts, strict=True))
