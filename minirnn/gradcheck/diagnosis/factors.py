"""Factors of the chain rule, made of the arrays that a layer has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minirnn.functions import sigmoid
from minirnn.gradcheck.arrays import CLOSE, FLOOR, same
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.typing import Array

__all__ = ["ENOUGH", "SIMPLE", "Factor", "candidates", "equal_products", "factors_of", "with_shape"]

ENOUGH = 6
"""Numbers; fewer agree by chance, where many combinations are tried."""


class _Formula(NamedTuple):
    """A factor of the chain rule made from an array s, which stands in it as ``{}``."""

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
    """What one row of numbers is: a formula of an array that the layer has."""

    formula: _Formula
    array: str

    @property
    def name(self) -> str:
        """The function whose derivative it is; empty for a plain factor."""
        return self.formula.name

    def __str__(self) -> str:
        said = self.formula.text.replace("{}", "s")
        short = {"s": self.array, "1 / s": f"1 / {self.array}"}
        return short.get(said, f"{said} with s = {self.array}")

    @property
    def in_a_product(self) -> str:
        """The words for it as one factor among several."""
        said = self.formula.text.replace("{}", self.array)
        return f"({said})" if " " in said.replace(self.array, "") else said


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
    factors = [Factor(formula, label) for label, _ in found for formula in formulas]
    return [factors[k] for k in np.flatnonzero(good)], rows[good]


def equal_products(
    a: Array, left: tuple[Array, ...], n: Array, right: tuple[Array, ...], rows: Array
) -> Iterator[int]:
    """Yield the positions at which ``a * rows[left] = n * rows[right]``, but for rounding.

    Left and right are tuples of indices of rows, as many in each: the rows of a tuple are
    multiplied with one another; an empty one is a factor of 1. A few places of the arrays are
    looked at first, where most candidates end.
    """
    largest = np.abs(rows).max(axis=1, initial=0.0)
    few = np.unique(np.linspace(0, a.size - 1, 4).astype(int))

    def side(base: Array, indices: tuple[Array, ...], table: Array) -> Array:
        for index in indices:
            base = base * table[index]
        return base

    scale = np.maximum(side(np.abs(a).max(), left, largest), side(np.abs(n).max(), right, largest))
    least = CLOSE * np.maximum(scale, FLOOR)
    gap = np.abs(side(a[few], left, rows[:, few]) - side(n[few], right, rows[:, few]))
    for k in np.flatnonzero((gap <= least[:, None]).all(axis=1)):
        at_k = [tuple(index[k] for index in indices) for indices in (left, right)]
        if same(side(a, at_k[0], rows), side(n, at_k[1], rows)):
            yield int(k)
