"""A derivative or a factor that is missing, taken twice, or another one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, SMALLEST
from minirnn.gradcheck.diagnosis.evidence import Case, Prediction
from minirnn.gradcheck.diagnosis.factors import ENOUGH, Factor, factors_of, fitting, with_shape
from minirnn.gradcheck.diagnosis.jacobians import mixed_rows
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
        found = _in_blocks(experiments, size) if size else {}
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
            yield evidence.analytic(one)[name], case.truth(one), arrays
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
            factors, rows = factors_of(arrays, ours.shape)
            first = next(
                chain(
                    _factors(ours.ravel(), theirs.ravel(), factors, rows),
                    mixed_rows(ours, theirs, arrays),
                ),
                None,
            )
            if first is None:
                return {}
            columns, where = found.setdefault(first, []), f"{start} to {start + size - 1}"
            columns += [where] * (where not in columns)
    return found


# Each relation: what stands beside the analytic and beside the numeric gradient (0 and 1 are the
# first and the second factor of a choice), and what it is called.
_RELATIONS = [
    ("named", (0,), (), "the derivative of {name} left out@: what backward gives, times {0}, is "
     "the truth"),
    ("no relu", (), (0,), "the derivative of {name} taken twice@: what backward gives is the truth "
     "times {0}"),
    ("one array", (0,), (1,), "the wrong derivative@: {1} where {0}, that of {name}, belongs"),
    ("plain", (0,), (), "a factor left out@: what backward gives, times {0}, is the truth"),
    ("inverse", (0,), (), "a division left out, or a factor too many@: what backward gives, times "
     "{0}, is the truth"),
    # these may fit a few numbers by chance
    ("some", (), (0,), "a factor too many@: what backward gives is the truth times {0}"),
    ("pairs", (0,), (1,), "the wrong factor@: {1} where {0} belongs"),
    ("pairs", (0, 1), (), "two factors left out@: what backward gives, times {0} and {1}, is the "
     "truth"),
    ("pairs", (), (0, 1), "two factors too many@: what backward gives is the truth times {0} and "
     "{1}"),
    ("sums", (0,), (1,), "a term of a product rule left out@: backward has {1} alone where {0} "
     "belongs"),
]  # fmt: skip


def _factors(a: Array, n: Array, factors: list[Factor], rows: Array) -> Iterator[tuple[str, str]]:
    """Find factors left out, too many, or in the place of others; or of a sum of two, one alone."""
    named = np.array([factor.name > "" for factor in factors], bool)
    relu = np.array([factor.name == "relu" for factor in factors], bool)
    inverse = np.array([factor.text.startswith("1 / ") for factor in factors], bool)
    plain = np.array([factor.text == factor.array for factor in factors], bool)
    both, labels = _pairs(named), np.array([factor.array for factor in factors])
    one, other = (index[np.not_equal(*_pairs(plain))] for index in _pairs(plain))
    sums = {
        "{0} + {1}": rows[one] + rows[other],
        "{0} - {1}": rows[one] - rows[other],
        "{1} - {0}": rows[other] - rows[one],
    }
    texts, single = [factor.text for factor in factors], len(rows)
    texts += [
        form.format(texts[j], texts[k]) for form in sums for j, k in zip(one, other, strict=True)
    ]
    rows = np.concatenate([rows, *sums.values()])
    choices = {
        "named": _those(named),
        "no relu": _those(named & ~relu),
        "one array": both[:, (labels[both[0]] == labels[both[1]]) & (both[0] != both[1])],
        "plain": _those(~inverse),
        "inverse": _those(inverse),
        "some": _those(~relu & ~inverse),
        "pairs": _pairs(~relu & ~inverse),
        "sums": np.stack([np.arange(single, len(rows)), np.tile(one, len(sums))]),
    }
    for which, left, right, words in _RELATIONS if a.size >= ENOUGH else _RELATIONS[:5]:
        chosen = choices[which]
        sides = [tuple(chosen[k] for k in side) for side in (left, right)]
        for fit in _equal_products(a, sides[0], n, sides[1], rows):
            pair = chosen[:, fit]
            if left and right and not np.ptp(rows[pair[0]] / rows[pair[1]]) > 1e-3:
                continue  # they say the same
            name = "" if which == "sums" else factors[pair[0]].name
            kind = "term" if which == "sums" else "derivative"
            yield kind, words.format(*(texts[k] for k in pair), name=name)


def _equal_products(
    a: Array, left: tuple[Array, ...], n: Array, right: tuple[Array, ...], rows: Array
) -> Array:
    """Return where ``a * rows[left] = n * rows[right]``; all rows of a tuple are multiplied."""

    def sides(fits: Array, columns: Array) -> list[Array]:
        return [
            np.prod([rows[np.ix_(index[fits], columns)] for index in side], axis=0) * base[columns]
            for base, side in ((a, left), (n, right))
        ]

    return fitting(sides, len((left + right)[0]), a - n)


def _those(chosen: Array) -> Array:
    return np.flatnonzero(chosen)[None]


def _pairs(chosen: Array) -> Array:
    """Return every pair of the chosen, as two rows."""
    return np.stack(np.meshgrid(*2 * [np.flatnonzero(chosen)], indexing="ij")).reshape(2, -1)
