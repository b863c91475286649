"""GRU over whole sequences, in both variants.

::

    r, z = sigmoid(x Wx + h Wh + b)                        reset and update gate
    n = tanh(x Wx + b + r * (h Wh + bn))                   reset after the product (cuDNN, PyTorch)
    n = tanh(x Wx + b + (r * h) Wh)                        reset before it (Cho et al. 2014)
    h' = (1 - z) * n + z * h  =  n + z * (h - n)

each product with the columns of its gate. The input's part of n stands alone, so it is one large
product for all steps. What the recurrent weights of n multiply or give is called ``inner``: the
product ``h Wh + bn`` in the first variant, ``r * h`` in the second.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn.kernels.gru_back import Past, gru_backward
from minirnn.kernels.layout import (
    Cache,
    batch_major,
    fill_inputs,
    groups,
    hidden_states,
    real_steps,
)
from minirnn.kernels.products import HALF, Product, pack_weights, step_product
from minirnn.kernels.workspace import Workspace
from minirnn.typing import Array, Mask, State

__all__ = ["gru_backward", "gru_forward", "gru_step"]


def gru_forward(
    x: Array,
    state: State,
    Wx: Array,
    Wh: Array,
    b: Array,
    mask: Mask | None = None,
    *,
    bn: Array | None = None,
    keep: bool = True,
    workspace: Workspace | None = None,
) -> tuple[Array, State, Cache | None]:
    """Run the GRU over a batch of sequences.

    Parameters
    ----------
    x : ``(batch, time, input)``, of any strides
    state : ``(h,)`` before the first step, ``(batch, hidden)``
    Wx, Wh, b : ``(input, 3*hidden)``, ``(hidden, 3*hidden)``, ``(3*hidden,)``, gates r, z, n
    mask : None or ``(batch, time)``, True where the step is real
    bn : ``(hidden,)``, recurrent bias of the candidate: the variant that resets after the
        product. None: the one that resets before it
    keep : whether backward will be called
    workspace : memory of earlier calls of the same layer

    Returns
    -------
    y : ``(batch, time, hidden)``, the hidden state after each step, zero where it is masked
    state : ``(h,)`` after the last step
    cache : for `gru_backward`, valid until the next call with this workspace; None without keep
    """
    workspace = workspace or Workspace()
    workspace.generation += keep  # from here on the cache of the call before is spoilt
    batch, time, inputs = x.shape
    hidden = len(Wh)
    steps = real_steps(mask, time)
    plan = workspace.plan(
        "train" if keep else "infer",
        _plan,
        steps.total,
        batch,
        inputs,
        hidden,
        bn is not None,
        Wx.dtype,
    )
    fill_inputs(plan.xh, x, state[0], steps)
    plan.running[...] = state[0]
    pack_weights(plan.W, Wx[:, : 2 * hidden], b[: 2 * hidden], Wh[:, : 2 * hidden], HALF[Wx.dtype])
    plan.W_inner[-hidden:] = Wh[:, 2 * hidden :]
    if bn is not None:
        plan.W_inner[0] = bn
    plan.W_n[:-1], plan.W_n[-1] = Wx[:, 2 * hidden :], b[2 * hidden :]
    x_one = plan.xh[:-1, :, : inputs + 1].reshape(-1, inputs + 1)
    x_one.dot(plan.W_n, plan.n.reshape(-1, hidden))
    _run(plan, steps.held(run_on=True), reset_after=bn is not None)
    h = plan.xh[:, :, -hidden:]
    y = batch_major(h[1:], time, steps)
    final = steps.final(h, run_on=True)
    if not keep:
        return y, (final,), None
    cache = Cache(plan, steps, time, (Wx, Wh), workspace, workspace.generation, bn is not None)
    return y, (final,), cache


class _Forward(NamedTuple):
    xh: Array  # (time + 1, batch, input + 1 + hidden), rows [x | 1 | h]
    gates: Array  # (time, 2, batch, hidden): r, z
    inner: Array  # (time, batch, hidden)
    n: Array  # (time, batch, hidden); at first x Wx + b
    W: Array  # (input + 1 + hidden, 2*hidden), of r and z, halved
    W_inner: Array  # ([1 +] hidden, hidden), of n
    W_n: Array  # (input + 1, hidden), of n
    multiply: Product
    weights: Array
    multiply_inner: Product
    weights_inner: Array
    scratch: Array
    running: Array  # (batch, hidden), the state of the step
    views: list[tuple[Array, ...]]
    history: list[Past]  # the same arrays, a group of steps each, as backward reads them


def _plan(
    workspace: Workspace,
    name: str,
    time: int,
    batch: int,
    inputs: int,
    hidden: int,
    reset_after: bool,
    dtype: Any,
) -> _Forward:
    rows = inputs + 1 + hidden
    history = time if name == "train" else min(time, 1)  # without backward steps share one slot
    xh = workspace.array(f"{name} xh", (time + 1, batch, rows), dtype)
    xh[:, :, inputs] = 1
    gates = workspace.array(f"{name} gates", (history, 2, batch, hidden), dtype)
    inner = workspace.array(f"{name} inner", (history, batch, hidden), dtype)
    n = workspace.array(f"{name} n", (time, batch, hidden), dtype)
    scratch = workspace.array(f"{name} scratch", (batch, hidden), dtype)
    W = workspace.array(f"{name} W", (rows, 2 * hidden), dtype)
    W_inner = workspace.array(f"{name} W inner", (hidden + reset_after, hidden), dtype)
    W_n = workspace.array(f"{name} W n", (inputs + 1, hidden), dtype)
    multiply, weights, view = step_product(W, batch, hidden)
    multiply_inner, weights_inner, view_inner = step_product(W_inner, batch, hidden)
    running = workspace.array(f"{name} h", (batch, hidden), dtype)
    h = hidden_states(xh, running)
    views: list[tuple[Array, ...]] = []
    for t in range(time):
        rz, m = gates[t % history], inner[t % history]
        operand, out = (xh[t, :, inputs:], m) if reset_after else (m, scratch)
        out = view_inner(out[np.newaxis])
        now = h[t][0] if batch == 1 else running
        views.append((xh[t], view(rz), rz, *rz, operand, out, m, n[t], now, *h[t]))
    runs = groups(time, batch) if name == "train" else []
    before = xh[:, :, inputs + 1 :]
    past = [
        Past(run, gates[run], inner[run], n[run], before[run], [(r, z) for r, z in gates[run]])
        for run in runs
    ]
    return _Forward(
        xh, gates, inner, n, W, W_inner, W_n, multiply, weights, multiply_inner, weights_inner,
        scratch, running, views, past,
    )  # fmt: skip


def _run(plan: _Forward, holes: list[Mask | None], reset_after: bool) -> None:
    multiply, weights, scratch = plan.multiply, plan.weights, plan.scratch
    multiply_inner, weights_inner = plan.multiply_inner, plan.weights_inner
    half = HALF[scratch.dtype]
    for (xh, out, rz, r, z, operand, out_inner, inner, n, h, before, next_, place), hole in zip(
        plan.views, holes, strict=True
    ):
        multiply(xh, weights, out)
        np.tanh(rz, rz)
        np.multiply(rz, half, rz)
        np.add(rz, half, rz)
        if reset_after:
            multiply_inner(operand, weights_inner, out_inner)  # [1 | h] @ [bn; Wh]
            np.multiply(r, inner, scratch)
        else:
            np.multiply(r, h, inner)
            multiply_inner(operand, weights_inner, out_inner)
        np.add(n, scratch, n)
        np.tanh(n, n)
        np.subtract(h, n, next_)
        np.multiply(next_, z, next_)
        np.add(n, next_, next_)
        if hole is not None:
            np.copyto(next_, before, where=hole)
        if next_ is not place:
            place[...] = next_


def gru_step(
    x: Array, state: State, Wx: Array, Wh: Array, b: Array, *, bn: Array | None = None
) -> tuple[Array, State]:
    """One step of the GRU, for streaming.

    Parameters
    ----------
    x : ``(batch, input)``
    state : ``(h,)``, ``(batch, hidden)``
    Wx, Wh, b, bn : as for `gru_forward`

    Returns
    -------
    y : ``(batch, hidden)``, the next h
    state : the next ``(h,)``
    """
    (h,), hidden, half = state, len(Wh), HALF[b.dtype]
    gates = 2 * hidden
    if len(x) == 1:  # as vectors, with nothing to broadcast, each call takes half the time
        x, h = x[0], h[0]
    a = x.dot(Wx)
    np.add(a, b, a)
    if bn is None:
        ah = h.dot(Wh[:, :gates])
    else:
        ah = h.dot(Wh)
        inner = ah.T[gates:]
    a, h = a.T, h.T  # features first, of one sequence or of many
    rz, n = a[:gates], a[gates:]
    np.add(rz, ah.T[:gates], rz)
    np.multiply(rz, half, rz)
    np.tanh(rz, rz)
    np.multiply(rz, half, rz)
    np.add(rz, half, rz)
    r, z = rz[:hidden], rz[hidden:]
    if bn is None:
        inner = (r * h).T.dot(Wh[:, gates:]).T
    else:
        np.add(inner.T, bn, inner.T)
        np.multiply(inner, r, inner)
    np.add(n, inner, n)
    np.tanh(n, n)
    h = h - n
    np.multiply(h, z, h)
    np.add(h, n, h)
    h = h.T.reshape(-1, hidden)
    return h, (h,)
