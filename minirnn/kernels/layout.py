"""How the kernels lay a batch of sequences out in memory, and which steps of it they visit.

All kernels work time-major on one array ``xh (time + 1, batch, input + 1 + hidden)`` whose rows
are ``[x_t | 1 | h_t]``: the input of the step, a one for the bias, the hidden state that the step
is given. So a step is one product, ``xh[t] @ [Wx; b; Wh]``, whose result goes to ``xh[t + 1]``; all
weight gradients are one product too, ``xh.T @ da``. Adding up the input projection of all steps
(one large product before the loop) inside the loop instead costs a pass over the gates per step:
the fused product was 10 to 15 percent faster at hidden sizes 32 to 128, equal elsewhere.

Features first, ``(features, batch)``, was tried against this layout: as fast in the large products,
0.7 us faster in those of a step at hidden sizes 16 and 32, and contiguous per gate. But ``x``,
``y`` and the gate gradients have to be transposed, which takes back what the small sizes gain, and
costs 4 us a step at hidden size 128 and 40 us at 256, each, since their strides fall on the same
cache lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from minirnn.kernels.workspace import Workspace
from minirnn.typing import Array, Mask

__all__ = [
    "Cache",
    "Steps",
    "Unbuffered",
    "batch_major",
    "empty_batch",
    "fill_inputs",
    "gradient_rows",
    "groups",
    "hidden_states",
    "put",
    "real_steps",
    "time_major",
    "valid",
]

_GROUP_ROWS = 512  # steps times batch; see `groups`


@dataclass
class Steps:
    """The steps that a kernel visits: those at which any sequence is real.

    Padding at the end of a sequence needs no care in the time loop, as long as no number can
    overflow there: forward runs on through it, on inputs of zero, and the final state is taken
    from each sequence's last real step; backward runs through it with gradients of zero. In other
    padding, and where a number could overflow, the state is held step by step.

    Attributes
    ----------
    total : how many they are
    live : slice or indices of them on the time axis of the caller's arrays
    mask : the caller's mask, or None
    real : ``(total, batch)``, True where the step is real, or None if it is so everywhere
    lengths : ``(batch,)`` real steps of each sequence, if all padding is at the ends, else None
    """

    total: int
    live: slice | Array
    mask: Mask | None = None
    real: Mask | None = None
    lengths: Array | None = None

    def part(self, run: slice) -> Steps:
        """Return those of a run of them."""
        if run.stop - run.start == self.total:
            return self
        live = run if isinstance(self.live, slice) else self.live[run]
        real = None if self.real is None else self.real[run]
        return Steps(run.stop - run.start, live, self.mask, real, self.lengths)

    def held(self, run_on: bool) -> list[Mask | None]:
        """Per step ``(batch, 1)``, True where the state must not change, or None if nowhere.

        Parameters
        ----------
        run_on : whether padding at the ends may be run through
        """
        if self.real is None or (run_on and self.lengths is not None):
            return [None] * self.total
        holes = ~self.real[:, :, np.newaxis]
        return [hole if hole.any() else None for hole in holes]

    def final(self, states: Array, run_on: bool) -> Array:
        """Fresh copy of the state ``(batch, n)`` after each sequence's last real step.

        Parameters
        ----------
        states : ``(total + 1, batch, n)``, before the first step and after each one
        run_on : whether padding at the ends was run through
        """
        if run_on and self.lengths is not None:
            after_last: Array = states[self.lengths, np.arange(len(self.lengths))]
            return after_last
        last: Array = states[-1].copy()
        return last


class Cache(NamedTuple):
    """What backward needs of the forward call: its arrays, its steps, its weights, its variant."""

    plan: Any
    steps: Steps
    time: int
    weights: tuple[Array, ...]
    workspace: Workspace
    generation: int
    variant: Any = None


def valid(cache: Cache | None) -> Cache:
    """Refuse a cache that is absent or whose memory a later forward call has taken."""
    if cache is None:
        raise RuntimeError("backward needs the cache of a forward call with keep=True")
    if cache.generation != cache.workspace.generation:
        raise RuntimeError(
            "this cache is overwritten: forward was called again with the same workspace; "
            "call backward before the next forward"
        )
    return cache


def real_steps(mask: Mask | None, time: int) -> Steps:
    """Find the steps to visit: all of them without a mask, at no cost.

    Parameters
    ----------
    mask : None or ``(batch, time)``, True where the step is real
    time : number of steps
    """
    if mask is None or mask.all():
        return Steps(time, slice(None))
    visited = np.flatnonzero(mask.any(axis=0))
    count = len(visited)
    if count == 0 or visited[-1] == count - 1:
        live: slice | Array = slice(count)  # makes views, not copies
    else:
        live = visited
    real = np.ascontiguousarray(mask[:, live].T)
    only_at_the_ends = bool((real[1:] <= real[:-1]).all())
    return Steps(count, live, mask, real, real.sum(axis=0) if only_at_the_ends else None)


def time_major(source: Array, out: Array, steps: Steps) -> None:
    """Copy the visited steps of ``source (batch, time, n)`` to ``out (total, batch, n)``.

    Zero where a step is padding, whatever number stands there.
    """
    out[...] = source[:, steps.live].transpose(1, 0, 2)
    if steps.real is not None:
        out[~steps.real] = 0


def batch_major(rows: Array, time: int, steps: Steps) -> Array:
    """Fresh array ``(batch, time, n)`` of ``rows (total, batch, n)``, zero where padding is."""
    _, batch, size = rows.shape
    result = empty_batch(batch, time, size, rows.dtype, steps)
    put(rows, result, steps)
    if steps.mask is not None:
        result[~steps.mask] = 0
    return result


def empty_batch(batch: int, time: int, size: int, dtype: Any, steps: Steps) -> Array:
    """Fresh array ``(batch, time, size)`` for `put` to fill, zero at steps that are not visited."""
    make = np.empty if steps.mask is None else np.zeros
    return make((batch, time, size), dtype)


def put(rows: Array, out: Array, steps: Steps) -> None:
    """Copy ``rows (total, batch, n)`` to their steps of ``out (batch, time, n)``."""
    out[:, steps.live] = rows.transpose(1, 0, 2)


def fill_inputs(xh: Array, x: Array, h: Array, steps: Steps) -> None:
    """Write the inputs of all steps and the first hidden state into the rows ``[x | 1 | h]``."""
    size = x.shape[2]
    time_major(x, xh[:-1, :, :size], steps)
    xh[0, :, size + 1 :] = h


def hidden_states(xh: Array, running: Array) -> list[tuple[Array, Array, Array]]:
    """For each step, the hidden state before it, where to compute the next one, and its place.

    The first and the last are in the rows ``[x | 1 | h]``, where they are not contiguous, and a
    call on such an array takes twice as long or more. So the next state is computed in `running`
    and copied; with one sequence it is contiguous, and computed in its place.

    Parameters
    ----------
    xh : ``(time + 1, batch, input + 1 + hidden)``
    running : ``(batch, hidden)``
    """
    h = list(xh[:, :, -running.shape[1] :])
    in_place = len(running) == 1
    return [(before, after if in_place else running, after) for before, after in pairwise(h)]


def groups(time: int, batch: int) -> list[slice]:
    """Cut the time axis into runs of steps that backward works on together.

    For each it computes first all that does not depend on the running gradient, and last the sum of
    ``xh.T @ da``. So a gradient takes memory for one group instead of all steps, fewer calls are
    made than step by step, and what they work on is mostly still in the cache. The price is to add
    up the sums, which is little against products of so many rows: 512 to 2048 took the same time
    at hidden sizes 64 to 256, and 512 the least memory.
    """
    length = max(1, _GROUP_ROWS // batch)
    return [slice(start, min(start + length, time)) for start in range(0, time, length)]


def gradient_rows(
    workspace: Workspace, name: str, time: int, batch: int, hidden: int, columns: int, dtype: Any
) -> tuple[Array, Array]:
    """Memory for ``grad_y (time, batch, hidden)`` and ``da (time, batch, columns)``: one for both.

    Backwards, step t reads its part of grad_y and then writes its part of da, which begins no
    earlier: what the steps before still have to read lies in front of it.
    """
    da = workspace.array(f"{name} da", (time, batch, columns), dtype)
    size = time * batch * hidden
    return da.reshape(-1)[:size].reshape(time, batch, hidden), da


class Unbuffered:
    """A block in which NumPy works on strided arrays where they are.

    It would copy them to a buffer of 8192 numbers first, which for some planes out of each step
    takes up to four times as long as the multiplication itself: the local derivatives of an LSTM,
    75 us in place of 36 at hidden size 32. For short runs, single rows, the buffer is better.
    """

    def __enter__(self) -> None:
        self._size = np.setbufsize(16)

    def __exit__(self, *error: object) -> None:
        np.setbufsize(self._size)
