"""Several layers that read the same input, their outputs merged."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from minirnn import checks, masks
from minirnn.core import Layer
from minirnn.layers.composite import Composite, refuse_gradient
from minirnn.restoring import Restored
from minirnn.typing import Array

_MERGES = ("concat", "sum", "mean", "product")


class Parallel(Composite):
    """Several layers that read the same input, their outputs merged.

    ``y = [layer_0(x), layer_1(x), ...]`` side by side, or their sum, mean or product. Backward: the
    gradient on the input is the sum of those of the layers; with ``p`` parts, each receives its own
    part of ``grad_y`` (concat), ``grad_y`` (sum), ``grad_y / p`` (mean), or ``grad_y``
    times the outputs of all the others (product).

    Parameters
    ----------
    layers : list of Layer
        All of them keep the time axis, or none of them does.
    merge : "concat", "sum", "mean" or "product"
        For all but "concat", the outputs should have the same shape.

    Notes
    -----
    Under a mask, padding gives zeros and takes no gradient, whatever stands there.

    Raises
    ------
    ValueError
        At forward, if the outputs do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import GRU, Dense, LastStep, MeanOverTime, Sequential
    >>> both = Parallel([LastStep(), MeanOverTime()])
    >>> model = Sequential([GRU(3, 4, rng=0), both, Dense(8, 2, rng=1)])
    >>> model.forward(np.ones((2, 5, 3))).shape
    (2, 2)
    """

    def __init__(self, layers: Iterable[Layer], merge: str = "concat") -> None:
        self.merge = checks.choice(self, "merge", merge, _MERGES)
        super().__init__(layers)

    def _checked(self) -> list[Layer]:
        sizes = [getattr(layer, "input_size", None) for layer in self.layers]
        takes = list(dict.fromkeys(size for size in sizes if size is not None))
        if len(takes) > 1:
            raise ValueError(
                f"{type(self).__name__}: all layers read the same input, but their input_size is "
                f"{' and '.join(map(str, takes))}"
            )
        return super()._checked()

    @property
    def keeps_time(self) -> bool:  # type: ignore[override]
        """Whether the output has the time axis of the input."""
        return self.layers[0].keeps_time

    @property
    def input_size(self) -> int | None:
        """Features of the input, where they are known."""
        sizes = [getattr(layer, "input_size", None) for layer in self.layers]
        return next((size for size in sizes if size is not None), None)

    @property
    def output_size(self) -> int | None:
        """Features of the output, where they are known."""
        sizes: list[Any] = [getattr(layer, "output_size", None) for layer in self.layers]
        if None in sizes:
            return None
        return int(sum(sizes) if self.merge == "concat" else sizes[0])

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Array:
        """Return the merged outputs for an x that all the layers take.

        `state` has the initial state of each layer, None where one begins as usual.
        """
        states = self._states(state, "state")
        padding = before = None  # that the layers do not look after themselves
        if mask is not None and not all(layer.uses_mask for layer in self.layers):
            x, mask = masks.checked(self, x, mask)
            padding, before = mask if self.keeps_time else None, mask
        with Restored(self._inside()):
            outputs = [
                masks.apply(layer, x, mask, one)
                for layer, one in zip(self.layers, states, strict=True)
            ]
            y = _merge(self, outputs, self.merge)
        if padding is not None:
            y[~padding] = 0
        self._cache = (np.shape(x), outputs, y.shape, y.dtype, padding, before)
        return y

    def step(self, x_t: Any) -> Array:
        """Return the merged outputs of one step of each layer."""
        with Restored(self._inside()):
            return _merge(self, [layer.step(x_t) for layer in self.layers], self.merge)

    def backward(self, grad: Any, grad_state: Any = None, *, need_grad_x: bool = True) -> Any:
        """Return the gradient on x: the sum of those of the layers."""
        states = self._states(grad_state, "grad_state")
        shape, outputs, y_shape, dtype, padding, before = self._saved()
        grad = checks.check_shape(self, grad, y_shape, dtype, "the gradient")
        grad = masks.without_padding(grad, padding)
        total: Any = None
        with Restored(self._inside(), gradients=need_grad_x):
            parts = _merge_back(grad, outputs, self.merge)
            for layer, part, state in zip(self.layers, parts, states, strict=True):
                inner = (part,) if state is None else (part, state)
                grad_x = (layer.backward if need_grad_x else layer.backward_parameters)(*inner)
                if grad_x is not None:
                    if np.shape(grad_x) != shape:
                        refuse_gradient(layer, grad_x, shape)
                    total = grad_x if total is None else total + grad_x
        return None if total is None else masks.without_padding(total, before)


# ---------------------------------------------------------------- outputs, merged


def _merge(owner: object, parts: list[Array], how: str) -> Array:
    """Return the parts ``(..., features)`` side by side, or their sum, mean or product."""
    shapes = [part.shape for part in parts]
    same = [shape[:-1] for shape in shapes] if how == "concat" else shapes
    if any(shape != same[0] for shape in same):
        raise ValueError(
            f"{checks.name_of(owner)}: for merge={how!r} the outputs should have the same shape"
            f"{' but for the features' if how == 'concat' else ''}, got "
            f"{', '.join(map(str, shapes))}"
        )
    if how == "concat" or len(parts) == 1:  # a copy, which a mask may write into
        return np.concatenate(parts, axis=-1)
    if how == "product":
        return np.asarray(prod(parts[1:], start=parts[0]))
    total = np.asarray(sum(parts[1:], start=parts[0]))
    return total / total.dtype.type(len(parts)) if how == "mean" else total


def _merge_back(grad: Array, parts: list[Array], how: str) -> list[Array]:
    """Return the gradient on each part, from that on the merged output."""
    if how == "concat":
        ends = np.cumsum([part.shape[-1] for part in parts])[:-1]
        return np.split(grad, ends, axis=-1)
    if how == "mean":
        grad = grad / grad.dtype.type(len(parts))
    if how != "product":
        return [grad] * len(parts)
    others = [[other for j, other in enumerate(parts) if j != k] for k in range(len(parts))]
    return [np.asarray(prod(some, start=grad)) for some in others]
