"""Factors of the chain rule, made of the arrays that a layer has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minirnn.functions import sigmoid
from minirnn.gradcheck.arrays import CLOSE, SMALLEST, same
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.typing import Array

__all__ = [
    "ENOUGH",
    "FORMULAS",
    "SIMPLE",
    "Factors",
    "candidates",
    "equal_pairs",
    "equal_products",
    "equal_rows",
    "make_factors",
    "with_shape",
]

ENOUGH = 6  # numbers; fewer agree by chance, where many combinations are tried


@dataclass(frozen=True)
class _Formula:
    """A factor of the chain rule made from an array s, which stands in it as ``{}``."""

    name: str
    formula: str
    function: Callable[[Array], Array]


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


def _logit(s: Array) -> Array:
    z: Array = np.log(s / (1 - s))
    return z


@dataclass(frozen=True)
class Factors:
    """Every factor that the arrays can make and that varies, as rows of one array."""

    formulas: list[_Formula]
    words: list[str]
    arrays: list[str]
    values: Array

    def inside(self, k: int) -> str:
        """Return factor k as it stands in a product."""
        said = self.formulas[k].formula.replace("{}", self.arrays[k])
        return f"({said})" if " " in said.replace(self.arrays[k], "") else said

    def named(self, k: int) -> str:
        """Return the function whose derivative factor k is; empty for a plain factor."""
        return self.formulas[k].name


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


def make_factors(
    arrays: dict[str, Array], shape: tuple[int, ...], formulas: list[_Formula] | None = None
) -> Factors:
    """Return every factor that the arrays can make and that varies."""
    formulas = formulas or FORMULAS
    found = list(candidates(arrays, shape))
    size = math.prod(shape)
    if not found:
        return Factors([], [], [], np.empty((0, size)))
    stack = np.stack([s.ravel() for _, s in found])
    values = np.stack([formula.function(stack) for formula in formulas], axis=1)
    values = values.reshape(-1, size)
    chosen = formulas * len(found)
    labels = [label for label, _ in found for _ in formulas]
    good = np.isfinite(values).all(axis=1)
    good[good] = np.ptp(values[good], axis=1) >= 1e-3
    if size < 8:  # so few signs agree by chance
        good &= [formula.name != "relu" for formula in chosen]
    kept = np.flatnonzero(good)
    words = []
    for k in kept:
        said = chosen[k].formula.replace("{}", "s")
        short = {"s": labels[k], "1 / s": f"1 / {labels[k]}"}
        words.append(short.get(said, f"{said} with s = {labels[k]}"))
    return Factors([chosen[k] for k in kept], words, [labels[k] for k in kept], values[kept])


# ---------------------------------------------------------------- comparing many at once


def equal_rows(left: Array, right: Array) -> list[int]:
    """Return the rows in which two stacks of flat arrays are the same but for rounding."""
    if not max(len(left), len(right)):
        return []
    scale = np.maximum(np.abs(left).max(axis=1), np.abs(right).max(axis=1))
    gap = np.abs(left - right).max(axis=1)
    least = np.maximum(scale, 0.1 * SMALLEST / CLOSE)
    return [int(k) for k in np.flatnonzero(gap <= CLOSE * least)]


def equal_pairs(left: Array, right: Array) -> list[tuple[int, int]]:
    """Return which rows of one stack are the same as which rows of the other."""
    if not len(left) or not len(right):
        return []
    scale = np.maximum(np.abs(left).max(axis=1)[:, None], np.abs(right).max(axis=1))
    least = CLOSE * np.maximum(scale, 0.1 * SMALLEST / CLOSE)
    few = _few(left.shape[1])
    near = (np.abs(left[:, None, few] - right[:, few]) <= least[..., None]).all(axis=2)
    return [(int(j), int(k)) for j, k in np.argwhere(near) if same(left[j], right[k])]


def equal_products(base: Array, factors: Array, target: Array) -> list[tuple[int, int]]:
    """Return the pairs of rows j <= k with ``base * factors[j] * factors[k] = target``."""
    few = _few(len(target))
    products = (base * factors)[:, None, few] * factors[:, few]
    near = (np.abs(products - target[few]) <= CLOSE * np.abs(target).max()).all(axis=2)
    return [
        (int(j), int(k))
        for j, k in np.argwhere(near)
        if j <= k and same(base * factors[j] * factors[k], target)
    ]


def _few(size: int) -> Array:
    """Return a few places to look at first: most candidates end there."""
    return np.unique(np.linspace(0, size - 1, 4).astype(int))
