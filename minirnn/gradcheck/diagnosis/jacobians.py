"""Jacobians that mix the features of a row: softmax and normalisations, inside a layer or cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.gradcheck.diagnosis.factors import candidates
from minirnn.typing import Array

__all__ = ["normalization", "normalized_rows", "softmax_jacobian"]


def softmax_jacobian(
    analytic: Array, numeric: Array, arrays: dict[str, Array]
) -> Prediction | None:
    """Find the Jacobian of a softmax of which only the diagonal is used, or the sum is missing.

    With ``a = softmax(z)``, ``grad_z = a (g - sum(g a))``. The sum is one number in each row; it is
    fitted, and has to hold for all columns.
    """
    for label, a in candidates(arrays, analytic.shape):
        if a.shape[-1] < 3 or (a <= 0).any() or np.abs(a.sum(axis=-1) - 1).max() > 1e-9:
            continue
        belongs = f"the Jacobian of softmax, a * (g - (g * a).sum(-1)) with a = {label}, belongs"
        without = numeric + _multiple(analytic - numeric, a)
        if same(analytic, without):
            text = f"a softmax without the sum@: a * g where {belongs}"
            return Prediction("diagonal", text, without, analytic)
        diagonal = numeric * (1 - a)
        own = diagonal + _multiple(analytic - diagonal, a * (1 - a))
        if same(analytic, own):
            text = f"a Jacobian cut down to its diagonal@: a * (1 - a) * g where {belongs}"
            return Prediction("diagonal", text, own, analytic)
        handed_on = a * analytic + _multiple(numeric - a * analytic, a)
        if same(numeric, handed_on):
            text = f"the softmax left out@: g where {belongs}"
            return Prediction("diagonal", text, handed_on, numeric)
    return None


def normalized_rows(analytic: Array, numeric: Array, arrays: dict[str, Array]) -> Prediction | None:
    """Find a wrong term in the Jacobian of a normalisation over the last axis.

    With ``n = (z - mean(z)) / std(z)``, ``grad_z = (g - mean(g) - n mean(g n)) / std(z)``. Each of
    the two averages is one number a row; what it is wrong by is fitted.
    """
    for label, n in candidates(arrays, analytic.shape):
        if n.shape[-1] < 3 or np.abs(n.mean(axis=-1)).max() > 1e-9 * np.abs(n).max():
            continue
        of = (
            f"in the Jacobian of the normalisation, (g - mean(g) - n mean(g n)) / std with "
            f"n = {label}"
        )
        for term, s in (("mean(g)", np.ones_like(n)), ("n mean(g n)", n)):
            wrong = numeric + _multiple(analytic - numeric, s)
            if same(analytic, wrong):
                text = f"the term {term} left out@, or with another weight (as ddof=1 gives), {of}"
                return Prediction("normalisation", text, wrong, analytic)
    return None


def _multiple(array: Array, s: Array) -> Array:
    """Return in each row the multiple of s that is nearest to the array."""
    share = (array * s).sum(axis=-1, keepdims=True) / (s * s).sum(axis=-1, keepdims=True)
    fitted: Array = share * s
    return fitted


def normalization(case: Case) -> Iterator[Prediction]:
    """Predict a wrong term in ``grad_x = (g - mean(g) - n mean(g n)) / std(x)``.

    Here ``n = (x - mean(x)) / std(x)``, over the last axis (layer normalisation) or the first
    (batch normalisation), and g is the incoming gradient, times a gain where there is one. The
    truth has to be a sum of these three in each row; then each term is known by itself.
    """
    evidence = case.evidence
    if case.is_parameter or len(evidence.weights) > 1 or case.numeric.ndim < 2:
        return
    weight, width = evidence.weights[0], case.numeric.shape[-1]
    if weight.shape != case.numeric.shape:
        return
    gains = {k: p.value for k, p in evidence.function.parameters.items() if p.shape == (width,)}
    for axis in (-1, 0):
        size = weight.shape[axis]
        for label, n in evidence.arrays.items():
            if size < 4 or n.shape != weight.shape or np.abs(n.mean(axis=axis)).max() > 1e-9:
                continue
            for g in (weight, *(weight * gain for gain in gains.values())):
                terms = _terms(case.numeric, g, n, axis)
                if terms is None:
                    continue
                mean, variance = terms
                of = (
                    f"(g - mean(g) - n mean(g n)) / std with n = {label}, the derivative of a "
                    f"normalisation over axis {axis % weight.ndim}"
                )
                text = f"looks like a term left out: -{{}} in {of}"
                yield _as(text.format("mean(g)"), case.numeric - mean)
                yield _as(text.format("n mean(g n)"), case.numeric - variance)
                yield _as(text.format("mean(g) - n mean(g n)"), case.numeric - mean - variance)
                for words, factor in (("1", size / (size - 1)), ("0", (size - 1) / size)):
                    text = (
                        f"looks like another ddof than in forward: the term n mean(g n) is divided "
                        f"as if ddof were {words}, in {of}"
                    )
                    yield _as(text, case.numeric + (factor - 1) * variance)


def _as(text: str, gradient: Array) -> Prediction:
    return Prediction("normalisation", text, gradient)


def _terms(numeric: Array, g: Array, n: Array, axis: int) -> tuple[Array, Array] | None:
    """Return the second and the third term, if the truth is made of the three."""
    columns = [np.moveaxis(a, axis, -1) for a in (g, np.ones_like(g), n)]
    truth = np.moveaxis(numeric, axis, -1)
    mean, variance = np.empty_like(truth), np.empty_like(truth)
    for row in np.ndindex(truth.shape[:-1]):
        basis = np.stack([column[row] for column in columns], axis=1)
        weights, _, rank, _ = np.linalg.lstsq(basis, truth[row])
        if rank < 3 or not same(basis @ weights, truth[row]):
            return None
        mean[row], variance[row] = weights[1] * basis[:, 1], weights[2] * basis[:, 2]
    return np.moveaxis(mean, -1, axis), np.moveaxis(variance, -1, axis)
