"""A conversion proves itself: both sides run on the same random input, and have to agree."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Layer, dtype_of
from minirnn.interop.counterparts import ConversionError, chained, check_dtype, first_size
from minirnn.layers import Embedding
from minirnn.masks import without_padding
from minirnn.typing import Array, Mask

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
SHAPES = ((1, 1), (2, 5), (4, 3))  # batch, time

Run: TypeAlias = Callable[
    [Array, "Mask | None", "list[Array] | None"], "tuple[Array, list[Array] | None]"
]
"""The other side as a function: from the input, a mask and initial states, if any, to the output
and the final states, if known. States are a flat list: layer by layer, a state's arrays in order.
"""

Part: TypeAlias = "tuple[str, list[Layer], Run]"
"""A name, layers, and their counterpart: how a difference is traced to where it begins."""


def assembled(what: str, owner: str, parts: Iterable[Part]) -> Layer:
    """Return the layers of all parts as one model."""
    layers = [layer for _, own, _ in parts for layer in own]
    if not layers:
        raise ConversionError(f"{what}: {owner} holds no layer")
    model = chained(layers)
    check_dtype(what, model)
    return model


def prove(
    what: str,
    model: Layer,
    run: Run,
    *,
    masks: Sequence[bool] = (False, True),
    states: Sequence[bool] = (False, True),
    fixed: Sequence[int | None] = (None, None),
    first_token: int = 0,
    precision: str | None = None,
    parts: Iterable[Part] = (),
) -> None:
    """Run both sides, print the largest difference, and refuse a conversion that differs.

    A difference is absolute where numbers are at most 1, else relative to the largest. At most
    1e-5 passes in float32, 1e-10 in float64; NaN on one side never does. A `ConversionError` names
    the first layer whose numbers differ.

    A copy of ours runs, in evaluation mode, with and without `masks` and initial `states` as these
    say, on inputs of several shapes: batch and time are the `fixed` ones, where the other side
    takes no others. Tokens are drawn from `first_token` on: 1 where the other side takes 0 for
    padding. `precision` is the dtype in which the other side computes, where that is not the
    model's. `parts` is read after a difference only.
    """
    ours = copy.deepcopy(model).eval()
    rng = np.random.default_rng(0)
    precision = precision or str(dtype_of(model) or "float32")
    masks = masks if ours.uses_mask else (False,)
    states = states if ours.uses_state or isinstance(ours, Cell) else (False,)
    shapes = sorted({(fixed[0] or batch, fixed[1] or time) for batch, time in SHAPES})
    differences: dict[str, float] = {}
    for (batch, time), masked, started in product(shapes, masks, states):
        x = _inputs(ours, rng, batch, time, first_token)
        mask = _mask(rng, batch, time) if masked else None
        state = _random_like(_run(ours, x, None, None)[1], rng) if started else None
        name = f"batch {batch}, time {time}" + ", mask" * masked + ", initial state" * started
        y, final = _run(ours, x, mask, state)
        theirs, their_final = run(x, mask, flat(state) if started else None)
        found = [_difference(y, theirs, mask if ours.keeps_time else None)]
        if their_final is not None and final is not None:
            pairs = zip(flat(final), their_final, strict=True)
            found += [_difference(one, two) for one, two in pairs]
        differences[name] = max(found)
    worst = max(differences, key=lambda name: differences[name])
    largest, tolerance = differences[worst], TOLERANCE[precision]
    print(
        f"{what}: largest difference {largest:.1e} in {len(differences)} runs ({precision}, at "
        f"most {tolerance:.0e})"
    )
    if largest > tolerance:
        batch, time = shapes[-1]
        x = _inputs(ours, rng, batch, time, first_token)
        mask = _mask(rng, batch, time) if True in masks else None
        raise ConversionError(
            f"{what}: the two sides differ by {largest:.2g} ({worst}), more than {tolerance:.0e}"
            f"{_first_difference(x, mask, parts, tolerance)}"
        )


def _run(ours: Layer, x: Array, mask: Mask | None, state: Any) -> tuple[Array, Any]:
    """Return output and final state; None where there is no state."""
    if isinstance(ours, Cell):
        y, final, *_ = ours.forward(x, ours.initial_state(len(x)) if state is None else state)
        return y, final
    given = {name: value for name, value in (("mask", mask), ("state", state)) if value is not None}
    y = ours.forward(x, **given)
    return y, ours.state if ours.uses_state else None


def _difference(one: Array, two: Array, mask: Mask | None = None) -> float:
    """Return the largest difference over valid steps, relative to numbers beyond 1."""
    one, two = np.asarray(one), np.asarray(two)
    if one.shape != two.shape:
        return np.inf
    if mask is not None and one.shape[: mask.ndim] == mask.shape:
        one, two = one[mask], two[mask]
    with np.errstate(invalid="ignore"):
        scale = max(1.0, float(np.abs(one).max(initial=0)))
        largest = float(np.abs(one - two).max(initial=0)) / scale
    return np.inf if np.isnan(largest) else largest


def _first_difference(x: Array, mask: Mask | None, parts: Iterable[Part], tolerance: float) -> str:
    """Say at which layer the two sides part, as far as they are known layer by layer."""
    x = without_padding(x, mask)
    for name, layers, run in parts:
        if not layers:
            continue
        layer = copy.deepcopy(chained(layers)).eval()
        y, _ = _run(layer, x, mask if layer.uses_mask else None, None)
        mask_after = mask if layer.keeps_time else None
        difference = _difference(y, run(x, mask, None)[0], mask_after)
        if difference > tolerance:
            return f"; the first to differ is {name}, by {difference:.2g} on the same input"
        x, mask = y, mask_after
    return ""


# ---------------------------------------------------------------- what to run on


def _inputs(
    model: Layer, rng: np.random.Generator, batch: int, time: int, first_token: int
) -> Array:
    """Return random tokens ``(batch, time)`` or numbers ``(batch, time, features)``.

    For a cell, ``(batch, features)``.
    """
    size = first_size(model)
    if isinstance(size, Embedding):
        return rng.integers(first_token, size.vocabulary_size, (batch, time))
    shape = (batch,) if isinstance(model, Cell) else (batch, time)
    return rng.standard_normal((*shape, size or 3)).astype(dtype_of(model) or np.float32)


def _mask(rng: np.random.Generator, batch: int, time: int) -> Mask:
    """Return trailing padding of random lengths, one of them as long as can be, none empty."""
    lengths = rng.integers(1, time + 1, batch)
    lengths[0] = time
    mask: Mask = np.arange(time) < lengths[:, None]
    return mask


def _random_like(state: Any, rng: np.random.Generator) -> Any:
    """Return random numbers in the form of a state: arrays in nested tuples, None for none."""
    if isinstance(state, tuple | list):
        return tuple(_random_like(part, rng) for part in state)
    return None if state is None else rng.standard_normal(state.shape).astype(state.dtype)


def flat(state: Any) -> list[Any]:
    """Return the arrays of nested tuples in order."""
    if isinstance(state, tuple | list):
        return [array for part in state for array in flat(part)]
    return [] if state is None else [state]
