"""A derivative or a factor that is missing, taken twice, or another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, SMALLEST
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.gradcheck.diagnosis.factors import (
    ENOUGH,
    candidates,
    equal_products,
    factors_of,
    with_shape,
)
from minirnn.gradcheck.diagnosis.jacobians import normalized_rows, softmax_jacobian
from minirnn.typing import Array

__all__ = ["wrong_derivative"]

_Experiment = tuple[Array, Array, dict[str, Array]]


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


def _experiments(case: Case) -> Iterator[_Experiment]:
    """Yield analytic and numeric gradients and the arrays, all with the same leading axes."""
    evidence, name = case.evidence, case.name
    several = len(evidence.shapes) > 1
    for part in range(len(evidence.shapes)) if several else [None]:
        if not case.is_parameter:
            one = evidence.only(part)
            pair = evidence.analytic(one)[name], evidence.numeric(name, one)
            yield *pair, with_shape(evidence, case.numeric.shape[:-1])
        elif evidence.sites:
            sites = evidence.sites
            weights = [evidence.only(part, site) for site in sites]
            middle = (1,) * (case.numeric.ndim - 1)
            arrays = {
                label: array
                if array.ndim == 1
                else np.stack([array[site] for site in sites]).reshape(len(sites), *middle, -1)
                for label, array in with_shape(evidence, evidence.shapes[0][:-1]).items()
            }
            analytic = np.stack([evidence.analytic(w)[name] for w in weights])
            yield analytic, np.stack([evidence.numeric(name, w) for w in weights]), arrays


def _in_blocks(experiments: list[_Experiment], size: int) -> Prediction | None:
    """Return what explains every wrong block of columns of this size, in every experiment."""
    columns: dict[tuple[str, str], dict[str, None]] = {}
    measured, predicted = [], []
    for analytic, numeric, arrays in experiments:
        scale = max(np.abs(analytic).max(), np.abs(numeric).max())
        for start in range(0, numeric.shape[-1], size):
            ours, theirs = (a[..., start : start + size] for a in (analytic, numeric))
            if np.abs(ours - theirs).max() <= max(CLOSE * scale, SMALLEST):
                continue
            one = _explained(ours, theirs, arrays)
            if one is None or one.measured is None:
                return None
            where = "" if size == numeric.shape[-1] else f"{start} to {start + size - 1}"
            columns.setdefault((one.kind, one.text), {})[where] = None
            measured.append(one.measured.ravel())
            predicted.append(one.gradient.ravel())
    if not columns:
        return None
    sentences = [
        text.replace("@", f" in columns {', '.join(where)}" if any(where) else "")
        for (_, text), where in columns.items()
    ]
    kind = next(iter(columns))[0]
    text = "looks like " + "; and ".join(sentences)
    return Prediction(kind, text, np.concatenate(predicted), np.concatenate(measured))


def _explained(analytic: Array, numeric: Array, arrays: dict[str, Array]) -> Prediction | None:
    """Return what makes two gradients equal, the simplest that does; ``@`` is for the place."""
    found = _factors(analytic, numeric, arrays, 1)
    if found is None and analytic.size >= ENOUGH:
        found = (
            softmax_jacobian(analytic, numeric, arrays)
            or normalized_rows(analytic, numeric, arrays)
            or _factors(analytic, numeric, arrays, 2)
            or _product_rule(analytic, numeric, arrays)
        )
    return found


# Each relation: what stands beside the analytic and beside the numeric gradient (0 and 1 are the
# first and the second factor of a pair, named ones are derivatives), and what it is called.
_RELATIONS = {
    1: [
        ("named", (0,), (), "the derivative of {name} left out@: what backward gives, times {0}, "
         "is the truth"),
        ("no relu", (), (0,), "the derivative of {name} taken twice@: what backward gives is the "
         "truth times {0}"),
        ("one array", (0,), (1,), "the wrong derivative@: {1} where {0}, that of {name}, belongs"),
        ("plain", (0,), (), "a factor left out@: what backward gives, times {0}, is the truth"),
        ("inverse", (0,), (), "a division left out, or a factor too many@: what backward gives, "
         "times {0}, is the truth"),
    ],
    2: [
        ("some", (), (0,), "a factor too many@: what backward gives is the truth times {0}"),
        ("pairs", (0,), (1,), "the wrong factor@: {1} where {0} belongs"),
        ("pairs", (0, 1), (), "two factors left out@: what backward gives, times {0} and {1}, is "
         "the truth"),
        ("pairs", (), (0, 1), "two factors too many@: what backward gives is the truth times {0} "
         "and {1}"),
    ],
}  # fmt: skip


def _factors(
    analytic: Array, numeric: Array, arrays: dict[str, Array], count: int
) -> Prediction | None:
    """Find factors left out, too many, or in the place of others."""
    factors, rows = factors_of(arrays, analytic.shape)
    a, n = analytic.ravel(), numeric.ravel()
    named = [k for k, f in enumerate(factors) if f.name]
    inverse = [k for k, f in enumerate(factors) if f.formula.text == "1 / {}"]
    some = [k for k, f in enumerate(factors) if f.name != "relu" and k not in inverse]
    both, labels = _pairs(named), np.array([factor.array for factor in factors])
    alike = (labels[both[0]] == labels[both[1]]) & (both[0] != both[1])
    choices = {
        "named": np.array([named], int),
        "no relu": np.array([[k for k in named if factors[k].name != "relu"]], int),
        "one array": both[:, alike],
        "plain": np.array([[k for k in range(len(factors)) if k not in inverse]], int),
        "inverse": np.array([inverse], int),
        "some": np.array([some], int),
        "pairs": _pairs(some),
    }
    for which, left, right, words in _RELATIONS[count]:
        chosen = choices[which]
        sides = [tuple(chosen[k] for k in side) for side in (left, right)]
        for fit in equal_products(a, sides[0], n, sides[1], rows):
            ours, theirs = (np.prod([rows[one[fit]] for one in side], axis=0) for side in sides)
            if left and right and not np.ptp(ours / theirs) > 1e-3:
                continue  # they say the same
            pair = [factors[k] for k in chosen[:, fit]]
            text = words.format(*pair, name=pair[0].name)
            return Prediction("derivative", text, n * theirs, a * ours)
    return None


def _pairs(of: Sequence[int]) -> Array:
    """Return every pair of numbers, as two rows."""
    return np.stack([np.repeat(np.array(of, int), len(of)), np.tile(np.array(of, int), len(of))])


def _product_rule(analytic: Array, numeric: Array, arrays: dict[str, Array]) -> Prediction | None:
    """Find a sum or a difference of two arrays of which one is left out."""
    found = list(candidates(arrays, analytic.shape))
    if not found:
        return None
    stack = np.stack([s.ravel() for _, s in found])
    j, k = _pairs(range(len(found)))
    rows = np.concatenate([stack, stack[j] + stack[k], stack[j] - stack[k], stack[k] - stack[j]])
    a, n = analytic.ravel(), numeric.ravel()
    whole, one, other = np.arange(len(stack), len(rows)), np.tile(j, 3), np.tile(k, 3)
    for fit in equal_products(a, (whole,), n, (one,), rows):
        if one[fit] != other[fit]:
            label, second = found[one[fit]][0], found[other[fit]][0]
            words = ("{0} + {1}", "{0} - {1}", "{1} - {0}")[fit // len(j)].format(label, second)
            text = f"a term of a product rule left out@: backward has {label} alone where {words}"
            ours, theirs = a * rows[whole[fit]], n * rows[one[fit]]
            return Prediction("term", f"{text} belongs", theirs, ours)
    return None
