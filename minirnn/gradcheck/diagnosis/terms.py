"""Terms of sums: left out, without one of their factors, or a factor of what comes in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minirnn.gradcheck.arrays import SMALLEST
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.gradcheck.diagnosis.factors import (
    ENOUGH,
    SIMPLE,
    candidates,
    equal_rows,
    make_factors,
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
        terms = _terms(evidence, shape)
        jacobian = None if part is None else evidence.jacobian_of(part, name)
        for words, bases in _bases(evidence, shape, list(gaps)):
            if jacobian is None:
                through = {k: np.diag(base.ravel()) for k, base in bases.items()}
            else:
                through = {k: base.reshape(-1, 1) * jacobian for k, base in bases.items()}
            fits, values = np.arange(len(terms.words)), terms.values
            for k, gap in gaps.items():
                flat, largest = gap.reshape(1, -1), np.argsort(-np.abs(gap), axis=None)[:ENOUGH]
                for some in (largest, slice(None)):  # most candidates end at the largest
                    good = equal_rows(values @ through[k][:, some], flat[:, some])
                    fits, values = fits[good], values[good]
            for fit, term in zip(fits, values, strict=True):
                kind, said = terms.said(int(fit), words)
                text = f"looks like {said}{place}"
                wrong = sum(term @ through[k] for k in gaps).reshape(case.numeric.shape)
                yield Prediction(kind, text, case.numeric - wrong)


@dataclass(frozen=True)
class _Terms:
    """Products of factors that may be missing, as rows; and of those of which one is missing."""

    words: list[tuple[str, str]]
    named: dict[str, str]
    values: Array

    def said(self, k: int, base: str) -> tuple[str, str]:
        """Return the kind and the sentence about row k, for terms that begin with `base`."""
        used, left_out = self.words[k]
        if not left_out:
            return "term", f"a term left out: what is missing is exactly {' * '.join([base, used])}"
        has = " * ".join(word for word in (base, used) if word)
        what = f"the derivative of {self.named[left_out]}" if left_out in self.named else "a factor"
        text = f"{what} left out of one term: {has} where {has} * {left_out} belongs"
        return "derivative", text


def _terms(evidence: Evidence, shape: tuple[int, ...]) -> _Terms:
    """Return all terms of up to two factors for gradients of this shape, the simple ones first."""
    if shape not in evidence.terms:
        factors = make_factors(with_shape(evidence, shape[:-1]), shape, SIMPLE)
        f, one = factors.values, range(len(factors.values))
        names = [factors.inside(k) for k in one]
        mixed = ["1 - " in name and not factors.named(k) for k, name in enumerate(names)]
        pairs = sorted(
            ((j, k) for j in one for k in one), key=lambda pair: mixed[pair[0]] + mixed[pair[1]]
        )
        two = [(j, k) for j, k in pairs if j <= k]
        both = [(j, k) for j, k in pairs if j != k]
        words = [(names[k], "") for k in one] + [("", names[k]) for k in one]
        words += [(f"{names[j]} * {names[k]}", "") for j, k in two]
        words += [(names[j], names[k]) for j, k in both]
        values = [f, f - 1, *(f[[pair[0] for pair in two]] * f[[pair[1] for pair in two]],)]
        values += [f[[j for j, _ in both]] * (f[[k for _, k in both]] - 1)]
        named = {names[k]: factors.named(k) for k in one if factors.named(k)}
        evidence.terms[shape] = _Terms(words, named, np.concatenate(values))
    found: _Terms = evidence.terms[shape]
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
