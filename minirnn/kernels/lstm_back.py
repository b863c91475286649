"""The gradient of the LSTM, backwards through time.

With ``dh`` and ``dc`` the gradients on the state after step t, and ``dh += grad_y_t`` first::

    dc += dh * o (1 - tanh(c)^2)
    da_i = dc * g i (1 - i)           da_f = dc * c_{t-1} f (1 - f)
    da_o = dh * tanh(c) o (1 - o)     da_g = dc * i (1 - g^2)
    dc = dc * f                       dh = da Wh^T

The right-hand factors do not depend on the running gradient: they are computed first, for a whole
group of steps. Against one step at a time this takes 10 to 30 percent off backward at hidden sizes
16 to 64 and at batch 1, 5 at 128, nothing at 256. Keeping ``i g``, ``f c`` and ``o tanh(c)`` from
forward saves five of the fifteen planes that are read for them, and gained nothing: that much more
has to be written.

The four ``da`` are computed gate by gate in planes and then copied together into the rows
``(batch, 4*hidden)`` that the weight gradients want. Multiplying straight into the rows was 4
to 15 percent slower (these calls and the product) at hidden sizes 16 to 64 and equal above; a
product per gate, and the sum of the four, 15 to 30 percent up to 64, and no faster than blocks of
columns above. One call over all planes, which has to spread dc, takes longer than one for each.
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
    add_weight_gradients,
    input_gradient,
    step_product,
    transposed,
)
from minirnn.kernels.workspace import Workspace
from minirnn.typing import Array, Mask, State

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
    batch, inputs, hidden = forward.xh.shape[1], len(Wx), len(Wh)
    history: list[Planes] = forward.history
    longest = history[0].run.stop if history else 0
    plan = workspace.plan("backward", _plan_backward, longest, batch, inputs, hidden, Wx.dtype)
    transposed(workspace, "Wh transposed", [Wh], batch)
    plan.dh[...], plan.dc[...] = (0, 0) if grad_state is None else grad_state
    grad_x = empty_batch(batch, time, inputs, Wx.dtype, steps) if need_grad_x else None
    plan.xh_da.begin()
    for z in reversed(history):
        part = steps.part(z.run)
        time_major(grad_y, plan.grad_y[: part.total], part)
        with Unbuffered():
            _local_derivatives(z, plan.factors[: part.total])
        _run_back(plan, z.f, part.held(run_on=grad_state is None))
        da = plan.da[: part.total]
        plan.xh_da.add(forward.xh[z.run], da)
        if grad_x is not None:
            input_gradient(workspace, da, Wx, grad_x, part)
    add_weight_gradients(plan.xh_da.total(), grads)
    return grad_x, (plan.dh.copy(), plan.dc.copy())


class Planes(NamedTuple):
    """Views of the gates of a group of steps, each ``(steps, planes, batch, hidden)``."""

    run: slice  # of the group, on the time axis
    ifo: Array
    g_c_tanh: Array  # g, c before the step, tanh(c after it)
    i_o: Array
    g_tanh: Array
    f: list[Array]  # of each step, (batch, hidden)


class _Backward(NamedTuple):
    """Memory for one group of steps."""

    grad_y: Array  # (steps, batch, hidden)
    da: Array  # (steps, batch, 4*hidden)
    factors: Array  # (steps, 5, batch, hidden): of a_i, a_f, a_o, a_g, and of dh in dc
    xh_da: ProductSum  # sum of xh.T @ da
    dh: Array
    dc: Array
    multiply: Product
    weights: Array
    dh_out: Array
    scratch: Array
    planes: Array  # (4, batch, hidden): da of one step, gate by gate
    views: list[tuple[Any, ...]]  # per step


def _plan_backward(
    workspace: Workspace, name: str, time: int, batch: int, inputs: int, hidden: int, dtype: Any
) -> _Backward:
    plane = (batch, hidden)
    grad_y, da = gradient_rows(workspace, name, time, batch, hidden, 4 * hidden, dtype)
    factors = workspace.array(f"{name} factors", (time, 5, *plane), dtype)
    shape = inputs + 1 + hidden, 4 * hidden
    xh_da = ProductSum(workspace, f"{name} gradient of W", shape, dtype)
    dh = workspace.array(f"{name} dh", plane, dtype)
    dc = workspace.array(f"{name} dc", plane, dtype)
    scratch = workspace.array(f"{name} scratch", plane, dtype)
    WhT = transposed(workspace, "Wh transposed", [np.zeros((hidden, 4 * hidden), dtype)], batch)
    multiply, weights, view = step_product(WhT, batch, hidden)
    planes = workspace.array(f"{name} planes", (4, *plane), dtype)
    views: list[tuple[Any, ...]] = []
    for t, gates in enumerate(da.reshape(time, batch, 4, hidden).swapaxes(1, 2)):
        # with one sequence the planes are the rows, and there is nothing to copy
        place = (*gates, None) if batch == 1 else (*planes, gates)
        views.append((factors[t], *factors[t], grad_y[t], da[t], *place))
    dh_out = view(dh[np.newaxis])
    return _Backward(
        grad_y, da, factors, xh_da, dh, dc, multiply, weights, dh_out, scratch, planes, views,
    )  # fmt: skip


def _run_back(plan: _Backward, forget: list[Array], holes: list[Mask | None]) -> None:
    multiply, weights, dh_out = plan.multiply, plan.weights, plan.dh_out
    dh, dc, scratch, planes = plan.dh, plan.dc, plan.scratch, plan.planes
    for (F, F_i, F_f, F_o, F_g, F_c, grad_y, da, da_i, da_f, da_o, da_g, rows), f, hole in zip(
        plan.views[len(holes) - 1 :: -1], forget[::-1], holes[::-1], strict=True
    ):
        if hole is not None:
            np.copyto(F, 0, where=hole)
            dh_passed, dc_passed = dh * hole, dc * hole
        np.add(dh, grad_y, dh)
        np.multiply(dh, F_c, scratch)
        np.add(dc, scratch, dc)
        np.multiply(dc, F_i, da_i)
        np.multiply(dc, F_f, da_f)
        np.multiply(dh, F_o, da_o)
        np.multiply(dc, F_g, da_g)
        if rows is not None:
            rows[...] = planes
        np.multiply(dc, f, dc)
        multiply(da, weights, dh_out)
        if hole is not None:
            np.add(dh, dh_passed, dh)
            np.copyto(dc, dc_passed, where=hole)


def _local_derivatives(z: Planes, F: Array) -> None:
    """Fill the factors of a group of steps, ``(steps, 5, batch, hidden)``."""
    F_ifo, F_g_c, one = F[:, :3], F[:, 3:], ONE[F.dtype]
    np.multiply(z.ifo, z.ifo, F_ifo)
    np.subtract(z.ifo, F_ifo, F_ifo)
    np.multiply(F_ifo, z.g_c_tanh, F_ifo)  # (i, f, o) (1 - (i, f, o)) * (g, c, tanh c)
    np.multiply(z.g_tanh, z.g_tanh, F_g_c)
    np.subtract(one, F_g_c, F_g_c)
    np.multiply(F_g_c, z.i_o, F_g_c)  # (1 - (g, tanh c)^2) * (i, o)
