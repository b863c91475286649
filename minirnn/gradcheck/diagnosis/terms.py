"""Terms of sums: left out, without one of their factors, or a factor of what comes in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minirnn.gradcheck.arrays import SMALLEST, same_rows
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.gradcheck.diagnosis.factors import (
    ENOUGH,
    SIMPLE,
    Factor,
    candidates,
    factors_of,
    with_shape,
)
from minirnn.typing import Array

__all__ = ["factor_of_the_incoming", "missing_term"]


def factor_of_the_incoming(case: Case) -> Iterator[Prediction]:
    """Predict a factor of the output, such as a gain, left out of the incoming gradient.

    Backward is linear in that gradient, so with a factor s left out it gives what would be right
    for ``grad / s``.
    """
    evidence = case.evidence
    for part, weight in enumerate(evidence.weights):
        if weight.ndim < 2 or weight.size < ENOUGH:
            continue
        name = evidence.incoming_name(part)
        for label, s in candidates(with_shape(evidence, weight.shape[:-1]), weight.shape):
            if np.ptp(s) < 1e-3 or not np.all(s):
                continue
            weights = list(evidence.weights)
            for words, changed in (
                (f"left out: backward begins with {name} where {name} * {label}", weight / s),
                (f"too many: backward begins with {name} * {label} where {name} alone", weight * s),
            ):
                weights[part] = changed
                text = f"looks like a factor {words} belongs"
                yield Prediction("derivative", text, evidence.numeric(case.name, weights))
            if s.shape == case.numeric.shape and not case.is_parameter:
                text = (
                    f"looks like the incoming {name} times {label} and no more: the derivative of "
                    f"the rest of the layer is missing"
                )
                yield Prediction("incoming", text, s * weight)


def missing_term(case: Case) -> Iterator[Prediction]:
    """Predict a term of a sum left out, or a factor of it, as in product rules and peepholes.

    A term is a gradient (the incoming one, or that at a sum inside, seen through a bias) times one
    or two factors that the layer has. It is missing in this gradient itself, or in the gradient on
    a new state, from where it goes on as what comes in there does.
    """
    if case.numeric.size < ENOUGH:
        return
    evidence, name = case.evidence, case.name
    parts = range(len(evidence.weights))
    gaps = {k: evidence.numeric(name, evidence.only(k)) for k in parts}
    gaps = {k: gap - evidence.analytic(evidence.only(k))[name] for k, gap in gaps.items()}
    gaps = {k: gap for k, gap in gaps.items() if np.abs(gap).max() > SMALLEST}
    places: list[tuple[str, tuple[int, ...], int | None]] = []
    if not case.is_parameter:
        places.append(("", case.numeric.shape, None))
    states = evidence.shapes[1:]
    places += [(f" in the gradient on the new state[{k}]", s, k + 1) for k, s in enumerate(states)]
    for place, shape, part in places:
        if not gaps or len(shape) < 2 or math.prod(shape) < ENOUGH:
            continue
        terms, values = _terms(evidence, shape)
        jacobian = None if part is None else evidence.jacobian_of(part, name)
        for words, bases in _bases(evidence, shape, list(gaps)):
            if jacobian is None:
                through = {k: np.diag(base.ravel()) for k, base in bases.items()}
            else:
                through = {k: base.reshape(-1, 1) * jacobian for k, base in bases.items()}
            fits, left = np.arange(len(terms)), values
            for k, gap in gaps.items():
                largest = np.argsort(-np.abs(gap), axis=None)[:ENOUGH]
                for some in (largest[:1], largest, slice(None)):  # most candidates end at once
                    good = same_rows(left @ through[k][:, some], gap.ravel()[some])
                    fits, left = fits[good], left[good]
            for fit in fits:
                kind, said = terms[fit].said(words)
                wrong = sum(values[fit] @ through[k] for k in gaps).reshape(case.numeric.shape)
                yield Prediction(kind, f"looks like {said}{place}", case.numeric - wrong)


class _Term(NamedTuple):
    """A product of up to two factors; or one of which the last factor is missing."""

    used: tuple[Factor, ...]
    missing: Factor | None

    def said(self, base: str) -> tuple[str, str]:
        """Return the kind and the sentence about a term that begins with `base`."""
        used = " * ".join([base, *(factor.in_a_product for factor in self.used)])
        if self.missing is None:
            return "term", f"a term left out: what is missing is exactly {used}"
        name, left_out = self.missing.name, self.missing.in_a_product
        what = f"the derivative of {name}" if name else "a factor"
        text = f"{what} left out of one term: {used} where {used} * {left_out} belongs"
        return "derivative", text


def _terms(evidence: Evidence, shape: tuple[int, ...]) -> tuple[list[_Term], Array]:
    """Return the terms of one or two factors of this shape, and their numbers; simple ones first.

    What is missing of a term ``u * v`` that lacks its factor v is ``u * (v - 1)``.
    """
    if shape not in evidence.terms:
        factors, f = factors_of(with_shape(evidence, shape[:-1]), shape, SIMPLE)
        one = range(len(factors))
        mixed = [factor.formula.text == "1 - {}" for factor in factors]
        pairs = sorted(((j, k) for j in one for k in one), key=lambda p: mixed[p[0]] + mixed[p[1]])
        terms = [_Term((factor,), None) for factor in factors]
        terms += [_Term((), factor) for factor in factors]
        terms += [_Term((factors[j], factors[k]), None) for j, k in pairs if j <= k]
        terms += [_Term((factors[j],), factors[k]) for j, k in pairs if j != k]
        whole = np.array([pair for pair in pairs if pair[0] <= pair[1]], int).reshape(-1, 2).T
        lacking = np.array([pair for pair in pairs if pair[0] != pair[1]], int).reshape(-1, 2).T
        values = [f, f - 1, f[whole[0]] * f[whole[1]], f[lacking[0]] * (f[lacking[1]] - 1)]
        evidence.terms[shape] = terms, np.concatenate(values)
    found: tuple[list[_Term], Array] = evidence.terms[shape]
    return found


def _bases(
    evidence: Evidence, shape: tuple[int, ...], parts: list[int]
) -> Iterator[tuple[str, dict[int, Array]]]:
    """Yield what a term may begin with, for each output: its gradient, or that at a sum inside."""
    if all(evidence.weights[k].shape == shape for k in parts):
        words = " + ".join(map(evidence.incoming_name, parts))
        words = f"({words})" if len(parts) > 1 else words
        yield words, {k: evidence.weights[k] for k in parts}
    sites = list(np.ndindex(shape[:-1]))
    if shape[:-1] != evidence.shapes[0][:-1] or len(sites) > 64:
        return
    width = shape[-1]
    for name, parameter in evidence.function.parameters.items():
        if parameter.value.ndim != 1 or parameter.size % width:
            continue
        shares = {
            k: np.stack([evidence.numeric(name, evidence.only(k, s)) for s in sites]) for k in parts
        }
        for start in range(0, parameter.size, width):
            index = "" if parameter.size == width else f"[{start}:{start + width}]"
            words = f"(the gradient of {name}{index} from each row)"
            yield words, {k: s[:, start : start + width].reshape(shape) for k, s in shares.items()}
