"""A term of the Jacobian of a normalisation: left out, or with another ddof."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.typing import Array

__all__ = ["normalization"]


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
