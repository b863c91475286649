"""A derivative or a factor that is missing, taken twice, or another one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, SMALLEST
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.gradcheck.diagnosis.factors import (
    ENOUGH,
    Factors,
    candidates,
    equal_pairs,
    equal_products,
    equal_rows,
    make_factors,
    with_shape,
)
from minirnn.gradcheck.diagnosis.jacobians import (
    Explanation,
    normalized_rows,
    softmax_jacobian,
)
from minirnn.typing import Array

__all__ = ["wrong_derivative"]


def wrong_derivative(case: Case) -> Iterator[Prediction]:
    """Predict with factors f, g, made of the layer's arrays, ``analytic * f = numeric * g``.

    Looked for in gradients for single rows of the batch and single outputs, in which nothing is
    summed, so that each element is one product of the chain rule; and in each block of columns (of
    a gate) by itself. Every array is tried that forward was given, returned or kept, and every
    parameter.
    """
    experiments = list(_experiments(case))
    width = case.numeric.shape[-1] if case.numeric.ndim else 0
    sizes = {a.shape[-1] for _, _, arrays in experiments for a in arrays.values() if a.ndim > 1}
    blocks = [size for size in sorted(sizes, reverse=True) if size > 1 and width % size == 0]
    for size in dict.fromkeys([*blocks, width]):
        prediction = _in_blocks(experiments, size) if size else None
        if prediction is not None:
            yield prediction
            return


def _in_blocks(experiments: list[_Experiment], size: int) -> Prediction | None:
    """Return what explains every wrong block of columns of this size, in every experiment."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    ours, theirs = [], []
    for analytic, numeric, arrays in experiments:
        for block in _wrong_blocks(analytic, numeric, size):
            one = _explain(analytic[..., block], numeric[..., block], arrays)
            if one is None:
                return None
            kind, words, left, right = one
            everything = size == numeric.shape[-1]
            where = "" if everything else f"{block.start} to {block.stop - 1}"
            found.setdefault((kind, words), {})[where] = None
            ours.append(left.ravel())
            theirs.append(right.ravel())
    if not found:
        return None
    sentences = [
        words.replace("@", f" in columns {', '.join(columns)}" if any(columns) else "")
        for (_, words), columns in found.items()
    ]
    text = "looks like " + "; and ".join(sentences)
    kind = next(iter(found))[0]
    return Prediction(kind, text, np.concatenate(theirs), np.concatenate(ours))


_Experiment = tuple[Array, Array, dict[str, Array]]


def _experiments(case: Case) -> Iterator[_Experiment]:
    """Yield analytic and numeric gradients and the arrays, all with the same leading axes."""
    evidence, name = case.evidence, case.name
    several = len(evidence.shapes) > 1
    parts: list[int | None] = [*range(len(evidence.shapes))] if several else [None]
    for part in parts:
        if not case.is_parameter:
            one = evidence.only(part)
            pair = evidence.analytic(one)[name], evidence.numeric(name, one)
            yield *pair, with_shape(evidence, case.numeric.shape[:-1])
        elif evidence.sites:
            sites = evidence.sites
            weights = [evidence.only(part, site) for site in sites]
            middle = (1,) * (case.numeric.ndim - 1)
            shape = evidence.shapes[0][:-1]
            arrays = {
                label: array
                if array.ndim == 1
                else np.stack([array[site] for site in sites]).reshape(len(sites), *middle, -1)
                for label, array in with_shape(evidence, shape).items()
            }
            yield (
                np.stack([evidence.analytic(w)[name] for w in weights]),
                np.stack([evidence.numeric(name, w) for w in weights]),
                arrays,
            )


def _wrong_blocks(analytic: Array, numeric: Array, size: int) -> list[slice]:
    """Return the blocks of columns, of equal size, that are wrong."""
    blocks = [slice(k, k + size) for k in range(0, numeric.shape[-1], size)]
    scale = max(np.abs(analytic).max(), np.abs(numeric).max())
    gaps = [np.abs(analytic[..., b] - numeric[..., b]).max() for b in blocks]
    least = max(CLOSE * scale, SMALLEST)
    return [block for block, gap in zip(blocks, gaps, strict=True) if gap > least]


def _explain(analytic: Array, numeric: Array, arrays: dict[str, Array]) -> Explanation | None:
    """Return what makes two gradients equal, the simplest that does."""
    factors = make_factors(arrays, analytic.shape)
    explained = _one_factor(analytic, numeric, factors)
    if explained is None and analytic.size >= ENOUGH:
        explained = (
            softmax_jacobian(analytic, numeric, arrays)
            or normalized_rows(analytic, numeric, arrays)
            or _two_factors(analytic, numeric, factors)
            or _product_rule(analytic, numeric, arrays)
        )
    return explained


def _one_factor(analytic: Array, numeric: Array, factors: Factors) -> Explanation | None:
    """Find a derivative left out, taken twice, or of another function; or a factor left out."""
    a, n, f = analytic.ravel(), numeric.ravel(), factors.values
    left_out, twice = equal_rows(a * f, n[None]), equal_rows(a[None], n * f)
    for k in sorted({*left_out, *twice}):
        if not factors.named(k):
            continue
        if k in left_out:
            text = f"the derivative of {factors.named(k)} left out@: what backward gives, times "
            return "derivative", f"{text}{factors.words[k]}, is the truth", a * f[k], n
        if factors.named(k) != "relu":
            text = f"the derivative of {factors.named(k)} taken twice@: what backward gives is the "
            return "derivative", f"{text}truth times {factors.words[k]}", a, n * f[k]
    named = [k for k in range(len(f)) if factors.named(k)]
    for k, j in ((named[k], named[j]) for k, j in equal_pairs(a * f[named], n * f[named])):
        if j != k and factors.arrays[j] == factors.arrays[k]:
            text = f"the wrong derivative@: {factors.words[j]} where {factors.words[k]}, that of "
            return "derivative", f"{text}{factors.named(k)}, belongs", a * f[k], n * f[j]
    for k in left_out:
        text = f"a factor left out@: what backward gives, times {factors.words[k]}, is the truth"
        return "derivative", text, a * f[k], n
    return None


def _two_factors(analytic: Array, numeric: Array, factors: Factors) -> Explanation | None:
    """Find two factors left out, one too many, or one in the place of another."""
    some = [
        k
        for k, formula in enumerate(factors.formulas)
        if formula.name != "relu" and not formula.formula.startswith("1 / ")
    ]
    a, n, f = analytic.ravel(), numeric.ravel(), factors.values[some]
    words = [factors.words[k] for k in some]
    for k in equal_rows(a[None], n * f):
        text = f"a factor too many@: what backward gives is the truth times {words[k]}"
        return "derivative", text, a, n * f[k]
    for j, k in equal_pairs(a * f, n * f):
        if np.ptp(f[j] / f[k]) > 1e-3:
            text = f"the wrong factor@: {words[k]} where {words[j]} belongs"
            return "derivative", text, a * f[j], n * f[k]
    for j, k in equal_products(a, f, n):
        text = f"two factors left out@: what backward gives, times {words[j]} and {words[k]},"
        return "derivative", f"{text} is the truth", a * f[j] * f[k], n
    for j, k in equal_products(n, f, a):
        text = f"two factors too many@: what backward gives is the truth times {words[j]} and"
        return "derivative", f"{text} {words[k]}", a, n * f[j] * f[k]
    return None


def _product_rule(analytic: Array, numeric: Array, arrays: dict[str, Array]) -> Explanation | None:
    """Find a sum or a difference of two arrays of which one is left out."""
    found = list(candidates(arrays, analytic.shape))
    if not found:
        return None
    a, n = analytic.ravel(), numeric.ravel()
    stack = np.stack([s.ravel() for _, s in found])
    for k, (label, _) in enumerate(found):
        s = stack[k]
        for sign, totals in (("+", s + stack), ("-", s - stack), ("-", stack - s)):
            for other in equal_rows(a * totals, (n * s)[None]):
                if other != k:
                    text = (
                        f"a term of a product rule left out@: backward has {label} alone where "
                        f"{label} {sign} {found[other][0]} belongs"
                    )
                    return "term", text, a * totals[other], n * s
    return None
