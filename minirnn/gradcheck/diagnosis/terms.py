"""Terms of sums: left out, with the wrong sign, or without one of their factors."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import SMALLEST
from minirnn.gradcheck.diagnosis.edits import EDITS
from minirnn.gradcheck.diagnosis.evidence import Case, Evidence, Prediction
from minirnn.gradcheck.diagnosis.factors import (
    ENOUGH,
    SIMPLE,
    Factor,
    factors_of,
    fitting,
    with_shape,
)
from minirnn.typing import Array

__all__ = ["wrong_term"]


def wrong_term(case: Case) -> Iterator[Prediction]:
    """Predict a wrong term of a sum, as in product rules and peepholes.

    A term is a gradient (the incoming one, or that at a sum inside, seen through a bias) times one
    or two factors that the layer has. It is left out or lacks a factor, or with one factor alone
    has the wrong sign or is counted twice; in this gradient itself, or in the gradient on a new
    state, from where it goes on as what comes in there does.
    """
    evidence, name = case.evidence, case.name
    gaps = {}
    for k in range(len(evidence.weights)):
        one = evidence.only(k)
        gap = case.truth(one) - evidence.analytic(one)[name]
        if np.abs(gap).max() > SMALLEST:
            gaps[k] = gap.ravel()
    places = [
        (f" in the gradient on the new state[{k}]", k + 1) for k in range(len(evidence.weights) - 1)
    ]
    for place, part in [("", None), *places] if not case.is_parameter else places:
        shape = case.numeric.shape if part is None else evidence.weights[part].shape
        if not gaps or len(shape) < 2 or min(case.numeric.size, math.prod(shape)) < ENOUGH:
            continue
        onward = np.eye(math.prod(shape))
        if part is not None:
            onward = evidence.jacobian(name, part).reshape(len(onward), -1)
        factors, rows = factors_of(with_shape(evidence, shape[:-1]), shape, SIMPLE)
        products, gap = list(_products(factors, rows)), np.concatenate([*gaps.values()])
        for words, bases in _bases(evidence, shape, list(gaps)):
            through = np.concatenate([base.reshape(-1, 1) * onward for base in bases], axis=1)
            for edit, used, missing, values in products:
                for fit in _giving(gap, values, through):
                    product = [words, *(factors[index[fit]].among_others for index in used)]
                    lacks = None if missing is None else factors[missing[fit]]
                    kind, said = _said(" * ".join(product), edit, lacks)
                    yield kind, f"{said}{place}", case.analytic


def _products(
    factors: list[Factor], rows: Array
) -> Iterator[tuple[str, list[Array], Array | None, Array]]:
    """Yield wrong terms of one or two factors, simple ones first, and what is missing of them.

    First how they are wrong, then indices of the factors that are used, and of one that is missing.
    Of a term ``u * v`` that lacks its factor v, what is missing is ``u * (v - 1)``.
    """
    j, k = np.indices((len(rows), len(rows))).reshape(2, -1)
    mixed = np.array([factor.text.startswith("1 - s with") for factor in factors], int)
    order = np.argsort(mixed[j] + mixed[k], kind="stable")
    j, k, every = j[order], k[order], np.arange(len(rows))
    left_out, *others = EDITS
    yield left_out, [every], None, rows
    for edit in others:
        yield edit, [every[mixed == 0]], None, EDITS[edit] * rows[mixed == 0]
    yield "", [], every, rows - 1
    yield left_out, [j[j <= k], k[j <= k]], None, (rows[j] * rows[k])[j <= k]
    yield "", [j[j != k]], k[j != k], (rows[j] * (rows[k] - 1))[j != k]


def _giving(gap: Array, values: Array, through: Array) -> Array:
    """Return for which values ``values @ through`` is the gap."""
    return fitting(lambda k, j: [values[k] @ through[:, j], gap[j]], len(values), gap)


def _said(product: str, edit: str, lacks: Factor | None) -> tuple[str, str]:
    """Return the kind and the sentence about a term, or about one that lacks a factor."""
    if lacks is None:
        return "term", f"a term {edit} {product}"
    what = f"the derivative of {lacks.name}" if lacks.name else "a factor"
    belongs = f"{product} * {lacks.among_others} belongs"
    return "derivative", f"{what} left out of one term: {product} where {belongs}"


def _bases(
    evidence: Evidence, shape: tuple[int, ...], parts: list[int]
) -> Iterator[tuple[str, list[Array]]]:
    """Yield what a term may begin with, for each output: its gradient, or that at a sum inside."""
    if all(evidence.weights[k].shape == shape for k in parts):
        words = " + ".join(map(evidence.incoming, parts))
        words = f"({words})" if len(parts) > 1 else words
        yield words, [evidence.weights[k] for k in parts]
    if not evidence.positions or shape[:-1] != evidence.positions:
        return
    width = shape[-1]
    alike = all(evidence.weights[k].shape[:-1] == evidence.positions for k in parts)
    for name, parameter in evidence.function.parameters.items() if alike else ():
        if parameter.value.ndim == 1 and parameter.size % width == 0:
            shares = [evidence.shares(name, k) for k in parts]
            for start in range(0, parameter.size, width):
                index = "" if parameter.size == width else f"[{start}:{start + width}]"
                words = f"(the gradient of {name}{index} from each row)"
                yield words, [s[..., start : start + width] for s in shares]
