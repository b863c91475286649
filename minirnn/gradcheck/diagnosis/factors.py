"""Factors of the chain rule, made of the arrays that a layer has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minirnn.functions import sigmoid
from minirnn.gradcheck.arrays import same_rows
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.typing import Array

__all__ = [
    "ENOUGH",
    "SIMPLE",
    "Factor",
    "candidates",
    "factors_of",
    "fitting",
    "with_shape",
]

ENOUGH = 6
"""Numbers; fewer agree by chance, where many combinations are tried."""


class _Formula(NamedTuple):
    """A factor of the chain rule made from an array s."""

    name: str  # of the function whose derivative it is; empty for a plain factor
    text: str
    function: Callable[[Array], Array]


def _logit(s: Array) -> Array:
    z: Array = np.log(s / (1 - s))
    return z


# Written in terms of the function's value, of its argument, and as the commonest mix of both.
FORMULAS = [
    _Formula("tanh", "1 - {}^2", lambda s: 1 - s**2),
    _Formula("sigmoid", "{} (1 - {})", lambda s: s * (1 - s)),
    _Formula("relu", "{} > 0", lambda s: (s > 0).astype(float)),
    _Formula("tanh", "1 - tanh({})^2", lambda s: 1 - np.tanh(s) ** 2),
    _Formula("sigmoid", "sigmoid({}) (1 - sigmoid({}))", lambda s: sigmoid(s) * (1 - sigmoid(s))),
    _Formula("tanh", "1 - z^2, z = artanh({})", lambda s: 1 - np.arctanh(s) ** 2),
    _Formula("sigmoid", "z (1 - z), z = logit({})", lambda s: _logit(s) * (1 - _logit(s))),
    _Formula("", "{}", lambda s: s),
    _Formula("", "1 - {}", lambda s: 1 - s),
    _Formula("", "1 + {}", lambda s: 1 + s),
    _Formula("", "1 / {}", lambda s: 1 / s),
]
SIMPLE = [FORMULAS[k] for k in (0, 1, 7, 8)]  # what terms of two factors are made of


class Factor(NamedTuple):
    """What one row of numbers is."""

    name: str  # of the function whose derivative it is; empty for a plain factor
    array: str  # that it is made of
    text: str  # in a sentence of its own
    among_others: str  # in a product

    @classmethod
    def of(cls, formula: _Formula, array: str) -> Factor:
        """Return the words for a formula of an array."""
        short = formula.text.replace("{}", array)
        long = f"{formula.text.replace('{}', 's')} with s = {array}"
        text = short if formula.text in ("{}", "1 / {}") else long
        return cls(formula.name, array, text, short if formula.text == "{}" else f"({short})")


def with_shape(evidence: Evidence, leading: tuple[int, ...]) -> dict[str, Array]:
    """Return the arrays with these leading axes, and the parameters that are vectors."""
    arrays = {k: a for k, a in evidence.arrays.items() if a.ndim > 1 and a.shape[:-1] == leading}
    parameters = evidence.function.parameters
    vectors = {k: p.value for k, p in parameters.items() if p.value.ndim == 1 and p.size > 1}
    return arrays | vectors


def candidates(arrays: dict[str, Array], shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of this width, and the blocks of the wider ones, broadcast to the shape."""
    width = shape[-1]
    for label, array in arrays.items():
        size = array.shape[-1]
        if size == width or (size == 1 and array.ndim > 1):
            yield label, np.broadcast_to(array, shape)
        elif size > width and size % width == 0:
            index = "" if array.ndim == 1 else ":, "
            for k in range(0, size, width):
                block = array[..., k : k + width]
                yield f"{label}[{index}{k}:{k + width}]", np.broadcast_to(block, shape)


def factors_of(
    arrays: dict[str, Array], shape: tuple[int, ...], formulas: list[_Formula] = FORMULAS
) -> tuple[list[Factor], Array]:
    """Return every factor that the arrays can make and that varies, and their numbers as rows."""
    found, size = list(candidates(arrays, shape)), math.prod(shape)
    if not found:
        return [], np.empty((0, size))
    stack = np.stack([s.ravel() for _, s in found])
    rows = np.stack([formula.function(stack) for formula in formulas], axis=1).reshape(-1, size)
    good = np.isfinite(rows).all(axis=1)
    good[good] = np.ptp(rows[good], axis=1) >= 1e-3
    if size < 8:  # so few signs agree by chance
        good &= [formula.name != "relu" for formula in formulas] * len(found)
    factors = [(formula, label) for label, _ in found for formula in formulas]
    return [Factor.of(*factors[k]) for k in np.flatnonzero(good)], rows[good]


def fitting(sides: Callable[[Array, Array], list[Array]], count: int, gap: Array) -> Array:
    """Return which of `count` guesses hold in every column, but for rounding.

    `sides` gives what should be equal, a row for each guess, for some guesses and some columns. The
    columns in which backward is most wrong come first, where most guesses end.
    """
    fits, largest = np.arange(count), np.argsort(-np.abs(gap), axis=None)
    for columns in (largest[:1], largest[:ENOUGH], largest):
        fits = fits[same_rows(*sides(fits, columns))]
    return fits
