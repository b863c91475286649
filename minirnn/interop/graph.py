"""The values in a graph of another library, each as a chain of layers over the graph's input.

Where values meet, what their chains begin with is common, and what follows are the branches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

import numpy as np

from minirnn import layers as ours
from minirnn.core import Layer
from minirnn.interop.counterparts import ConversionError, chained
from minirnn.recurrent import Bidirectional
from minirnn.typing import Array

_DIRECTIONS = [f"the final state of the {one} of two directions" for one in ("first", "second")]
_OUTPUTS = [f"the outputs of the {one} of two directions" for one in ("first", "second")]


class Unknown(ConversionError):  # noqa: N818
    """What is done to a value has no counterpart; `reading` says where that is."""


@contextmanager
def reading(where: str, hint: str = "") -> Iterator[None]:
    """Say where in a graph there is no counterpart."""
    try:
        yield
    except ConversionError as why:
        if type(why) is not Unknown:
            raise
        raise ConversionError(f"{where} has no counterpart{why}{hint}") from None
    except Exception as error:  # what the node is given is not what is read here
        raise ConversionError(f"{where} has no counterpart: {error}{hint}") from error


class Value(NamedTuple):
    """A value: the layers that make it, what its axes are, and what of their output it is."""

    layers: tuple[Layer, ...]
    axes: tuple[str, ...]
    """Of "batch", "time", "features"; and "directions" of recurrent layers."""
    states: tuple[Value, ...] = ()
    """What stands along the axis of directions, where these are final states."""
    part: str = ""
    """What it is where that is not all, or more: the final state of one direction, a sum."""

    def then(self, *layers: Layer) -> Value:
        """Return what layers make of it."""
        if self.part:
            raise Unknown(f" for {self.part}")
        axes = self.axes
        for layer in layers:
            if isinstance(layer, ours.Embedding) and not self.layers:
                axes = (*axes[:2], "features")
            if axes[-1] != "features" or "directions" in axes:
                raise Unknown(f" for the axes {', '.join(axes)}")
            if not layer.keeps_time:
                axes = tuple(axis for axis in axes if axis != "time")
        return Value(self.layers + layers, axes)

    def output_of(self, first: Value) -> tuple[Layer, ...]:
        """Return the layers, where this is all that they make of the first value, axes in order."""
        order = tuple(a for a in dict.fromkeys((*first.axes, "features")) if a in self.axes)
        if self.then().axes != order:
            raise Unknown(f" for the axes {', '.join(self.axes)}")
        return self.layers

    def ones(self) -> Array:
        """Return an array with as many axes, each of length 1."""
        return np.ones([1] * len(self.axes), np.float32)

    def without(self, axis: int) -> tuple[str, ...]:
        """Return the other axes."""
        axis %= len(self.axes)
        return self.axes[:axis] + self.axes[axis + 1 :]

    def exchanged(self) -> Value:
        """Return it with batch and time exchanged: what was taken for one is the other."""
        names = {"batch": "time", "time": "batch"}
        return self._replace(axes=tuple(names.get(axis, axis) for axis in self.axes))

    def moved(self, order: Sequence[int]) -> Value:
        """Return it with its axes in another order."""
        return self._replace(axes=tuple(self.axes[k] for k in order))

    def recurrent(self, layers: Sequence[Any]) -> tuple[Value, Value, Value]:
        """Return the output of recurrent layers in a chain, their final states, and the cells'."""
        y, states = self, []
        for layer in layers:
            y = y.then(layer)
            if isinstance(layer, ours.Dropout):
                continue
            final = y.then(ours.LastState().follow(layer))
            both = isinstance(layer, Bidirectional)
            states += [final._replace(part=part) for part in (_DIRECTIONS if both else [""])]
        ends = Value(final.layers, ("directions", *final.axes), tuple(states))
        return y, ends, ends._replace(states=(), part="the states of cells")

    def picked(self, axis: int, index: int) -> Value:
        """Return what stands at an index of an axis: the last step, or a final state."""
        if self.axes[axis] == "directions" and -len(self.states) <= index < len(self.states):
            return self.states[index]._replace(axes=self.without(axis))
        if self.axes[axis] == "time" and (self.part in _OUTPUTS or (index, self.part) == (0, "")):
            reader = self._reader()
            k = _OUTPUTS.index(self.part) if self.part else 0
            alone = len(reader.directions) == 1 or self.part
            if alone and index == (0 if reader.directions[k][1] else -1):
                final = self._replace(part="").then(ours.LastState().follow(reader))
                return final._replace(part=self.part and _DIRECTIONS[k])
        if (self.axes[axis], index) != ("time", -1):
            raise Unknown(" for other steps than the last")
        return self.then(ours.LastStep())

    def sliced(self, axis: int, part: slice) -> Value:
        """Return the features that one direction of a recurrent layer gives, or all."""
        if self.axes[axis:] != ("features",) or "time" not in self.axes:
            raise Unknown(" but for the last step, or the features of one direction")
        ends = np.cumsum([0, *(size for size, _ in self._reader().directions)]).tolist()
        start, stop, step = part.indices(ends[-1])
        if (start, stop) not in [*pairwise(ends), (0, ends[-1])] or step != 1:
            raise Unknown(" but for the last step, or the features of one direction")
        whole = stop - start == ends[-1]
        return self if whole else self._replace(part=_OUTPUTS[ends.index(start)])

    def _reader(self) -> Any:
        """Return the recurrent layer whose output this still is, feature by feature."""
        for layer in reversed(self.layers):
            if getattr(layer, "directions", None):
                return layer
            if not layer.keeps_time or hasattr(layer, "output_size"):
                break
        raise Unknown(" but behind a recurrent layer")

    def pooled(self, axis: int, layer: Layer) -> Value:
        """Return what a layer makes of all its steps."""
        if self.axes[axis] != "time":
            raise Unknown(" but over time alone")
        return self.then(layer)

    def joined(self, place: int) -> Value:
        """Return it without the axis of directions, whose features stand side by side."""
        if self.axes[place] != "directions":
            raise Unknown(f" for the axes {', '.join(self.axes)}")
        both = len(self.layers[-1].directions) > 1  # type: ignore[attr-defined]
        several = any(state.layers != self.layers for state in self.states)
        if several or (both and self.axes[place + 1 :] != ("features",)):
            raise Unknown(f" for the axes {', '.join(self.axes)}")
        return self._replace(axes=self.without(place), states=())


def concatenated(values: Sequence[Value], axis: int) -> Value:
    """Return values side by side: the states of several layers, both directions, or branches."""
    first = values[0]
    _check_alike(values)
    if len(values) == 1:
        return first
    if first.axes[axis] == "directions":
        return values[-1]._replace(states=sum((value.states for value in values), ()))
    if first.axes[axis] != "features":
        raise Unknown(" but of features")
    parts = [value.part for value in values]
    if parts == _DIRECTIONS and values[1].layers[:-1] == first.layers[:-1]:  # then LastState
        return first._replace(part="")
    return merged(values, "concat")


def _check_alike(values: Sequence[Any]) -> None:
    if not all(isinstance(value, Value) and value.axes == values[0].axes for value in values):
        raise Unknown(" but for values made of the input, with the same axes")


def merged(values: Sequence[Value], how: str) -> Value:
    """Return where branches meet."""
    _check_alike(values)
    ways = zip(*(value.then().layers for value in values), strict=False)
    common = len(list(takewhile(lambda way: all(one is way[0] for one in way), ways)))
    before = values[0]._replace(layers=values[0].layers[:common])
    branches = [value.layers[common:] for value in values]
    if how == "sum" and len(branches) == 2 and () in branches and any(branches):
        return before.then(ours.Residual(chained(branches[0] or branches[1])))
    if how == "product" and [type(one) for b in branches for one in b] == [ours.Sigmoid]:
        return before.then(ours.SiLU())
    if () in branches:
        raise Unknown(" for a branch that goes past all layers, but for a sum of two")
    parts: list[Any] = [chained(branch) for branch in branches]
    one, *others = parts
    if type(one) is ours.Parallel and one.merge == how != "concat":
        parts = [*one.layers, *others]
    return before.then(side_by_side(parts, how))


def side_by_side(parts: Sequence[Any], how: str) -> Layer:
    """Return layers that read the same input as one; two directions as a `Bidirectional`."""
    if [getattr(part, "reverse", None) for part in parts] == [False, True]:
        return Bidirectional(*parts, merge=how)
    return ours.Parallel(parts, merge=how)
