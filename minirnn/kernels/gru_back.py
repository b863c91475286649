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

from minirnn.kernels.layout import (
    Cache,
    Unbuffered,
    empty_batch,
    gradient_rows,
    time_major,
    valid,
)
from minirnn.kernels.products import (
    ONE,
    Product,
    ProductSum,
    input_gradient,
    step_product,
    transposed,
)
from minirnn.kernels.workspace import Workspace
from minirnn.typing import Array, Mask, State

__all__ = ["Past", "gru_backward"]


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
    batch, inputs = forward.xh.shape[1], len(Wx)
    history: list[Past] = forward.history
    longest = history[0].run.stop if history else 0
    plan = workspace.plan(
        "backward", _plan_backward, longest, batch, inputs, len(Wh), reset_after, Wx.dtype
    )
    plan.dh[...] = 0 if grad_state is None else grad_state[0]
    _transpose_weights(workspace, Wh, batch, reset_after)
    grad_x = empty_batch(batch, time, inputs, Wx.dtype, steps) if need_grad_x else None
    run_back = _run_back_after if reset_after else _run_back_before
    plan.sums.begin()
    for past in reversed(history):
        part = steps.part(past.run)
        time_major(grad_y, plan.grad_y[: part.total], part)
        with Unbuffered():
            factors, scratch = plan.factors[: part.total], plan.scratch[: part.total]
            _local_derivatives(past, factors, scratch, reset_after)
        run_back(plan, past, part.held(run_on=grad_state is None))
        da = plan.da[: part.total]
        plan.sums.add(forward.xh[past.run], past.inner, da)
        if grad_x is not None:
            input_gradient(workspace, da[:, :, len(Wh) :], Wx, grad_x, part)
    plan.sums.add_to(grads)
    return grad_x, (plan.dh.copy(),)


class _WeightGradients:
    """The products that make up the gradients of all weights, summed over groups of steps."""

    def __init__(
        self, workspace: Workspace, inputs: int, hidden: int, reset_after: bool, dtype: Any
    ) -> None:
        self.inputs, self.hidden, self.reset_after = inputs, hidden, reset_after
        self.of_x = ProductSum(workspace, "gradient of Wx", (inputs + 1, 3 * hidden), dtype)
        if reset_after:
            self.of_h = ProductSum(workspace, "gradient of Wh", (1 + hidden, 3 * hidden), dtype)
        else:
            self.of_h = ProductSum(workspace, "gradient of Wh", (hidden, 2 * hidden), dtype)
            self.of_rh = ProductSum(workspace, "gradient of Wh, n", (hidden, hidden), dtype)

    def begin(self) -> None:
        self.of_x.begin()
        self.of_h.begin()
        if not self.reset_after:
            self.of_rh.begin()

    def add(self, xh: Array, inner: Array, da: Array) -> None:
        inputs, hidden = self.inputs, self.hidden
        self.of_x.add(xh[:, :, : inputs + 1], da[:, :, hidden:])  # [x | 1], and r, z, n
        if self.reset_after:
            self.of_h.add(xh[:, :, inputs:], da[:, :, : 3 * hidden])  # [1 | h], and inner, r, z
        else:
            self.of_h.add(xh[:, :, inputs + 1 :], da[:, :, hidden : 3 * hidden])  # h, and r, z
            self.of_rh.add(inner, da[:, :, 3 * hidden :])  # r * h, and n

    def add_to(self, grads: tuple[Array, ...]) -> None:
        inputs, hidden = self.inputs, self.hidden
        grad_Wx, grad_Wh, grad_b = grads[:3]
        grad_rz, grad_n = grad_Wh[:, : 2 * hidden], grad_Wh[:, 2 * hidden :]
        of_x, of_h = self.of_x.total(), self.of_h.total()
        grad_Wx += of_x[:inputs]
        grad_b += of_x[inputs]
        if self.reset_after:
            grad_bn = grads[3]
            grad_bn += of_h[0, :hidden]
            grad_n += of_h[1:, :hidden]
            grad_rz += of_h[1:, hidden:]
        else:
            grad_rz += of_h
            grad_n += self.of_rh.total()


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


class Past(NamedTuple):
    """What forward left of a group of steps."""

    run: slice  # of the group, on the time axis
    gates: Array  # (steps, 2, batch, hidden): r, z
    inner: Array  # (steps, batch, hidden)
    n: Array  # (steps, batch, hidden)
    h: Array  # (steps, batch, hidden), before the step
    rz: list[tuple[Array, Array]]  # of each step, (batch, hidden)


class _Backward(NamedTuple):
    """Memory for one group of steps."""

    grad_y: Array  # (steps, batch, hidden)
    da: Array  # (steps, batch, 4*hidden): d_inner, da_r, da_z, da_n
    factors: Array  # (steps, 4, batch, hidden): of the same four
    sums: _WeightGradients
    scratch: Array  # (steps, batch, hidden)
    dh: Array
    d_rh: Array
    carried: Array
    dh_out: Array
    d_rh_out: Array
    multiply: Product
    weights: Array
    multiply_n: Product
    weights_n: Array
    views: list[tuple[Array, ...]]  # per step


def _plan_backward(
    workspace: Workspace,
    name: str,
    time: int,
    batch: int,
    inputs: int,
    hidden: int,
    reset_after: bool,
    dtype: Any,
) -> _Backward:
    plane = (batch, hidden)
    grad_y, da = gradient_rows(workspace, name, time, batch, hidden, 4 * hidden, dtype)
    factors = workspace.array(f"{name} factors", (time, 4, *plane), dtype)
    scratch = workspace.array(f"{name} scratch", (time, *plane), dtype)
    sums = _WeightGradients(workspace, inputs, hidden, reset_after, dtype)
    dh = workspace.array(f"{name} dh", plane, dtype)
    d_rh = workspace.array(f"{name} d rh", plane, dtype)
    carried = workspace.array(f"{name} carried", plane, dtype)
    WhT, WhT_n = _transpose_weights(
        workspace, np.zeros((hidden, 3 * hidden), dtype), batch, reset_after
    )
    multiply, weights, view = step_product(WhT, batch, hidden)
    multiply_n, weights_n, view_n = step_product(WhT_n, batch, hidden)
    views: list[tuple[Array, ...]] = []
    for F, dy, rows in zip(factors, grad_y, da, strict=True):
        gates = rows.reshape(batch, 4, hidden).swapaxes(0, 1)
        if reset_after:
            views.append((F, dy, gates, rows[:, : 3 * hidden]))
        else:
            a_rz, a_n = rows[:, hidden : 3 * hidden], rows[:, 3 * hidden :]
            views.append((F, dy, F[2:], F[1], gates[2:], gates[1], a_n, a_rz))
    return _Backward(
        grad_y, da, factors, sums, scratch, dh, d_rh, carried,
        view(dh[np.newaxis]), view_n(d_rh[np.newaxis]),
        multiply, weights, multiply_n, weights_n, views,
    )  # fmt: skip


def _run_back_after(plan: _Backward, past: Past, holes: list[Mask | None]) -> None:
    multiply, weights, dh_out = plan.multiply, plan.weights, plan.dh_out
    dh, carried = plan.dh, plan.carried
    for (F, grad_y, da, da_Wh), (_, z), hole in zip(
        plan.views[len(holes) - 1 :: -1], past.rz[::-1], holes[::-1], strict=True
    ):
        np.add(dh, grad_y, dh)
        np.multiply(dh, z, carried)
        if hole is not None:
            _pass_on(dh, carried, F, hole)
        np.multiply(F, dh, da)
        multiply(da_Wh, weights, dh_out)
        np.add(dh, carried, dh)


def _run_back_before(plan: _Backward, past: Past, holes: list[Mask | None]) -> None:
    dh, d_rh, carried = plan.dh, plan.d_rh, plan.carried
    multiply, weights, dh_out = plan.multiply, plan.weights, plan.dh_out
    multiply_n, weights_n, d_rh_out = plan.multiply_n, plan.weights_n, plan.d_rh_out
    for (F, grad_y, F_zn, F_r, da_zn, da_r, da_n, da_rz), (r, z), hole in zip(
        plan.views[len(holes) - 1 :: -1], past.rz[::-1], holes[::-1], strict=True
    ):
        np.add(dh, grad_y, dh)
        np.multiply(dh, z, carried)
        if hole is not None:
            _pass_on(dh, carried, F, hole)
        np.multiply(F_zn, dh, da_zn)
        multiply_n(da_n, weights_n, d_rh_out)
        np.multiply(F_r, d_rh, da_r)
        multiply(da_rz, weights, dh_out)
        np.multiply(d_rh, r, d_rh)
        np.add(carried, d_rh, carried)
        np.add(dh, carried, dh)


def _pass_on(dh: Array, carried: Array, F: Array, hole: Mask) -> None:
    """Hand the gradient on unchanged where the step is masked."""
    np.copyto(carried, dh, where=hole)
    np.copyto(F, 0, where=hole)


def _local_derivatives(past: Past, F: Array, scratch: Array, reset_after: bool) -> None:
    """Fill the factors of a group of steps, ``(steps, 4, batch, hidden)``.

    In the variant that resets before the product, the first is left out and the second is
    ``h r (1 - r)``.
    """
    gates, inner, n, h = past.gates, past.inner, past.n, past.h
    r, z = gates[:, 0], gates[:, 1]
    F_inner, F_r, F_z, F_n = (F[:, k] for k in range(4))
    one = ONE[F.dtype]
    np.multiply(gates, gates, F[:, 1:3])
    np.subtract(gates, F[:, 1:3], F[:, 1:3])  # r (1 - r), z (1 - z)
    np.subtract(h, n, scratch)
    np.multiply(F_z, scratch, F_z)  # * (h - n)
    np.multiply(n, n, scratch)
    np.subtract(one, scratch, F_n)
    np.subtract(one, z, scratch)
    np.multiply(F_n, scratch, F_n)  # (1 - n^2) * (1 - z)
    if reset_after:
        np.multiply(F_r, inner, F_r)
        np.multiply(F_r, F_n, F_r)  # * inner * factor of a_n
        np.multiply(F_n, r, F_inner)
    else:
        np.multiply(F_r, h, F_r)
