"""The gradient of the GRU, backwards through time, in both variants.

With ``dh`` the gradient on the state after the step, everything of the variant that resets after
the product is ``dh`` times a factor that does not depend on it::

    da_n = dh * (1 - z) (1 - n^2)             da_z = dh * (h - n) z (1 - z)
    d_inner = da_n * r                        da_r = da_n * inner r (1 - r)
    dh = dh * z + (d_inner, da_r, da_z) Wh^T

so one call computes all four for a step. In the order ``inner, r, z, n`` the first three belong
to Wh and the last three to Wx. The variant that resets before the product needs one more product
in between, ``d_rh`` being the gradient on ``r * h``::

    d_rh = da_n Wh_n^T                        da_r = d_rh * h r (1 - r)
    dh = dh * z + d_rh * r + (da_r, da_z) Wh_rz^T
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn.kernels.layout import Cache, Steps, gradient_rows, groups, time_major, valid
from minirnn.kernels.products import (
    Product,
    input_gradient,
    step_product,
    transposed,
    weight_gradient,
)
from minirnn.kernels.workspace import Workspace
from minirnn.typing import Array, Mask, State

__all__ = ["gru_backward"]


def gru_backward(
    grad_y: Array,
    grad_state: State | None,
    cache: Cache | None,
    grads: tuple[Array, ...],
    *,
    need_grad_x: bool = True,
) -> tuple[Array | None, State]:
    """Run the gradient back through time; may be called twice.

    Parameters
    ----------
    grad_y : ``(batch, time, hidden)``, of any strides; ignored where the step is masked
    grad_state : gradient on the final ``(h,)``, or None for zeros
    cache : from `gru_forward`
    grads : gradients of Wx, Wh and b, and of bn if it was given, which are added to
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
    forward, steps, time, (Wx, Wh), workspace, _, reset_after = valid(cache)
    hidden, inputs = len(Wh), len(Wx)
    batch = forward.xh.shape[1]
    plan = workspace.plan(
        "backward", _plan_backward, steps.total, batch, hidden, reset_after, Wx.dtype
    )
    time_major(grad_y, plan.grad_y, steps)
    plan.dh[...] = 0 if grad_state is None else grad_state[0]
    _transpose_weights(workspace, Wh, batch, reset_after)
    run_back = _run_back_after if reset_after else _run_back_before
    run_back(plan, forward.history, steps)

    grad_Wx, grad_Wh, grad_b = grads[:3]
    xh, da = forward.xh[:-1], plan.da
    da_rzn = da[:, :, hidden:]
    grad_W = weight_gradient(workspace, xh[:, :, : inputs + 1], da_rzn)
    grad_Wx += grad_W[:inputs]
    grad_b += grad_W[inputs]
    if reset_after:
        grad_W = weight_gradient(workspace, xh[:, :, inputs:], da[:, :, : 3 * hidden])
        grad_bn = grads[3]
        grad_bn += grad_W[0, :hidden]
        grad_Wh[:, 2 * hidden :] += grad_W[1:, :hidden]
        grad_Wh[:, : 2 * hidden] += grad_W[1:, hidden:]
    else:
        h, da_rz, da_n = xh[:, :, inputs + 1 :], da[:, :, hidden : 3 * hidden], da[:, :, -hidden:]
        grad_Wh[:, : 2 * hidden] += weight_gradient(workspace, h, da_rz)
        grad_Wh[:, 2 * hidden :] += weight_gradient(workspace, forward.inner, da_n)
    grad_x = input_gradient(workspace, da_rzn, Wx, time, steps) if need_grad_x else None
    return grad_x, (plan.dh.copy(),)


def _transpose_weights(
    workspace: Workspace, Wh: Array, batch: int, reset_after: bool
) -> tuple[Array, Array]:
    """Transpose Wh, once for the product of d_inner, da_r, da_z, or for two products."""
    rz, n = Wh[:, : 2 * len(Wh)], Wh[:, 2 * len(Wh) :]
    if reset_after:
        WhT = transposed(workspace, "Wh transposed", [n, rz], batch)
        return WhT, WhT
    return (
        transposed(workspace, "Wh transposed", [rz], batch),
        transposed(workspace, "Wh transposed, n", [n], batch),
    )


class _Backward(NamedTuple):
    grad_y: Array  # (time, batch, hidden)
    da: Array  # (time, batch, 4*hidden): d_inner, da_r, da_z, da_n
    factors: Array  # (steps, 5, batch, hidden): of the four, and z
    dh: Array
    d_rh: Array
    scratch: Array
    dh_out: Array
    d_rh_out: Array
    scratch_out: Array
    multiply: Product
    weights: Array
    multiply_n: Product
    weights_n: Array
    views: list[list[tuple[Array, ...]]]  # per group and step


def _plan_backward(
    workspace: Workspace,
    name: str,
    time: int,
    batch: int,
    hidden: int,
    reset_after: bool,
    dtype: Any,
) -> _Backward:
    plane = (batch, hidden)
    grad_y, da = gradient_rows(workspace, name, time, batch, hidden, 4 * hidden, dtype)
    dh = workspace.array(f"{name} dh", plane, dtype)
    runs = groups(time, 5 * dh.nbytes)
    longest = runs[0].stop if runs else 0
    factors = workspace.array(f"{name} factors", (longest, 5, *plane), dtype)
    d_rh = workspace.array(f"{name} d rh", plane, dtype)
    scratch = workspace.array(f"{name} scratch", plane, dtype)
    WhT, WhT_n = _transpose_weights(
        workspace, np.zeros((hidden, 3 * hidden), dtype), batch, reset_after
    )
    multiply, weights, view = step_product(WhT, batch, hidden)
    multiply_n, weights_n, view_n = step_product(WhT_n, batch, hidden)
    views: list[list[tuple[Array, ...]]] = []
    for run in runs:
        views.append([])
        for F, dy, rows in zip(factors, grad_y[run], da[run], strict=False):
            planes = rows.reshape(batch, 4, hidden).swapaxes(0, 1)
            step: tuple[Array, ...]
            if reset_after:
                step = F[:4], planes, rows[:, : 3 * hidden]
            else:
                a_rz, a_n = rows[:, hidden : 3 * hidden], rows[:, 3 * hidden :]
                step = F[2:4], F[1], F[0], planes[2:], planes[1], a_n, a_rz
            views[-1].append((F, F[4], dy, *step))
    return _Backward(
        grad_y, da, factors, dh, d_rh, scratch,
        view(dh[np.newaxis]), view_n(d_rh[np.newaxis]), view(scratch[np.newaxis]),
        multiply, weights, multiply_n, weights_n, views,
    )  # fmt: skip


def _run_back_after(plan: _Backward, history: list[tuple[Array, ...]], steps: Steps) -> None:
    multiply, weights, dh, dh_out = plan.multiply, plan.weights, plan.dh, plan.dh_out
    scratch = plan.scratch
    holes = reversed(steps.holes)
    for group, past in zip(plan.views[::-1], history[::-1], strict=True):
        _local_derivatives(plan.factors, past, reset_after=True)
        for (F, z, grad_y, F_gates, da, da_Wh), hole in zip(group[::-1], holes, strict=False):
            if hole is not None:
                _pass_over_padding(F, hole)
            np.add(dh, grad_y, dh)
            np.multiply(F_gates, dh, da)
            np.multiply(dh, z, scratch)
            multiply(da_Wh, weights, dh_out)
            np.add(dh, scratch, dh)


def _run_back_before(plan: _Backward, history: list[tuple[Array, ...]], steps: Steps) -> None:
    dh, d_rh, scratch = plan.dh, plan.d_rh, plan.scratch
    multiply, weights, scratch_out = plan.multiply, plan.weights, plan.scratch_out
    multiply_n, weights_n, d_rh_out = plan.multiply_n, plan.weights_n, plan.d_rh_out
    holes = reversed(steps.holes)
    for group, past in zip(plan.views[::-1], history[::-1], strict=True):
        _local_derivatives(plan.factors, past, reset_after=False)
        for (F, z, grad_y, F_zn, F_r, r, da_zn, da_r, da_n, da_rz), hole in zip(
            group[::-1], holes, strict=False
        ):
            if hole is not None:
                _pass_over_padding(F, hole)
            np.add(dh, grad_y, dh)
            np.multiply(F_zn, dh, da_zn)
            multiply_n(da_n, weights_n, d_rh_out)
            np.multiply(F_r, d_rh, da_r)
            np.multiply(dh, z, dh)
            np.multiply(d_rh, r, d_rh)
            np.add(dh, d_rh, dh)
            multiply(da_rz, weights, scratch_out)
            np.add(dh, scratch, dh)


def _local_derivatives(factors: Array, past: tuple[Array, ...], reset_after: bool) -> None:
    """Fill the factors of a group of steps, ``(steps, 5, batch, hidden)``.

    In the variant that resets before the product, the first two are r and ``h r (1 - r)``.
    """
    gates, inner, n, h = past
    r, z = gates[:, 0], gates[:, 1]
    F = factors[: len(gates)]
    F_inner, F_r, F_z, F_n, F_carry = (F[:, k] for k in range(5))
    one = np.ones((), F.dtype)
    np.multiply(gates, gates, F[:, 1:3])
    np.subtract(gates, F[:, 1:3], F[:, 1:3])  # r (1 - r), z (1 - z)
    np.subtract(h, n, F_carry)
    np.multiply(F_z, F_carry, F_z)  # * (h - n)
    np.multiply(n, n, F_n)
    np.subtract(one, F_n, F_n)
    np.subtract(one, z, F_carry)
    np.multiply(F_n, F_carry, F_n)  # (1 - n^2) * (1 - z)
    np.copyto(F_carry, z)
    if reset_after:
        np.multiply(F_r, inner, F_r)
        np.multiply(F_r, F_n, F_r)  # * inner * factor of a_n
        np.multiply(F_n, r, F_inner)
    else:
        np.multiply(F_r, h, F_r)
        np.copyto(F_inner, r)


def _pass_over_padding(F: Array, hole: Mask) -> None:
    """Hand the gradient on unchanged, ``dh * 1``, where the step is masked."""
    np.copyto(F[:4], 0, where=hole)
    np.copyto(F[4], 1, where=hole)
