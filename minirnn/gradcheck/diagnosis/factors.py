"""Factors of the chain rule, and Jacobians, made of the arrays that a layer has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minirnn.functions import sigmoid
from minirnn.gradcheck.arrays import same
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


# ---------------------------------------------------------------- the features of a row, mixed


def mixed_rows(
    analytic: Array, numeric: Array, arrays: dict[str, Array]
) -> Iterator[tuple[str, str]]:
    """Find a wrong Jacobian of a softmax, or of a normalisation over the last axis or the first.

    With ``a = softmax(z)``, ``grad_z = a (g - sum(g a))``; with ``n = (z - mean(z)) / std(z)``,
    ``grad_z = (g - mean(g) - n mean(g n)) / std(z)``. Sum and means are one number in each row,
    which is fitted, and has to hold for all columns.
    """
    for label, s in candidates(arrays, analytic.shape) if analytic.size >= ENOUGH else ():
        if s.shape[-1] > 2 and (s > 0).all() and np.abs(s.sum(axis=-1) - 1).max() <= 1e-9:
            for cut, gap in (
                ("without the sum@: a * g", analytic - numeric),
                ("cut down to its diagonal@: a * (1 - a) * g", analytic / (1 - s) - numeric),
                ("left out@: g", numeric - s * analytic),
            ):
                if _multiples(gap, -1, s):
                    belongs = f"a * (g - (g * a).sum(-1)) with a = {label} belongs"
                    yield "diagonal", f"a softmax's Jacobian {cut} where {belongs}"
        for axis in (-1, 0):
            if s.shape[axis] < 4 or np.abs(s.mean(axis=axis)).max() > 1e-9 * np.abs(s).max():
                continue
            ones = np.ones_like(s)
            for terms, directions in (
                ("mean(g)", [ones]),
                ("n mean(g n)", [s]),
                ("mean(g) + n mean(g n)", [ones, s]),
            ):
                if _multiples(analytic - numeric, axis, *directions):
                    text = (
                        f"a normalisation's {terms} left out@, or with another weight (as ddof=1 "
                        f"gives), in (g - mean(g) - n mean(g n)) / std with n = {label}, over axis "
                        f"{axis % s.ndim}"
                    )
                    yield "normalisation", text


def _multiples(array: Array, axis: int, *directions: Array) -> bool:
    """Whether each row along the axis is a sum of multiples of the directions there."""
    basis = np.stack([np.moveaxis(one, axis, -1) for one in directions], axis=-1)
    rows = np.moveaxis(array, axis, -1)[..., None]
    independent = np.linalg.matrix_rank(basis).min() == len(directions)
    return bool(independent) and same(basis @ (np.linalg.pinv(basis) @ rows), rows)
