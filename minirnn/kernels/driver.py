"""What the kernels share: the way through time and back, and how a batch lies in memory.

Time comes first, in one array ``xh (time + 1, batch, input + 1 + hidden)`` with rows
``[x_t | 1 | h_t]``: the input of the step, a one for the bias, the hidden state before the step.
So a step is one product, ``xh[t] @ [Wx; b; Wh]``, whose result goes to ``xh[t + 1]``, and the
gradients of the weights are products of these rows with ``da``, the gradient on what the weights
give.

Padding at the ends needs no care in the time loop: forward runs on through it, on inputs of zero,
and the final state is that after each sequence's last valid step; backward runs through it with
gradients of zero, and meets the gradient on a final state where its sequence ends.

Backward works on groups of steps. First comes all that does not depend on the running gradient,
which takes fewer calls than step by step; then the steps; then the products for the weights. A
group takes little memory, and is still in the cache when it is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minirnn.typing import Array, State

__all__ = ["Backward", "Forward", "Kernel", "Sizes"]

_GROUP_ROWS = 512  # steps times batch: 512 to 2048 took the same time, 512 the least memory
_MOST_VIEWS = 10_000  # steps whose views are kept from call to call


class Sizes(NamedTuple):
    """All that arrays for one step depend on."""

    batch: int
    inputs: int
    hidden: int
    dtype: np.dtype[Any]


class Forward:
    """The arrays of a forward pass, and what one step of it is.

    Parameters
    ----------
    sizes : Sizes
    time : int
    every : bool
        Whether all steps are kept, for backward or for final states in the middle.

    Attributes
    ----------
    xh : array (time + 1, batch, input + 1 + hidden)
    h : array (batch, hidden)
        The running hidden state. It is computed here, where it is contiguous, and copied.
    states : tuple of arrays (time + 1, batch, hidden)
        Before each step and after the last; of other states than h, without `every`, the last one.

    A subclass writes `step`, which does one step, and `views`, which yields its arguments for each.
    """

    step: Any
    views: Any

    def __init__(self, sizes: Sizes, time: int, every: bool) -> None:
        batch, inputs, hidden, dtype = sizes
        self.time, self.every, self.hidden = time, every, hidden
        self.xh = np.empty((time + 1, batch, inputs + 1 + hidden), dtype)
        self.xh[:, :, inputs] = 1
        self.h = np.empty((batch, hidden), dtype)
        self.states: tuple[Array, ...] = (self.xh[:, :, -hidden:],)
        self._views: list[tuple[Array, ...]] = []

    def begin(self, cell: Any, state: State) -> None:
        """Take the weights of the cell, and the state before the first step."""
        for array, first in zip((self.h, *self.states), (state[0], *state), strict=True):
            array[... if array is self.h else 0] = first

    def all_views(self) -> Any:
        """Return the arguments of `step`, for each step; kept from call to call, unless many."""
        if self.time > _MOST_VIEWS:
            return self.views()
        self._views = self._views or list(self.views())
        return self._views


class Backward:
    """The arrays for going back through a group of steps, and what one of these steps is.

    Attributes
    ----------
    grad_y : array (steps, batch, hidden)
    da : array (steps, batch, planes * hidden)
        Gradients on what the weights give.
    states : tuple of arrays (batch, hidden)
        The running gradients on the states, that on h first.
    views : list of the arguments of `step`, for each step
    sum_x, sum_h : arrays
        ``[x | 1].T @ da`` and ``[1 | h].T @ da`` over all steps so far.

    A subclass writes `local_derivatives`, which computes for a run of steps what does not depend on
    the running gradient, and `step`, which goes back through one step.
    """

    local_derivatives: Any
    step: Any
    planes = 1
    x_planes = slice(None)  # those that Wx has given
    h_planes = slice(None)  # those that Wh has given

    def __init__(self, sizes: Sizes, steps: int) -> None:
        batch, inputs, hidden, dtype = sizes
        columns = np.arange(self.planes * hidden).reshape(self.planes, hidden)
        of_x, of_h = columns[self.x_planes].ravel(), columns[self.h_planes].ravel()
        self.of_x, self.of_h = (slice(one[0], one[-1] + 1) for one in (of_x, of_h))
        self.steps, self.inputs, self.hidden = steps, inputs, hidden
        self.grad_y = np.empty((steps, batch, hidden), dtype)
        self.da = np.empty((steps, batch, self.planes * hidden), dtype)
        self.dh = np.empty((batch, hidden), dtype)
        self.states: tuple[Array, ...] = (self.dh,)
        # BLAS multiplies a few rows by a transposed view at half its speed, but one row as fast.
        self.WhT = np.empty((len(of_h), hidden), dtype, order="F" if batch == 1 else "C")
        self.sum_x = np.empty((inputs + 1, len(of_x)), dtype)
        self.sum_h = np.empty((1 + hidden, len(of_h)), dtype)
        self.views: list[tuple[Array, ...]] = []

    def begin(self, cell: Any) -> None:
        """Take the weights of the cell."""
        self.WhT[...] = cell.Wh.value.T

    def add_products(self, xh: Array) -> None:
        """Add the products of a group of steps to the sums."""
        rows, da = xh.reshape(-1, xh.shape[2]), self.da[: len(xh)].reshape(-1, self.da.shape[2])
        self.sum_x += rows[:, : self.inputs + 1].T.dot(da[:, self.of_x])
        self.sum_h += rows[:, self.inputs :].T.dot(da[:, self.of_h])

    def add_gradients(self, cell: Any) -> None:
        """Add the sums to the gradients of the parameters."""
        cell.Wx.grad += self.sum_x[:-1]
        cell.b.grad += self.sum_x[-1]
        cell.Wh.grad += self.sum_h[1:]


class _Caches(NamedTuple):
    past: Forward
    sizes: Sizes
    number: int  # of the forward call
    lengths: Array | None


class Kernel:
    """Runs one cell over whole batches of sequences; keeps its arrays from call to call.

    What it returns is new in every call, except its caches, which are good until the next forward
    that keeps any. The cell comes with every call: its parameters may move.

    Parameters
    ----------
    forward, backward : the classes for this kind of cell
    step : function
        One step without a cache: ``step(cell, x_t, state) -> y_t, state``.
    """

    def __init__(
        self,
        forward: type[Forward],
        backward: type[Backward],
        step: Callable[[Any, Array, State], tuple[Array, State]],
    ) -> None:
        self._forward, self._backward, self.step = forward, backward, step
        self._kept: dict[str, tuple[Any, Any]] = {}
        self._calls = 0

    def forward(
        self, cell: Any, x: Array, lengths: Array | None, state: State, *, keep: bool
    ) -> tuple[Array, State, Any]:
        """Run over whole sequences, as `Loop.forward` does.

        Where some are padded at their end, `lengths` (batch,) says how many steps are valid. The
        caches, None without `keep`, are for `backward`.
        """
        batch, time, inputs = x.shape
        sizes = Sizes(batch, inputs, cell.hidden_size, cell.Wx.value.dtype)
        self._calls += keep
        past, put_back = self._take("train" if keep else "infer", sizes, time, lengths is not None)
        padding = None if lengths is None else np.arange(time) >= lengths[:, np.newaxis]
        inside = past.xh[:-1, :, :inputs]
        inside[...] = x.swapaxes(0, 1)
        if padding is not None:
            inside[padding.T] = 0
        past.begin(cell, state)
        step = past.step
        for views in past.all_views():
            step(*views)
        y = np.empty((batch, time, sizes.hidden), sizes.dtype)
        y[...] = past.states[0][1:].swapaxes(0, 1)
        if padding is None:
            final = tuple([array[-1].copy() for array in past.states])
        else:
            y[padding] = 0
            final = tuple([array[lengths, np.arange(batch)] for array in past.states])
        put_back()
        return y, final, _Caches(past, sizes, self._calls, lengths) if keep else None

    def backward(
        self, cell: Any, grad: Array, grad_state: State | None, caches: Any, *, need_grad_x: bool
    ) -> tuple[Array | None, State]:
        """Go back through time, as `Loop.backward` does; it may be called twice.

        What `grad` has in the padding is ignored. A forward since that of the caches is an error.
        """
        past, sizes, number, lengths = caches
        if number != self._calls:
            raise RuntimeError(
                f"{type(cell).__name__}: backward belongs to the latest forward, and there was "
                f"another one since"
            )
        batch, time, inputs = len(grad), past.time, sizes.inputs
        back, put_back = self._take("back", sizes, min(time, max(1, _GROUP_ROWS // batch)))
        back.begin(cell)
        for running in (*back.states, back.sum_x, back.sum_h):
            running[...] = 0
        ends = _ends(lengths, time) if grad_state is not None else {}

        def meet_ends(t: int) -> None:
            for running, final in zip(back.states, grad_state or (), strict=True):
                running[ends[t]] = final[ends[t]]

        padding = None if lengths is None else np.arange(time) >= lengths[:, np.newaxis]
        grad_x = np.empty((batch, time, inputs), sizes.dtype) if need_grad_x else None
        step, stop = back.step, time
        while stop > 0:
            run = slice((stop - 1) // back.steps * back.steps, stop)
            count = stop - run.start
            back.grad_y[:count] = grad[:, run].swapaxes(0, 1)
            if padding is not None:
                back.grad_y[:count][padding[:, run].T] = 0
            back.local_derivatives(past, run)
            for t in range(count - 1, -1, -1):
                if run.start + t + 1 in ends:
                    meet_ends(run.start + t + 1)
                step(*back.views[t])
            back.add_products(past.xh[run])
            if grad_x is not None:
                da = back.da[:count, :, back.of_x]
                rows = da.reshape(count * batch, -1).dot(cell.Wx.value.T)
                grad_x[:, run] = rows.reshape(count, batch, inputs).swapaxes(0, 1)
            stop = run.start
        if 0 in ends:
            meet_ends(0)
        back.add_gradients(cell)
        first = tuple([running.copy() for running in back.states])
        put_back()
        return grad_x, first

    def _take(
        self, name: str, sizes: Sizes, steps: int, padded: bool = False
    ) -> tuple[Any, Callable[[], None]]:
        """Return arrays for a call, those of an earlier one if they fit, and how to put them back.

        Another thread, or a call within this one, does not find them meanwhile.
        """
        key = sizes, steps, padded
        known, arrays = self._kept.pop(name, (None, None))
        if known != key and name == "back":
            arrays = self._backward(sizes, steps)
        elif known != key:
            arrays = self._forward(sizes, steps, name == "train" or padded)

        def put_back() -> None:
            self._kept[name] = key, arrays

        return arrays, put_back


def _ends(lengths: Array | None, time: int) -> dict[int, Any]:
    """Return which sequences end after how many steps."""
    if lengths is None:
        return {time: slice(None)}
    return {int(n): np.flatnonzero(lengths == n) for n in np.unique(lengths)}
