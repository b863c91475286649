"""A conversion proves itself: both sides run on the same random input, and have to agree."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Layer, dtype_of
from minirnn.layers import Embedding
from minirnn.layers.parallel import Parallel
from minirnn.layers.residual import Residual
from minirnn.models.sequential import Sequential
from minirnn.typing import Array, Mask

__all__ = [
    "SHAPES",
    "Comparison",
    "ConversionError",
    "Pair",
    "Side",
    "base_of",
    "chained",
    "check_dtype",
    "compare",
    "flatten",
    "initial_state",
    "missing",
    "named_chain",
    "prove",
]

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
SHAPES = ((1, 1), (2, 5), (4, 3))  # batch, time

Side: TypeAlias = Callable[
    [Array, "Mask | None", "list[Array] | None"], "tuple[Array, list[Array] | None]"
]
"""One side of a comparison: from the input, a mask and initial states, if any, to the output and
the final states, if known. States are a flat list: layer by layer, a state's arrays in order."""

Pair: TypeAlias = "tuple[str, Layer, Callable[[Array, Mask | None], Array]]"
"""A layer with its name and its counterpart: how a difference is traced to where it begins."""


class ConversionError(ValueError):
    """Something has no counterpart in the other library, or the two do not agree."""


@dataclass(frozen=True)
class Comparison:
    """What two sides of a conversion differed by.

    Attributes
    ----------
    what : str
        The conversion.
    dtype : str
        "float32" or "float64": in which both sides compute.
    differences : dict
        From a description of the run to the largest difference of its outputs and final states.
        A difference is absolute where numbers are at most 1, else relative to the largest.
    """

    what: str
    dtype: str
    differences: dict[str, float] = field(default_factory=dict)

    @property
    def difference(self) -> float:
        """The largest of all."""
        return max(self.differences.values(), key=lambda d: np.inf if np.isnan(d) else d)

    @property
    def tolerance(self) -> float:
        """The largest difference that passes: 1e-5 in float32, 1e-10 in float64."""
        return TOLERANCE[self.dtype]

    @property
    def passed(self) -> bool:
        """Whether every difference is within the tolerance; NaN is not."""
        return all(difference <= self.tolerance for difference in self.differences.values())

    def __str__(self) -> str:
        return (
            f"{self.what}: largest difference {self.difference:.1e} in {len(self.differences)} "
            f"runs ({self.dtype}, at most {self.tolerance:.0e})"
        )


def prove(
    what: str,
    model: Layer,
    theirs: Side,
    *,
    masks: bool = True,
    states: bool = True,
    shapes: Iterable[tuple[int, int]] = SHAPES,
    first_token: int = 0,
    precision: str | None = None,
    pairs: Callable[[], Iterable[Pair]] = tuple,
) -> None:
    """Compare, print the result, and refuse a conversion whose two sides differ.

    Parameters
    ----------
    what : str
        The conversion's name, for the printed line.
    model : Layer
        Ours. A copy of it runs, in evaluation mode.
    theirs : Side
    masks, states : bool
        Whether the other side takes a mask, and initial states.
    shapes : (batch, time) of each run
    first_token : int
        The smallest token that is drawn: 1 where the other side takes 0 for padding.
    precision : "float32" or "float64", optional
        In which the other side computes, where it is not the model's dtype.
    pairs : callable
        Called after a difference only: the layers one by one, each with its counterpart.

    Raises
    ------
    ConversionError
        That names the first layer whose numbers differ.
    """
    result = compare(
        what,
        model,
        theirs,
        masks=masks,
        states=states,
        shapes=shapes,
        first_token=first_token,
        precision=precision,
    )
    print(result)
    if not result.passed:
        worst = max(result.differences, key=lambda run: _nan_last(result.differences[run]))
        where = _first_difference(model, pairs, masks, first_token, result.tolerance)
        raise ConversionError(
            f"{what}: the two sides differ by {result.differences[worst]:.2g} ({worst}), more than "
            f"{result.tolerance:.0e}{where}"
        )


def compare(
    what: str,
    model: Layer,
    theirs: Side,
    *,
    masks: bool = True,
    states: bool = True,
    shapes: Iterable[tuple[int, int]] = SHAPES,
    first_token: int = 0,
    precision: str | None = None,
) -> Comparison:
    """Run both sides on random inputs of several shapes, with masks and initial states.

    Parameters
    ----------
    what, model, theirs, masks, states, shapes, first_token, precision
        As for `prove`.
    """
    ours = copy.deepcopy(model).eval()
    dtype = str(dtype_of(model) or np.dtype(np.float32))
    result = Comparison(what, precision or dtype)
    rng = np.random.default_rng(0)
    takes = inspect.signature(ours.forward).parameters
    state_kinds = [False, True] if states and "state" in takes else [False]
    mask_kinds = [False, True] if masks and ours.uses_mask and "mask" in takes else [False]
    for batch, time in shapes:
        x = inputs(ours, rng, batch, time, first_token)
        for masked in mask_kinds:
            mask = _mask(rng, batch, time) if masked else None
            for with_state in state_kinds:
                state = initial_state(ours, rng, batch, dtype) if with_state else None
                if with_state and not flatten(state):
                    continue  # nothing here has a state
                run = f"batch {batch}, time {time}"
                run += ", mask" * masked + ", initial state" * with_state
                result.differences[run] = _largest(ours, theirs, x, mask, state)
    return result


def _largest(ours: Layer, theirs: Side, x: Array, mask: Mask | None, state: Any) -> float:
    """Return the largest difference in the output and, where both sides tell them, final states."""
    flat = None if state is None else flatten(state)
    final: Any
    if isinstance(ours, Cell):
        first = ours.initial_state(len(x)) if state is None else state
        y, *(final, _) = ours.forward(x, first)
    else:
        keywords = {} if mask is None else {"mask": mask}
        keywords |= {} if state is None else {"state": state}
        y = ours.forward(x, **keywords)
        final = getattr(ours, "state", None)
    their_y, their_final = theirs(x, mask, flat)
    differences = [_difference(y, their_y, mask if ours.keeps_time else None)]
    if their_final is not None and final is not None:
        own_final = flatten(final)
        if len(own_final) != len(their_final):
            return np.inf
        differences += [_difference(a, b) for a, b in zip(own_final, their_final, strict=True)]
    return max(differences, key=_nan_last)


def _difference(one: Array, two: Array, mask: Mask | None = None) -> float:
    """Return the largest difference over valid steps, relative to numbers beyond 1."""
    one, two = np.asarray(one), np.asarray(two)
    if one.shape != two.shape:
        return np.inf
    if mask is not None and one.shape[: mask.ndim] == mask.shape:
        one, two = one[mask], two[mask]
    with np.errstate(invalid="ignore"):
        scale = max(1.0, float(np.abs(one).max(initial=0)))
        return float(np.abs(one - two).max(initial=0)) / scale


def _nan_last(difference: float) -> float:
    return np.inf if np.isnan(difference) else difference


def _first_difference(
    model: Layer,
    pairs: Callable[[], Iterable[Pair]],
    masks: bool,
    first_token: int,
    tolerance: float,
) -> str:
    """Say at which layer the two sides part, as far as they are known layer by layer."""
    rng = np.random.default_rng(1)
    batch, time = SHAPES[-1]
    x = inputs(model, rng, batch, time, first_token)
    mask = _mask(rng, batch, time) if masks and model.uses_mask else None
    if mask is not None:
        x = np.where(mask.reshape(mask.shape + (1,) * (x.ndim - 2)), x, x.dtype.type(0))
    for name, layer, counterpart in pairs():
        layer = copy.deepcopy(layer).eval()
        y = layer.forward(x, mask=mask) if layer.uses_mask else layer.forward(x)
        mask_after = mask if layer.keeps_time else None
        difference = _difference(y, counterpart(x, mask), mask_after)
        if not difference <= tolerance:
            return f"; the first to differ is {name}, by {difference:.2g} on the same input"
        x, mask = y, mask_after
    return ""


# ---------------------------------------------------------------- what to run on


def inputs(
    model: Layer, rng: np.random.Generator, batch: int, time: int, first_token: int = 0
) -> Array:
    """Return random input for a model: tokens ``(batch, time)`` or ``(batch, time, features)``.

    For a cell, ``(batch, features)``. The first layer that has a size tells.
    """
    dtype = dtype_of(model) or np.dtype(np.float32)
    size = 3  # of a model whose layers take any
    for _, layer in model.named_layers():
        if isinstance(layer, Embedding):
            return rng.integers(first_token, layer.vocabulary_size, (batch, time))
        found = getattr(layer, "input_size", None) or getattr(layer, "size", None)
        if isinstance(found, int):
            size = found
            break
    shape = (batch, size) if isinstance(model, Cell) else (batch, time, size)
    return rng.standard_normal(shape).astype(dtype)


def _mask(rng: np.random.Generator, batch: int, time: int) -> Mask:
    """Return trailing padding of random lengths, one of them as long as can be, none empty."""
    lengths = rng.integers(1, time + 1, batch)
    lengths[0] = time
    mask: Mask = np.arange(time) < lengths[:, None]
    return mask


def initial_state(model: Layer, rng: np.random.Generator | None, batch: int, dtype: str) -> Any:
    """Return initial states in the form that the model's forward takes; None for none.

    Random ones, or without a generator those that the cells begin with.
    """
    if isinstance(model, Sequential):
        return tuple(initial_state(layer, rng, batch, dtype) for layer in model)
    if isinstance(model, Parallel):
        return tuple(initial_state(layer, rng, batch, dtype) for layer in model.layers)
    if isinstance(model, Residual):
        return initial_state(model.layer, rng, batch, dtype)
    if isinstance(model, Cell):
        zeros: Any = model.initial_state(batch)
    elif isinstance(getattr(model, "cell", None), Cell):
        zeros = model.cell.initial_state(batch)  # type: ignore[attr-defined]
    elif hasattr(model, "forward_layer"):
        halves = (model.forward_layer, model.backward_layer)  # type: ignore[attr-defined]
        zeros = tuple(array for half in halves for array in half.cell.initial_state(batch))
    else:
        return None
    if rng is None:
        return zeros
    return tuple(rng.standard_normal(array.shape).astype(dtype) for array in zeros)


def flatten(state: Any) -> list[Array]:
    """Return the arrays of nested tuples in order; None counts for nothing."""
    if state is None:
        return []
    if isinstance(state, tuple | list):
        return [array for part in state for array in flatten(part)]
    return [np.asarray(state)]


# ---------------------------------------------------------------- what conversions share


def base_of(layer: Layer, known: Iterable[type]) -> type | None:
    """Return which of the `known` classes computes what `layer` computes, None if none does.

    A subclass that writes `forward` anew is something else than its base.
    """
    known = set(known)
    kind: Any = type(layer)
    for base in kind.__mro__:
        if base in known:
            return base if kind.forward is base.forward and "forward" not in vars(layer) else None
    return None


def chained(layers: list[Layer]) -> Layer:
    """Return layers as one: a `Sequential`, where there are several."""
    return layers[0] if len(layers) == 1 else Sequential(layers)


def check_dtype(what: str, model: Layer) -> None:
    """Raise unless all parameters are of one dtype: others do not cast between layers."""
    dtypes = {name: str(p.value.dtype) for name, p in model.named_parameters()}
    if len(set(dtypes.values())) > 1:
        told = {dtype: name for name, dtype in reversed(dtypes.items())}
        places = " and ".join(f"{dtype} ({name})" for dtype, name in sorted(told.items()))
        raise ConversionError(f"{what}: parameters of {places}; give all layers the same dtype")


def named_chain(model: Layer, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield the layers of nested Sequentials in order, each with a name for messages."""
    if type(model) is Sequential:
        for k, layer in enumerate(model):
            yield from named_chain(layer, f"{prefix}{k}." if prefix else f"layer {k}.")
    else:
        yield f"{prefix.rstrip('.')} ({type(model).__name__})" if prefix else _name(model), model


def _name(model: Layer) -> str:
    return type(model).__name__


def missing(library: str, extra: str) -> ImportError:
    """Return the error that says what to install."""
    return ImportError(
        f"this needs {library}, which is not installed; in the folder of minirnn's README.md: "
        f'pip install ".[{extra}]"'
    )
