"""Factors of the chain rule, made of the arrays that a layer has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minirnn.functions import sigmoid
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.typing import Array

__all__ = ["ENOUGH", "FORMULAS", "SIMPLE", "Factor", "candidates", "factors_of", "with_shape"]

ENOUGH = 6
"""Numbers; fewer agree by chance, where many combinations are tried."""


class Formula(NamedTuple):
    """A factor of the chain rule made from an array s."""

    name: str  # of the function whose derivative it is; empty for a plain factor
    text: str
    function: Callable[[Array], Array]


def _logit(s: Array) -> Array:
    z: Array = np.log(s / (1 - s))
    return z


# Written in terms of the function's value, of its argument, and as the commonest mix of both.
FORMULAS = [
    Formula("tanh", "1 - {}^2", lambda s: 1 - s**2),
    Formula("sigmoid", "{} (1 - {})", lambda s: s * (1 - s)),
    Formula("relu", "{} > 0", lambda s: (s > 0).astype(float)),
    Formula("tanh", "1 - tanh({})^2", lambda s: 1 - np.tanh(s) ** 2),
    Formula("sigmoid", "sigmoid({}) (1 - sigmoid({}))", lambda s: sigmoid(s) * (1 - sigmoid(s))),
    Formula("tanh", "1 - z^2, z = artanh({})", lambda s: 1 - np.arctanh(s) ** 2),
    Formula("sigmoid", "z (1 - z), z = logit({})", lambda s: _logit(s) * (1 - _logit(s))),
    Formula("", "{}", lambda s: s),
    Formula("", "1 - {}", lambda s: 1 - s),
    Formula("", "1 + {}", lambda s: 1 + s),
    Formula("", "1 + {}^2", lambda s: 1 + s**2),
    Formula("", "1 / {}", lambda s: 1 / s),
]
SIMPLE = {"1 - {}^2", "{} (1 - {})", "{}", "1 - {}"}  # what terms of two factors are made of


class Factor(NamedTuple):
    """What one row of numbers is: a formula of an array."""

    formula: Formula
    array: str

    @property
    def alone(self) -> str:
        """The factor in a sentence of its own."""
        if self.formula.text in ("{}", "1 / {}"):
            return self.formula.text.replace("{}", self.array)
        return f"{self.formula.text.replace('{}', 's')} with s = {self.array}"

    @property
    def in_product(self) -> str:
        """The factor among others."""
        short = self.formula.text.replace("{}", self.array)
        return short if self.formula.text == "{}" else f"({short})"


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


def factors_of(arrays: dict[str, Array], shape: tuple[int, ...]) -> tuple[list[Factor], Array]:
    """Return every factor that the arrays can make and that varies, and their numbers as rows."""
    found, size = list(candidates(arrays, shape)), math.prod(shape)
    if not found:
        return [], np.empty((0, size))
    stack = np.stack([s.ravel() for _, s in found])
    rows = np.stack([formula.function(stack) for formula in FORMULAS], axis=1).reshape(-1, size)
    good = np.isfinite(rows).all(axis=1)
    good[good] = np.ptp(rows[good], axis=1) >= 1e-3
    if size < 8:  # so few signs agree by chance
        good &= [formula.name != "relu" for formula in FORMULAS] * len(found)
    factors = [Factor(formula, label) for label, _ in found for formula in FORMULAS]
    return [factors[k] for k in np.flatnonzero(good)], rows[good]
