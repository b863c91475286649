"""LSTM over whole sequences.

With ``a_t = x_t Wx + h_{t-1} Wh + b``, cut into the gates i, f, o, g::

    i, f, o = sigmoid(a_i, a_f, a_o)      g = tanh(a_g)
    c_t = f * c_{t-1} + i * g             h_t = o * tanh(c_t)

The arrays of one step stand in six planes ``(batch, hidden)``, one after the other, in the order
``i, f, o, g, c_{t-1}, tanh(c_t)``. So ``(i, f) * (g, c)`` is one call, and in the derivatives
``(i, f, o) * (g, c, tanh c)`` is one too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn.kernels.layout import (
    Cache,
    batch_major,
    fill_inputs,
    groups,
    hidden_states,
    real_steps,
)
from minirnn.kernels.lstm_back import Planes, lstm_backward
from minirnn.kernels.products import HALF, Product, pack_weights, step_product
from minirnn.kernels.workspace import Workspace
from minirnn.typing import Array, Mask, State

__all__ = ["lstm_backward", "lstm_forward", "lstm_step"]


def lstm_forward(
    x: Array,
    state: State,
    Wx: Array,
    Wh: Array,
    b: Array,
    mask: Mask | None = None,
    *,
    keep: bool = True,
    workspace: Workspace | None = None,
) -> tuple[Array, State, Cache | None]:
    """Run the LSTM over a batch of sequences.

    Parameters
    ----------
    x : ``(batch, time, input)``, of any strides
    state : ``(h, c)`` before the first step, each ``(batch, hidden)``
    Wx, Wh, b : ``(input, 4*hidden)``, ``(hidden, 4*hidden)``, ``(4*hidden,)``, gates i, f, o, g
    mask : None or ``(batch, time)``, True where the step is real
    keep : whether backward will be called; without it the steps leave nothing behind
    workspace : memory of earlier calls of the same layer

    Returns
    -------
    y : ``(batch, time, hidden)``, the hidden state after each step, zero where it is masked
    state : ``(h, c)`` after the last step
    cache : for `lstm_backward`, valid until the next call with this workspace; None without keep
    """
    workspace = workspace or Workspace()
    workspace.generation += keep  # from here on the cache of the call before is spoilt
    batch, time, _ = x.shape
    steps = real_steps(mask, time)
    plan = workspace.plan(
        "train" if keep else "infer", _plan, steps.total, batch, *Wx.shape, Wx.dtype
    )
    fill_inputs(plan.xh, x, state[0], steps)
    plan.gates[0, 4] = state[1]
    pack_weights(plan.W, Wx, b, Wh, plan.scale)
    run_on = keep  # without, only the latest c is there: it has to be held
    _run(plan, steps.held(run_on))
    h, c = plan.xh[:, :, -len(Wh) :], plan.gates[:, 4]
    y = batch_major(h[1:], time, steps)
    final = steps.final(h, run_on), steps.final(c, run_on)
    if not keep:
        return y, final, None
    return y, final, Cache(plan, steps, time, (Wx, Wh), workspace, workspace.generation)


class _Forward(NamedTuple):
    xh: Array  # (time + 1, batch, input + 1 + hidden), rows [x | 1 | h]
    gates: Array  # (time + 1, 6, batch, hidden): planes i, f, o, g, c before, tanh(c after)
    c: list[Array]  # of each step and after the last, (batch, hidden)
    W: Array  # (input + 1 + hidden, 4*hidden), the sigmoid gates halved
    scale: Array  # (4*hidden,), which halves them
    multiply: Product
    weights: Array
    views: list[tuple[Array, ...]]
    history: list[Planes]  # the same gates, a group of steps each, as backward reads them
    products: Array  # (2, batch, hidden): i * g and f * c


def _plan(
    workspace: Workspace, name: str, time: int, batch: int, inputs: int, columns: int, dtype: Any
) -> _Forward:
    hidden = columns // 4
    rows = inputs + 1 + hidden
    history = time + 1 if name == "train" else 1  # without backward all steps share one slot
    xh = workspace.array(f"{name} xh", (time + 1, batch, rows), dtype)
    xh[:, :, inputs] = 1
    gates = workspace.array(f"{name} gates", (history, 6, batch, hidden), dtype)
    W = workspace.array(f"{name} W", (rows, 4 * hidden), dtype)
    scale = np.repeat(np.array([0.5, 0.5, 0.5, 1], dtype), hidden)
    multiply, weights, view = step_product(W, batch, hidden)
    h = hidden_states(xh, workspace.array(f"{name} h", (batch, hidden), dtype))
    slots = [gates[t % history] for t in range(time + 1)]
    views: list[tuple[Array, ...]] = [
        (xh[t], view(z[:4]), z[:4], z[:3], z[:2], z[3:5], z[2], z[4], z[5], *h[t])
        for t, z in enumerate(slots[:time])
    ]
    products = workspace.array(f"{name} products", (2, batch, hidden), dtype)
    c = [z[4] for z in slots]
    runs = groups(time, batch) if name == "train" else []
    past = [
        Planes(run, z[:, :3], z[:, 3:], z[:, 0:3:2], z[:, 3::2], list(z[:, 1]))
        for run, z in ((run, gates[run]) for run in runs)
    ]
    return _Forward(xh, gates, c, W, scale, multiply, weights, views, past, products)


def _run(plan: _Forward, holes: list[Mask | None]) -> None:
    multiply, weights, products = plan.multiply, plan.weights, plan.products
    half = HALF[products.dtype]
    ig, fc = products
    c_after = plan.c[1:]
    for (xh, out, a, ifo, i_f, g_c, o, c, tanh_c, before, h, h_next), c_next, hole in zip(
        plan.views, c_after, holes, strict=True
    ):
        multiply(xh, weights, out)
        np.tanh(a, a)
        np.multiply(ifo, half, ifo)
        np.add(ifo, half, ifo)  # i, f, o, g
        np.multiply(i_f, g_c, products)
        if hole is not None:
            np.copyto(fc, c, where=hole)
            np.copyto(ig, 0, where=hole)
        np.add(ig, fc, c_next)
        np.tanh(c_next, tanh_c)
        np.multiply(o, tanh_c, h)
        if hole is not None:
            np.copyto(h, before, where=hole)
        if h is not h_next:
            h_next[...] = h


def lstm_step(x: Array, state: State, Wx: Array, Wh: Array, b: Array) -> tuple[Array, State]:
    """One step of the LSTM, for streaming.

    Parameters
    ----------
    x : ``(batch, input)``
    state : ``(h, c)``, each ``(batch, hidden)``
    Wx, Wh, b : as for `lstm_forward`

    Returns
    -------
    y : ``(batch, hidden)``, the next h
    state : the next ``(h, c)``
    """
    (h, c), hidden, half = state, len(Wh), HALF[b.dtype]
    if len(x) == 1:  # as vectors, with nothing to broadcast, each call takes half the time
        x, h, c = x[0], h[0], c[0]
    a = x.dot(Wx)
    np.add(a, h.dot(Wh), a)
    np.add(a, b, a)
    a, c = a.T, c.T  # features first, of one sequence or of many
    ifo = a[: 3 * hidden]
    np.multiply(ifo, half, ifo)
    np.tanh(a, a)
    np.multiply(ifo, half, ifo)
    np.add(ifo, half, ifo)
    i, f, o, g = a[:hidden], a[hidden : 2 * hidden], ifo[2 * hidden :], a[3 * hidden :]
    c = f * c
    np.add(c, np.multiply(i, g, g), c)
    h = np.tanh(c)
    np.multiply(h, o, h)
    h, c = h.T.reshape(-1, hidden), c.T.reshape(-1, hidden)
    return h, (h, c)
