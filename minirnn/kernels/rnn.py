"""The plain recurrent network (Elman 1990) over whole sequences.

::

    h_t = activation(x_t Wx + h_{t-1} Wh + b)      activation: tanh, relu or sigmoid

Each activation has a derivative in terms of its own result, so the hidden states are all that
backward needs.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from minirnn.functions import sigmoid
from minirnn.kernels.layout import (
    Cache,
    batch_major,
    empty_batch,
    fill_inputs,
    gradient_rows,
    groups,
    hidden_states,
    real_steps,
    time_major,
    valid,
)
from minirnn.kernels.products import (
    HALF,
    ONE,
    Product,
    ProductSum,
    add_weight_gradients,
    input_gradient,
    pack_weights,
    step_product,
    transposed,
)
from minirnn.kernels.workspace import Workspace
from minirnn.typing import Array, Mask, State

__all__ = ["rnn_backward", "rnn_forward", "rnn_step"]

Activation: TypeAlias = Literal["tanh", "relu", "sigmoid"]


def rnn_forward(
    x: Array,
    state: State,
    Wx: Array,
    Wh: Array,
    b: Array,
    mask: Mask | None = None,
    *,
    activation: Activation = "tanh",
    keep: bool = True,
    workspace: Workspace | None = None,
) -> tuple[Array, State, Cache | None]:
    """Run the recurrent network over a batch of sequences.

    Parameters
    ----------
    x : ``(batch, time, input)``, of any strides
    state : ``(h,)`` before the first step, ``(batch, hidden)``
    Wx, Wh, b : ``(input, hidden)``, ``(hidden, hidden)``, ``(hidden,)``
    mask : None or ``(batch, time)``, True where the step is real
    activation : "tanh", "relu" or "sigmoid"
    keep : whether backward will be called
    workspace : memory of earlier calls of the same layer

    Returns
    -------
    y : ``(batch, time, hidden)``, the hidden state after each step, zero where it is masked
    state : ``(h,)`` after the last step
    cache : for `rnn_backward`, valid until the next call with this workspace; None without keep
    """
    workspace = workspace or Workspace()
    workspace.generation += keep  # from here on the cache of the call before is spoilt
    batch, time, _ = x.shape
    steps = real_steps(mask, time)
    plan = workspace.plan(
        "train" if keep else "infer", _plan, steps.total, batch, *Wx.shape, Wx.dtype
    )
    fill_inputs(plan.xh, x, state[0], steps)
    scale = HALF if activation == "sigmoid" else ONE
    pack_weights(plan.W, Wx, b, Wh, scale[Wx.dtype])
    run_on = _bounded(activation)
    _run(plan, steps.held(run_on), activation)
    h = plan.xh[:, :, -len(Wh) :]
    y = batch_major(h[1:], time, steps)
    final = steps.final(h, run_on)
    if not keep:
        return y, (final,), None
    cache = Cache(plan, steps, time, (Wx, Wh), workspace, workspace.generation, activation)
    return y, (final,), cache


def _bounded(activation: Activation) -> bool:
    """Whether the state stays small however long it runs on through padding."""
    return activation != "relu"


class _Forward(NamedTuple):
    xh: Array  # (time + 1, batch, input + 1 + hidden), rows [x | 1 | h]
    W: Array  # (input + 1 + hidden, hidden), halved for the sigmoid
    a: Array  # (batch, hidden), what the activation is applied to
    multiply: Product
    weights: Array
    out: Array
    views: list[tuple[Array, Array, Array, Array]]


def _plan(
    workspace: Workspace, name: str, time: int, batch: int, inputs: int, hidden: int, dtype: Any
) -> _Forward:
    rows = inputs + 1 + hidden
    xh = workspace.array(f"{name} xh", (time + 1, batch, rows), dtype)
    xh[:, :, inputs] = 1
    W = workspace.array(f"{name} W", (rows, hidden), dtype)
    a = workspace.array(f"{name} a", (batch, hidden), dtype)
    multiply, weights, view = step_product(W, batch, hidden)
    h = hidden_states(xh, workspace.array(f"{name} h", (batch, hidden), dtype))
    views = [(xh[t], *h[t]) for t in range(time)]
    return _Forward(xh, W, a, multiply, weights, view(a[np.newaxis]), views)


def _run(plan: _Forward, holes: list[Mask | None], activation: Activation) -> None:
    multiply, weights, out, a = plan.multiply, plan.weights, plan.out, plan.a
    half, zero = HALF[a.dtype], np.zeros((), a.dtype)
    for (xh, before, h, h_next), hole in zip(plan.views, holes, strict=True):
        multiply(xh, weights, out)
        if activation == "relu":
            np.maximum(a, zero, out=h)
        elif activation == "tanh":
            np.tanh(a, h)
        else:
            np.tanh(a, a)
            np.multiply(a, half, a)
            np.add(a, half, h)
        if hole is not None:
            np.copyto(h, before, where=hole)
        if h is not h_next:
            h_next[...] = h


def rnn_backward(
    grad_y: Array,
    grad_state: State | None,
    cache: Cache | None,
    grads: tuple[Array, Array, Array],
    *,
    need_grad_x: bool = True,
) -> tuple[Array | None, State]:
    """Run the gradient back through time; may be called twice.

    With ``dh`` the gradient on the state after step t, ``dh += grad_y_t`` and::

        da = dh * activation'(a)          dh = da Wh^T

    Parameters
    ----------
    grad_y : ``(batch, time, hidden)``, of any strides; ignored where the step is masked
    grad_state : gradient on the final ``(h,)``, or None for zeros
    cache : from `rnn_forward`
    grads : gradients of Wx, Wh and b, which are added to
    need_grad_x : whether the gradient on x is wanted

    Returns
    -------
    grad_x : ``(batch, time, input)``, or None
    grad_state : gradient on the initial ``(h,)``

    Raises
    ------
    RuntimeError
        If the cache is None, or overwritten by a later forward call.
    """
    forward, steps, time, (Wx, Wh), workspace, _, activation = valid(cache)
    batch, hidden = forward.a.shape
    runs = groups(steps.total, batch)
    longest = runs[0].stop if runs else 0
    plan = workspace.plan("backward", _plan_backward, longest, batch, len(Wx), hidden, Wx.dtype)
    transposed(workspace, "Wh transposed", [Wh], batch)
    plan.dh[...] = 0 if grad_state is None else grad_state[0]
    grad_x = empty_batch(batch, time, len(Wx), Wx.dtype, steps) if need_grad_x else None
    run_on = grad_state is None and _bounded(activation)
    plan.xh_da.begin()
    for run in reversed(runs):
        part = steps.part(run)
        time_major(grad_y, plan.grad_y[: part.total], part)
        h = forward.xh[run.start + 1 : run.stop + 1, :, -hidden:]
        _local_derivatives(h, plan.factors[: part.total], activation)
        _run_back(plan, part.held(run_on))
        da = plan.da[: part.total]
        plan.xh_da.add(forward.xh[run], da)
        if grad_x is not None:
            input_gradient(workspace, da, Wx, grad_x, part)
    add_weight_gradients(plan.xh_da.total(), grads)
    return grad_x, (plan.dh.copy(),)


class _Backward(NamedTuple):
    """Memory for one group of steps."""

    grad_y: Array  # (steps, batch, hidden)
    da: Array  # (steps, batch, hidden)
    factors: Array  # (steps, batch, hidden): activation'(a)
    xh_da: ProductSum  # sum of xh.T @ da
    dh: Array
    multiply: Product
    weights: Array
    dh_out: Array
    views: list[tuple[Array, Array, Array]]  # per step


def _plan_backward(
    workspace: Workspace, name: str, time: int, batch: int, inputs: int, hidden: int, dtype: Any
) -> _Backward:
    grad_y, da = gradient_rows(workspace, name, time, batch, hidden, hidden, dtype)
    factors = workspace.array(f"{name} factors", (time, batch, hidden), dtype)
    shape = inputs + 1 + hidden, hidden
    xh_da = ProductSum(workspace, f"{name} gradient of W", shape, dtype)
    dh = workspace.array(f"{name} dh", (batch, hidden), dtype)
    WhT = transposed(workspace, "Wh transposed", [np.zeros((hidden, hidden), dtype)], batch)
    multiply, weights, view = step_product(WhT, batch, hidden)
    views = list(zip(factors, grad_y, da, strict=True))
    return _Backward(grad_y, da, factors, xh_da, dh, multiply, weights, view(dh[np.newaxis]), views)


def _run_back(plan: _Backward, holes: list[Mask | None]) -> None:
    multiply, weights, dh, dh_out = plan.multiply, plan.weights, plan.dh, plan.dh_out
    for (F, grad_y, da), hole in zip(plan.views[len(holes) - 1 :: -1], holes[::-1], strict=True):
        if hole is not None:
            np.copyto(F, 0, where=hole)
            passed_on = dh * hole
        np.add(dh, grad_y, dh)  # read before da is written: they share their memory
        np.multiply(dh, F, da)
        multiply(da, weights, dh_out)
        if hole is not None:
            np.add(dh, passed_on, dh)


def _local_derivatives(h: Array, F: Array, activation: Activation) -> None:
    """Fill the factors of a group of steps: 1 - h^2, h (1 - h) or h > 0."""
    if activation == "relu":
        np.greater(h, 0, out=F)
    else:
        np.multiply(h, h, F)
        np.subtract(ONE[F.dtype] if activation == "tanh" else h, F, F)


def rnn_step(
    x: Array, state: State, Wx: Array, Wh: Array, b: Array, *, activation: Activation = "tanh"
) -> tuple[Array, State]:
    """One step of the recurrent network, for streaming.

    Parameters
    ----------
    x : ``(batch, input)``
    state : ``(h,)``, ``(batch, hidden)``
    Wx, Wh, b, activation : as for `rnn_forward`

    Returns
    -------
    y : ``(batch, hidden)``, the next h
    state : the next ``(h,)``
    """
    (h,) = state
    if len(x) == 1:  # as vectors, with nothing to broadcast, each call takes half the time
        x, h = x[0], h[0]
    a = x.dot(Wx)
    np.add(a, h.dot(Wh), a)
    np.add(a, b, a)
    if activation == "relu":
        np.maximum(a, 0, out=a)
    elif activation == "tanh":
        np.tanh(a, a)
    else:
        a = sigmoid(a)
    h = a.reshape(-1, len(Wh))
    return h, (h,)
