"""Factors of the chain rule, made of the arrays that a layer has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minirnn.functions import sigmoid
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.typing import Array

ENOUGH = 6
"""Numbers; fewer agree by chance, where many combinations are tried."""

FORMULAS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "(1 - {}^2)": ("tanh", lambda s: 1 - s**2),
    "{0} * (1 - {0})": ("sigmoid", lambda s: s * (1 - s)),
    "({} > 0)": ("relu", lambda s: (s > 0).astype(float)),
    "(1 - tanh({})^2)": ("tanh", lambda s: 1 - np.tanh(s) ** 2),
    "sigmoid({0}) * (1 - sigmoid({0}))": ("sigmoid", lambda s: sigmoid(s) * (1 - sigmoid(s))),
    "{}": ("", lambda s: s),
    "(1 - {})": ("", lambda s: 1 - s),
    "(1 + {})": ("", lambda s: 1 + s),
}
"""Factors made from an array, and the function whose derivative each is; of its value, first."""


class Factor(NamedTuple):
    """What one row of numbers is: a formula of an array."""

    formula: str
    text: str

    @property
    def what(self) -> str:
        """What it is in the chain rule."""
        function, _ = FORMULAS[self.formula]
        return f"the derivative of {function}" if function else "a factor"


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
    factors: list[Factor] = []
    rows: list[Array] = []
    for label, array in candidates(arrays, shape):
        for formula, (function, compute) in FORMULAS.items():
            numbers = compute(array).ravel()
            signs = function == "relu" and len(numbers) < 8  # so few agree by chance
            if np.isfinite(numbers).all() and np.ptp(numbers) >= 1e-3 and not signs:
                factors.append(Factor(formula, formula.format(label)))
                rows.append(numbers)
    return factors, np.array(rows).reshape(-1, math.prod(shape))
