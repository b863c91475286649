"""Jacobians that mix the features of a row: softmax and normalisations, inside a layer or cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis.factors import ENOUGH, candidates
from minirnn.typing import Array


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
