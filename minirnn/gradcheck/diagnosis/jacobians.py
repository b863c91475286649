"""Jacobians that mix the features of a row: softmax and normalisations, inside a layer or cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis.evidence import Case, Prediction
from minirnn.gradcheck.diagnosis.factors import ENOUGH, candidates
from minirnn.typing import Array

__all__ = ["mixed_rows", "normalisation"]


def mixed_rows(
    analytic: Array, numeric: Array, arrays: dict[str, Array]
) -> Iterator[tuple[str, str]]:
    """Find a wrong Jacobian of a softmax, or of a normalisation over the last axis.

    With ``a = softmax(z)``, ``grad_z = a (g - sum(g a))``; with ``n = (z - mean(z)) / std(z)``,
    ``grad_z = (g - mean(g) - n mean(g n)) / std(z)``. Sum and means are one number in each row,
    which is fitted, and has to hold for all columns.
    """
    for label, s in candidates(arrays, analytic.shape) if analytic.size >= ENOUGH else ():
        if s.shape[-1] < 3:
            continue
        if (s > 0).all() and np.abs(s.sum(axis=-1) - 1).max() <= 1e-9:
            belongs = (
                f"the Jacobian of softmax, a * (g - (g * a).sum(-1)) with a = {label}, belongs"
            )
            if _combined(analytic - numeric, s) is not None:
                yield "diagonal", f"a softmax without the sum@: a * g where {belongs}"
            if _combined(analytic - numeric * (1 - s), s * (1 - s)) is not None:
                cut = "a Jacobian cut down to its diagonal@: a * (1 - a) * g where"
                yield "diagonal", f"{cut} {belongs}"
            if _combined(numeric - s * analytic, s) is not None:
                yield "diagonal", f"the softmax left out@: g where {belongs}"
        if np.abs(s.mean(axis=-1)).max() <= 1e-9 * np.abs(s).max():
            of = f"the normalisation, (g - mean(g) - n mean(g n)) / std with n = {label}"
            for term, direction in (("mean(g)", np.ones_like(s)), ("n mean(g n)", s)):
                if _combined(analytic - numeric, direction) is not None:
                    weight = f"the term {term} left out@, or with another weight (as ddof=1 gives)"
                    yield "normalisation", f"{weight}, in the Jacobian of {of}"


def normalisation(case: Case) -> Iterator[Prediction]:
    """Predict a wrong term in ``grad_x = (g - mean(g) - n mean(g n)) / std(x)``.

    Here ``n = (x - mean(x)) / std(x)``, over the last axis (layer normalisation) or the first
    (batch normalisation), and g is the incoming gradient, times a gain where there is one. The
    truth has to be a sum of these three in each row; then each term is known by itself.
    """
    evidence, (weight, *more) = case.evidence, case.evidence.weights
    if case.is_parameter or more or weight.ndim < 2 or weight.shape != case.numeric.shape:
        return
    width = weight.shape[-1:]
    gains = [p.value for p in evidence.function.parameters.values() if p.shape == width]
    for axis in (-1, 0):
        size = weight.shape[axis]
        for label, n in evidence.arrays.items():
            if size < 4 or n.shape != weight.shape or np.abs(n.mean(axis=axis)).max() > 1e-9:
                continue
            of = (
                f"(g - mean(g) - n mean(g n)) / std with n = {label}, the derivative of a "
                f"normalisation over axis {axis % weight.ndim}"
            )
            for g in (weight, *(weight * gain for gain in gains)):
                three = [np.moveaxis(array, axis, -1) for array in (g, np.ones_like(g), n)]
                shares = _combined(np.moveaxis(case.numeric, axis, -1), *three)
                if shares is None:
                    continue
                _, mean, variance = (
                    np.moveaxis(shares[..., k : k + 1] * three[k], -1, axis) for k in range(3)
                )
                for words, term in {
                    "a term left out: -mean(g) in": -mean,
                    "a term left out: -n mean(g n) in": -variance,
                    "a term left out: -mean(g) - n mean(g n) in": -mean - variance,
                    "another ddof than in forward: the term n mean(g n) is divided as if ddof "
                    "were 1, in": variance / (size - 1),
                    "another ddof than in forward: the term n mean(g n) is divided as if ddof "
                    "were 0, in": -variance / size,
                }.items():
                    yield "normalisation", f"{words} {of}", case.numeric + term


def _combined(array: Array, *directions: Array) -> Array | None:
    """Return how much of each direction is in each row, if it is a sum of multiples of them."""
    basis = np.stack(directions, axis=-1)
    shares = np.linalg.pinv(basis) @ array[..., None]
    independent = np.linalg.matrix_rank(basis).min() == len(directions)
    return shares[..., 0] if independent and same(basis @ shares, array[..., None]) else None
