"""Factors and terms that are missing, or others: products that explain a gradient.

Two arrays are laid side by side: what backward gives and the truth, or a gradient inside and what
is missing. Where the one times some factors is the other times others, element by element, a
relation says what the mistake is. The factors are made of the arrays that the layer has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, SMALLEST, same_rows
from minirnn.gradcheck.diagnosis.evidence import Case, Evidence, Prediction
from minirnn.gradcheck.diagnosis.factors import (
    ENOUGH,
    FORMULAS,
    Factor,
    factors_of,
    mixed_rows,
    with_shape,
)
from minirnn.typing import Array

_Relation = tuple[tuple[set[str], ...], Callable[..., tuple[Any, Any]], str, str]

_ALL = set(FORMULAS)
_ARRAY = {"{}"}
_SMOOTH = _ALL - {"({} > 0)"}
_SIMPLE = {"(1 - {}^2)", "{0} * (1 - {0})", "{}"}  # what terms of two factors are made of

# Each relation: which formulas its factors f and g may have, what stands beside the one array and
# beside the other, the kind of the mistake, and the words; {0} is f and {1} is g.
_FACTOR: list[_Relation] = [
    ((_ALL,), lambda f: (f, 1), "derivative",
     "{what} left out@: what backward gives, times {0}, is the truth"),
]  # fmt: skip
_BY_CHANCE: list[_Relation] = [  # they may fit a few numbers by chance
    ((_SMOOTH,), lambda f: (1, f), "derivative",
     "a factor too many, or a division left out@: what backward gives is the truth times {0}"),
    *[((_ARRAY, _ARRAY), beside, "term",
       "a term of a product rule left out@: backward has {0} alone where " + both + " belongs")
      for both, beside in [
          ("{0} + {1}", lambda f, g: (f + g, f)),
          ("{0} - {1}", lambda f, g: (f - g, f)),
          ("{1} - {0}", lambda f, g: (g - f, f)),
      ]],
    ((_SMOOTH, _SMOOTH), lambda f, g: (f, g), "derivative",
     "the wrong factor@: {1} where {0} belongs"),
]  # fmt: skip
_TERM: list[_Relation] = [
    ((_SIMPLE,), lambda f: (f, 1), "term", "a term left out: {base} * {0}"),
    ((_SIMPLE,), lambda f: (2 * f, 1), "term", "a term with the wrong sign: {base} * {0}"),
    ((_SIMPLE,), lambda f: (f - 1, 1), "derivative",
     "{what} left out of one term: {base} where {base} * {0} belongs"),
    ((_SIMPLE, _SIMPLE), lambda f, g: (f * g, 1), "term", "a term left out: {base} * {0} * {1}"),
    ((_SIMPLE, _SIMPLE), lambda f, g: (f * (g - 1), 1), "derivative",
     "{what} left out of one term: {base} * {0} where {base} * {0} * {1} belongs"),
]  # fmt: skip
_INCOMING: list[_Relation] = [
    ((_ARRAY,), lambda f: (1 - 1 / f, 1), "derivative",
     "a factor left out: backward begins with {base} where {base} * {0} belongs"),
]  # fmt: skip


def _fitting(
    relations: list[_Relation],
    one: Array,
    other: Array,
    gap: Array,
    factors: list[Factor],
    rows: Array,
    base: str = "",
) -> Iterator[tuple[str, str]]:
    """Yield kind and words of what makes `one`, with factors, the `other` with its factors.

    `one` is an array, or a matrix through which the factors become what it should be. The columns
    in which the gap is largest come first: there most guesses end.
    """
    formulas = [factor.formula for factor in factors]
    largest, vector = np.argsort(-np.abs(gap), axis=None), one.ndim == 1
    for choice, beside, kind, words in relations:
        indices = [np.flatnonzero([text in some for text in formulas]) for some in choice]
        fits = np.stack(np.meshgrid(*indices, indexing="ij")).reshape(len(choice), -1)
        for columns in (largest[:1], largest[:ENOUGH], largest):
            numbers = rows[:, columns] if vector else rows
            left, right = beside(*(numbers[k] for k in fits))
            ours = left * one[columns] if vector else left @ one[:, columns]
            fits = fits[:, same_rows(ours, other[columns] * right)]
        for pair in fits.T:
            left, right = beside(*rows[pair])
            if np.ptp(left / right) > 1e-3:  # else they say the same
                texts = [factors[k].text for k in pair]
                yield kind, words.format(*texts, what=factors[pair[-1]].what, base=base)


# ---------------------------------------------------------------- a factor, everywhere

_Experiment = tuple[Array, Array, dict[str, Array]]


def wrong_factor(case: Case) -> Iterator[Prediction]:
    """Say which factors, made of the layer's arrays, are the ratio of the gradient to the truth.

    Looked for in gradients for single rows of the batch and single outputs, in which nothing is
    summed, so that each element is one product of the chain rule; and in each block of columns (of
    a gate) by itself. Every array is tried that forward was given, returned or kept, and every
    parameter.
    """
    if not case.numeric.ndim:
        return
    experiments, width = list(_experiments(case)), case.numeric.shape[-1]
    sizes = {a.shape[-1] for _, _, arrays in experiments for a in arrays.values() if a.ndim > 1}
    blocks = [size for size in sorted(sizes, reverse=True) if size > 1 and width % size == 0]
    for size in dict.fromkeys([*blocks, width]):
        found = _in_blocks(experiments, size)
        if found:
            sentences = [
                text.replace("@", "" if size == width else f" in columns {', '.join(where)}")
                for (_, text), where in found.items()
            ]
            yield next(iter(found))[0], "; and ".join(sentences), case.analytic
            return


def _experiments(case: Case) -> Iterator[_Experiment]:
    """Yield analytic and numeric gradients and the arrays, all with the same leading axes."""
    evidence, name = case.evidence, case.name
    sites = list(np.ndindex(evidence.positions))[:12] if evidence.positions else []
    for part, weight in enumerate(evidence.weights):
        if not case.is_parameter:
            one = evidence.only(part)
            arrays = with_shape(evidence, case.numeric.shape[:-1])
            yield evidence.analytic(one)[name], evidence.numeric(name, one), arrays
        elif sites and weight.shape[:-1] == evidence.positions:
            shape = (len(sites), *(1,) * (case.numeric.ndim - 1), -1)
            arrays = {
                label: a if a.ndim == 1 else np.stack([a[site] for site in sites]).reshape(shape)
                for label, a in with_shape(evidence, evidence.positions).items()
            }
            analytic = [evidence.analytic(evidence.only(part, site))[name] for site in sites]
            shares = evidence.shares(name, part)
            yield np.stack(analytic), np.stack([shares[site] for site in sites]), arrays


def _in_blocks(experiments: list[_Experiment], size: int) -> dict[tuple[str, str], list[str]]:
    """Return what explains every wrong block of columns of this size, and of which blocks."""
    found: dict[tuple[str, str], list[str]] = {}
    for analytic, numeric, arrays in experiments:
        scale = max(np.abs(analytic).max(), np.abs(numeric).max())
        for start in range(0, numeric.shape[-1], size):
            ours, theirs = (a[..., start : start + size] for a in (analytic, numeric))
            if np.abs(ours - theirs).max() <= max(CLOSE * scale, SMALLEST):
                continue
            relations = [*_FACTOR, *_BY_CHANCE] if ours.size >= ENOUGH else _FACTOR
            flat, truth = ours.ravel(), theirs.ravel()
            made_of = factors_of(arrays, ours.shape)
            products = _fitting(relations, flat, truth, truth - flat, *made_of)
            first = next(chain(products, mixed_rows(ours, theirs, arrays)), None)
            if first is None:
                return {}
            columns, where = found.setdefault(first, []), f"{start} to {start + size - 1}"
            columns += [where] * (where not in columns)
    return found


# ---------------------------------------------------------------- a term of a sum


def wrong_term(case: Case) -> Iterator[Prediction]:
    """Say which term of a sum is wrong, as in product rules and peepholes.

    A term is a gradient (the incoming one, or that at a sum inside, seen through a bias) times one
    or two factors. It is left out, has the wrong sign or lacks a factor; in this gradient itself,
    or in the gradient on an output, from where it goes on as what comes in there does.
    """
    evidence, name = case.evidence, case.name
    gaps = {}
    for k in range(len(evidence.weights)):
        one = evidence.only(k)
        gap = evidence.numeric(name, one) - evidence.analytic(one)[name]
        if np.abs(gap).max() > SMALLEST:
            gaps[k] = gap.ravel()
    for relations, part, base, gradients in _bases(case, list(gaps)):
        shape = gradients[0].shape
        if len(shape) < 2 or min(case.numeric.size, math.prod(shape)) < ENOUGH:
            continue
        onward, place = np.eye(math.prod(shape)), ""
        if part is not None:
            onward = evidence.jacobian(name, part).reshape(len(onward), -1)
            place = f" in the gradient on new_state[{part - 1}]" if part else ""
        through = np.concatenate([g.reshape(-1, 1) * onward for g in gradients], axis=1)
        missing = np.concatenate([*gaps.values()])
        made_of = factors_of(with_shape(evidence, shape[:-1]), shape)
        for kind, said in _fitting(relations, through, missing, missing, *made_of, base):
            yield kind, f"{said}{place}", case.analytic


def _bases(
    case: Case, parts: list[int]
) -> Iterator[tuple[list[_Relation], int | None, str, list[Array]]]:
    """Yield what a term may begin with: its words, and one gradient for each output in `parts`.

    Before that come the relations to try, and the output (None for this gradient itself) in whose
    gradient the term stands.
    """
    evidence, weights = case.evidence, case.evidence.weights
    if len(parts) == 1:
        yield _INCOMING, parts[0], evidence.incoming(parts), [weights[parts[0]]]
    states = range(1, len(weights))
    for part in states if case.is_parameter else (None, *states):
        shape = case.numeric.shape if part is None else weights[part].shape
        if parts and all(weights[k].shape == shape for k in parts):
            words = evidence.incoming(parts)
            words = f"({words})" if len(parts) > 1 else words
            yield _TERM, part, words, [weights[k] for k in parts]
        for base, gradients in _inside(evidence, shape, parts):
            yield _TERM, part, base, gradients


def _inside(
    evidence: Evidence, shape: tuple[int, ...], parts: list[int]
) -> Iterator[tuple[str, list[Array]]]:
    """Yield the gradients at sums inside, of a row for each row of the batch: a bias shows them."""
    alike = all(evidence.weights[k].shape[:-1] == evidence.positions for k in parts)
    if not parts or not alike or not shape[:-1] == evidence.positions != ():
        return
    width = shape[-1]
    for name, parameter in evidence.function.parameters.items():
        if parameter.value.ndim == 1 and parameter.size % width == 0:
            shares = [evidence.shares(name, k) for k in parts]
            for start in range(0, parameter.size, width):
                index = "" if parameter.size == width else f"[{start}:{start + width}]"
                words = f"(the gradient of {name}{index} from each row)"
                yield words, [s[..., start : start + width] for s in shares]
