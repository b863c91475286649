"""The equations of the cells, one step after the other, and derivatives by a complex step.

``f(x + i e).imag / e`` is the derivative to the last digit, since nothing is subtracted; so the
kernels' gradients can be held to 1e-12 without a second derivation by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from minirnn.kernels.gru import gru_backward, gru_forward, gru_step
from minirnn.kernels.lstm import lstm_backward, lstm_forward, lstm_step
from minirnn.kernels.rnn import rnn_backward, rnn_forward, rnn_step


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def relu(a):
    return np.where(a.real > 0, a, 0)


def rnn(activation, x, state, Wx, Wh, b):
    h = activation(x @ Wx + state[0] @ Wh + b)
    return (h,)


def lstm(x, state, Wx, Wh, b):
    h, c = state
    a_i, a_f, a_o, a_g = np.split(x @ Wx + h @ Wh + b, 4, axis=1)
    c = sigmoid(a_f) * c + sigmoid(a_i) * np.tanh(a_g)
    return sigmoid(a_o) * np.tanh(c), c


def gru(x, state, Wx, Wh, b, bn=None):
    (h,) = state
    x_r, x_z, x_n = np.split(x @ Wx + b, 3, axis=1)
    W_r, W_z, W_n = np.split(Wh, 3, axis=1)
    r, z = sigmoid(x_r + h @ W_r), sigmoid(x_z + h @ W_z)
    inner = (r * h) @ W_n if bn is None else r * (h @ W_n + bn)
    n = np.tanh(x_n + inner)
    return ((1 - z) * n + z * h,)


class Kind(NamedTuple):
    """A cell, its kernels (which take bn as a keyword), and the sizes of its arrays."""

    cell: Callable
    forward: Callable
    backward: Callable
    step: Callable
    gates: int
    states: int = 1
    has_bn: bool = False

    def kernel(self, function, x, state, weights, *rest, **keywords):
        if self.has_bn:
            keywords["bn"] = weights[3]
        return function(x, state, *weights[:3], *rest, **keywords)


KINDS = {
    "rnn tanh": Kind(partial(rnn, np.tanh), rnn_forward, rnn_backward, rnn_step, 1),
    "lstm": Kind(lstm, lstm_forward, lstm_backward, lstm_step, 4, states=2),
    "gru": Kind(gru, gru_forward, gru_backward, gru_step, 3, has_bn=True),
    "gru, reset before": Kind(gru, gru_forward, gru_backward, gru_step, 3),
}
for _name, _activation in [("relu", relu), ("sigmoid", sigmoid)]:
    KINDS[f"rnn {_name}"] = Kind(
        partial(rnn, _activation),
        partial(rnn_forward, activation=_name),
        rnn_backward,
        partial(rnn_step, activation=_name),
        1,
    )


class Problem(NamedTuple):
    """Everything that one forward and backward call takes."""

    x: np.ndarray
    state: tuple
    weights: tuple
    mask: np.ndarray | None
    grad_y: np.ndarray
    grad_state: tuple | None


def make_problem(kind, batch, time, inputs, hidden, *, mask=None, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    columns = kind.gates * hidden
    weights = draw(inputs, columns), draw(hidden, columns), draw(columns)
    if kind.has_bn:
        weights += (draw(hidden),)
    states = [tuple(draw(batch, hidden) for _ in range(kind.states)) for _ in range(2)]
    x, grad_y = draw(batch, time, inputs), draw(batch, time, hidden)
    return Problem(x, states[0], weights, mask, grad_y, states[1])


def run_loop(kind, problem):
    """Outputs (batch, time, hidden) and final state, by the plain loop."""
    x, state, weights, mask, grad_y, _ = problem
    y = np.zeros(grad_y.shape, np.result_type(x, *state, *weights))
    for t in range(x.shape[1]):
        new = kind.cell(x[:, t], state, *weights)
        real = np.ones((len(x), 1), bool) if mask is None else mask[:, t, np.newaxis]
        state = tuple(np.where(real, a, b) for a, b in zip(new, state, strict=True))
        y[:, t] = np.where(real, state[0], 0)
    return y, state


def loop_gradients(kind, problem):
    """Gradients of x, of the state and of the weights, number by number."""
    complex_problem = problem._replace(
        x=problem.x.astype(complex),
        state=tuple(s.astype(complex) for s in problem.state),
        weights=tuple(w.astype(complex) for w in problem.weights),
    )

    def objective():
        y, state = run_loop(kind, complex_problem)
        real = True if problem.mask is None else problem.mask[:, :, np.newaxis]
        total = np.sum(y * np.where(real, problem.grad_y, 0))
        if problem.grad_state is not None:
            total += sum(np.sum(s * g) for s, g in zip(state, problem.grad_state, strict=True))
        return total

    def gradient(array):
        result = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            before = array[index]
            array[index] += 1e-30j
            result[index] = objective().imag / 1e-30
            array[index] = before
        return result

    return (
        gradient(complex_problem.x),
        tuple(map(gradient, complex_problem.state)),
        tuple(map(gradient, complex_problem.weights)),
    )


def run_kernel(kind, problem, *, workspace=None, **keywords):
    """Outputs, final state, and (grad_x, grad_state, grad_weights) of the kernel."""
    y, state, cache = kind.kernel(
        kind.forward, problem.x, problem.state, problem.weights, problem.mask, workspace=workspace
    )
    grads = tuple(np.zeros_like(w) for w in problem.weights)
    grad_x, grad_state = kind.backward(problem.grad_y, problem.grad_state, cache, grads, **keywords)
    return y, state, (grad_x, grad_state, grads)
