"""The gradient of the LSTM, backwards through time.

With ``dh`` and ``dc`` the gradients on the state after step t, and ``dh += grad_y_t`` first::

    dc += dh * o (1 - tanh(c)^2)
    da_i = dc * g i (1 - i)           da_f = dc * c_{t-1} f (1 - f)
    da_o = dh * tanh(c) o (1 - o)     da_g = dc * i (1 - g^2)
    dc = dc * f                       dh = da Wh^T

The right-hand factors do not depend on the running gradient: they are computed first, for a group
of steps that stays in the cache. Against one step at a time this takes 10 to 25 percent off forward
and backward together at hidden sizes 16 to 32 and at batch 1, nothing from 64 on, where a group is
one step; all steps at once was up to 30 percent slower than that at 256.

The four ``da`` are computed gate by gate in planes and then copied together into the rows
``(batch, 4*hidden)`` that the weight gradients want. Multiplying straight into the rows was 4
to 15 percent slower (these calls and the product) at hidden sizes 16 to 64 and equal above; a
product per gate, and the sum of the four, 15 to 30 percent up to 64, and no faster than blocks of
columns above.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn.kernels.layout import Cache, Steps, gradient_rows, groups, time_major, valid
from minirnn.kernels.products import (
    Product,
    add_weight_gradients,
    input_gradient,
    step_product,
    transposed,
)
from minirnn.kernels.workspace import Workspace
from minirnn.typing import Array, State

__all__ = ["Planes", "lstm_backward"]


def lstm_backward(
    grad_y: Array,
    grad_state: State | None,
    cache: Cache | None,
    grads: tuple[Array, Array, Array],
    *,
    need_grad_x: bool = True,
) -> tuple[Array | None, State]:
    """Run the gradient back through time; may be called twice.

    Parameters
    ----------
    grad_y : ``(batch, time, hidden)``, of any strides; ignored where the step is masked
    grad_state : gradients on the final ``(h, c)``, or None for zeros
    cache : from `lstm_forward`
    grads : gradients of Wx, Wh and b, which are added to
    need_grad_x : whether the gradient on x is wanted

    Returns
    -------
    grad_x : ``(batch, time, input)``, or None
    grad_state : gradients on the initial ``(h, c)``

    Raises
    ------
    RuntimeError
        If the cache is None, or overwritten by a later forward call.
    """
    forward, steps, time, (Wx, Wh), workspace, *_ = valid(cache)
    hidden = len(Wh)
    batch = forward.xh.shape[1]
    plan = workspace.plan("backward", _plan_backward, steps.total, batch, hidden, Wx.dtype)
    time_major(grad_y, plan.grad_y, steps)
    transposed(workspace, "Wh transposed", [Wh], batch)
    plan.dh[...], plan.dc[...] = (0, 0) if grad_state is None else grad_state
    _run_back(plan, forward.history, steps)

    add_weight_gradients(workspace, forward.xh[:-1], plan.da, grads)
    grad_x = input_gradient(workspace, plan.da, Wx, time, steps) if need_grad_x else None
    return grad_x, (plan.dh.copy(), plan.dc.copy())


class Planes(NamedTuple):
    """Views of the gates of a group of steps, each ``(steps, planes, batch, hidden)``."""

    ifo: Array
    g_c_tanh: Array  # g, c before the step, tanh(c after it)
    i_o: Array
    g_tanh: Array
    f: list[Array]  # of each step, (batch, hidden)


class _Backward(NamedTuple):
    grad_y: Array  # (time, batch, hidden)
    da: Array  # (time, batch, 4*hidden)
    factors: Array  # (steps, 5, batch, hidden): of a_i, a_f, a_o, a_g, and of dh in dc
    dh: Array
    dc: Array
    multiply: Product
    weights: Array
    dh_out: Array
    planes: Array  # (4, batch, hidden): da of one step, gate by gate
    scratch: Array
    views: list[list[tuple[Array, ...]]]  # per group and step


def _plan_backward(
    workspace: Workspace, name: str, time: int, batch: int, hidden: int, dtype: Any
) -> _Backward:
    plane = (batch, hidden)
    grad_y, da = gradient_rows(workspace, name, time, batch, hidden, 4 * hidden, dtype)
    dh = workspace.array(f"{name} dh", plane, dtype)
    runs = groups(time, 6 * dh.nbytes)
    longest = runs[0].stop if runs else 0
    factors = workspace.array(f"{name} factors", (longest, 5, *plane), dtype)
    dc = workspace.array(f"{name} dc", plane, dtype)
    WhT = transposed(workspace, "Wh transposed", [np.zeros((hidden, 4 * hidden), dtype)], batch)
    multiply, weights, view = step_product(WhT, batch, hidden)
    views: list[list[tuple[Array, ...]]] = []
    for run in runs:
        rows = da[run].reshape(-1, batch, 4, hidden).swapaxes(1, 2)
        views.append(
            [
                (F, F[:4], F[2], F[4], *step)
                for F, *step in zip(factors, grad_y[run], da[run], rows, strict=False)
            ]
        )
    planes = workspace.array(f"{name} planes", (4, *plane), dtype)
    scratch = workspace.array(f"{name} scratch", plane, dtype)
    dh_out = view(dh[np.newaxis])
    return _Backward(grad_y, da, factors, dh, dc, multiply, weights, dh_out, planes, scratch, views)


def _run_back(plan: _Backward, history: list[Planes], steps: Steps) -> None:
    multiply, weights, dh, dc, dh_out = plan.multiply, plan.weights, plan.dh, plan.dc, plan.dh_out
    scratch, planes, da_o = plan.scratch, plan.planes, plan.planes[2]
    holes = reversed(steps.holes)
    for group, z in zip(plan.views[::-1], history[::-1], strict=True):
        _local_derivatives(z, plan.factors)
        for (F, F_gates, F_o, F_c, grad_y, da, da_gates), f, hole in zip(
            group[::-1], z.f[::-1], holes, strict=False
        ):
            if hole is not None:
                np.copyto(F, 0, where=hole)
                dh_passed, dc_passed = dh * hole, dc * hole
            np.add(dh, grad_y, dh)
            np.multiply(dh, F_c, scratch)
            np.add(dc, scratch, dc)
            np.multiply(F_gates, dc, planes)  # all four in one call, then o again, from dh
            np.multiply(F_o, dh, da_o)
            np.copyto(da_gates, planes)
            np.multiply(dc, f, dc)
            multiply(da, weights, dh_out)
            if hole is not None:
                np.add(dh, dh_passed, dh)
                np.copyto(dc, dc_passed, where=hole)


def _local_derivatives(z: Planes, factors: Array) -> None:
    """Fill the factors of a group of steps."""
    F = factors[: len(z.f)]
    F_ifo, F_g_c, one = F[:, :3], F[:, 3:], np.ones((), F.dtype)
    np.multiply(z.ifo, z.ifo, F_ifo)
    np.subtract(z.ifo, F_ifo, F_ifo)
    np.multiply(F_ifo, z.g_c_tanh, F_ifo)  # (i, f, o) (1 - (i, f, o)) * (g, c, tanh c)
    np.multiply(z.g_tanh, z.g_tanh, F_g_c)
    np.subtract(one, F_g_c, F_g_c)
    np.multiply(F_g_c, z.i_o, F_g_c)  # (1 - (g, tanh c)^2) * (i, o)
