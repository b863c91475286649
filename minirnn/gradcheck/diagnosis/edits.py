"""The true gradient, edited: zero, in another order, another one's, or times a number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, same
from minirnn.gradcheck.diagnosis.evidence import Case, Prediction, cases
from minirnn.typing import Array

__all__ = [
    "EDITS",
    "block_transpose",
    "constant_factor",
    "edited",
    "in_padding",
    "mixed_up",
    "not_finite",
    "nothing",
    "permuted_gates",
    "transposed",
]

EDITS = {
    "left out: what is missing is exactly": 1,
    "with the wrong sign: what is subtracted, and should be added, is exactly": 2,
    "counted twice: what is there once too often is exactly": -1,
}
"""What may be wrong with a term of the true gradient, and how often it is missing then."""


def edited(case: Case, place: str, term: Array) -> Iterator[Prediction]:
    """Predict a term left out, with the wrong sign, or counted twice; `place` says which it is."""
    for edit, times in EDITS.items():
        yield "path", f"a path {edit} {place}", case.numeric - times * term


def not_finite(case: Case) -> Iterator[Prediction]:
    """Say how many numbers are NaN or infinite, and where they begin to be."""
    ours, theirs = (int((~np.isfinite(a)).sum()) for a in (case.analytic, case.numeric))
    text = (
        f"a forward that gives NaN or infinity: the number itself is not finite when {theirs} of "
        f"{case.numeric.size} elements are moved. Correct forward first"
    )
    if not theirs:
        text = (
            f"a division by zero, a logarithm of 0 or an overflow in backward: {ours} of "
            f"{case.analytic.size} numbers are NaN or infinite, while the true gradient is finite"
        )
    if ours or theirs:
        yield "nan", text, case.analytic


def nothing(case: Case) -> Iterator[Prediction]:
    """Predict all zeros, or zeros in a part."""
    size = f"the true one goes up to {np.abs(case.numeric[case.wrong]).max():.3g}"
    if case.where:
        text = f"a part left out: it is zero{case.where}, the true one is not"
    elif case.name.startswith("state["):
        text = (
            f"a state gradient that is not handed back: backward gives zeros ({size}), so over "
            f"time nothing reaches the earlier steps"
        )
    else:
        gives = "adds nothing to it" if case.is_parameter else "gives all zeros"
        text = f"a gradient that is missing: backward {gives} ({size})"
    yield "missing", text, case.but(0.0)


def in_padding(case: Case) -> Iterator[Prediction]:
    """Predict a gradient on masked steps, where the truth is zero, and nowhere else."""
    mask = case.evidence.function.given.get("mask")
    if mask is None or case.wrong.shape[:2] != mask.shape or case.is_parameter:
        return
    text = (
        f"a mask that backward forgets: the gradient on masked steps goes up to "
        f"{np.abs(case.analytic[~mask]).max(initial=0.0):.3g} where it should be 0; the valid "
        f"steps are right"
    )
    if not np.any(case.numeric[~mask]):
        predicted = case.numeric.copy()
        predicted[~mask] = case.analytic[~mask]
        yield "mask", text, predicted


def transposed(case: Case) -> Iterator[Prediction]:
    """Predict the transpose, of all or of each gate's square block."""
    shape = case.numeric.shape
    if len(shape) != 2 or min(shape) < 2 or not case.is_parameter:
        return
    blocks = "" if shape[0] == shape[1] else f" (each of its {shape[1] // shape[0]} blocks)"
    text = (
        f"a transposed gradient{blocks}: what backward gives is the transpose of the truth; for "
        f"y = x @ W it is x.T @ grad, not grad.T @ x"
    )
    yield "transposed", text, block_transpose(case.numeric)


def block_transpose(array: Array) -> Array:
    """Return the transpose of each square block of an array (n, k n); zeros for other shapes."""
    rows, columns = array.shape
    if columns % rows:
        return np.zeros_like(array)
    blocks = np.split(array, columns // rows, axis=1)
    return np.concatenate([block.T for block in blocks], axis=1)


def mixed_up(case: Case) -> Iterator[Prediction]:
    """Predict the gradient of another array."""
    for name, other in case.evidence.measurements.items():
        if name == case.name or case.numeric.size < 2 or other.numeric.shape != case.numeric.shape:
            continue
        if case.numeric.ndim > 1 or name in case.evidence.failed:  # a factor tells more
            text = f"two gradients mixed up: backward gives the one that belongs to {name}"
            yield "mixed up", text, other.numeric


def permuted_gates(case: Case) -> Iterator[Prediction]:
    """Predict the blocks of the gates in another order."""
    width = case.numeric.shape[-1] if case.is_parameter and case.numeric.ndim else 0
    for count in range(2, min(width, 8) + 1):
        if width % count or case.numeric.size // count < 2:
            continue
        ours, truths = (np.split(a, count, axis=-1) for a in (case.analytic, case.numeric))
        order = [next((k for k in range(count) if same(a, truths[k])), -1) for a in ours]
        if sorted(order) != [*range(count)]:
            continue
        starts = np.arange(0, width, width // count)
        columns = [f"columns {k} to {k + width // count - 1}" for k in starts]
        pairs = [(columns[k], columns[j]) for k, j in enumerate(order) if j != k]
        moved = ", ".join(f"{one} hold what belongs into {other}" for one, other in pairs)
        text = (
            f"gate blocks in another order than in forward: {moved}. Put the gradients side by "
            f"side in the order in which forward splits the gates"
        )
        yield "gate order", text, np.concatenate([truths[k] for k in order], axis=-1)


# ---------------------------------------------------------------- a constant factor


def constant_factor(case: Case) -> Iterator[Prediction]:
    """Predict the same factor everywhere; of one that has no name, in several elements and rows.

    Where it may be the batch size, the check is repeated with the batch twice as large.
    """
    q, n = _factor(case), case.numeric[case.wrong]
    if q is None:
        return
    predicted = case.but(q * case.numeric)
    if abs(q + 1) < CLOSE:
        text = f"a wrong sign{case.where}: backward gives -1 times the truth"
        yield "factor", text, predicted
        return
    names = _names(case, abs(q))
    text = f"backward gives {q:.6g} times the truth{case.where}"
    by_batch = [name for name in names if "batch" in name and "ddof" not in name]
    if by_batch and case.wrong.all():
        doubled = _with_twice_the_batch(case) or q
        changes = abs(doubled / q - 1) > CLOSE
        names = by_batch if changes else [name for name in names if name not in by_batch]
        if changes:
            text += f", and {doubled:.6g} times with twice the batch"
        alone = case.is_parameter and "input" not in case.evidence.failed
        if abs(doubled / q - 0.5) < CLOSE and alone:
            text = f"a mean over the batch where a sum belongs: {text} ({' = '.join(names)})"
            yield "not summed", text, predicted
            return
    plain = any(min(abs(abs(q) - k), abs(abs(q) - 1 / k)) < CLOSE for k in (2, 3, 4))
    several = (np.abs(n) > 1e-3 * np.abs(n).max()).sum() > 2 and case.evidence.batch > 1
    if names or plain or several:  # of a single row, many a thing is a multiple
        named = f" ({' = '.join(names)})" if names else ""
        yield "factor", f"a constant factor: {text}{named}", predicted


def _factor(case: Case) -> float | None:
    """Return the factor that fits best wherever the gradient is wrong."""
    a, n = case.analytic[case.wrong], case.numeric[case.wrong]
    q = float(a @ n / (n @ n)) if np.any(n) else 0.0
    return q if q != 0 and same(a, q * n) else None


def _names(case: Case, q: float) -> list[str]:
    """Return what a factor may be called: a size, one over it, or what a standard deviation has."""
    evidence, x = case.evidence, case.evidence.function.x
    time, mask = evidence.time or 1, evidence.function.given.get("mask")
    sizes = {
        "the batch size": evidence.batch,
        "the number of steps": time,
        "batch size times steps": evidence.batch * time if time > 1 else 1,
        "the number of elements of the batch": x.size if evidence.is_loss else 1,
        "the number of outputs": x.shape[-1] if evidence.is_loss else 1,
        "the number of features": x.shape[-1] if x.ndim > 1 and not evidence.is_loss else 1,
    }
    if evidence.is_loss and mask is not None:
        sizes["the number of valid steps of the batch"] = int(mask.sum())
    named = []
    for name, n in sizes.items():
        values = {name: n}
        if n > 2:
            ddof = f"with n = {name}, as ddof=1 and ddof=0 differ"
            values |= {f"n / (n - 1) {ddof}": n / (n - 1)}
            values |= {f"sqrt(n / (n - 1)) {ddof}": (n / (n - 1)) ** 0.5}
        for words, value in values.items() if n > 1 else ():
            named += [words] * (abs(q - value) < CLOSE * value)
            named += [f"1 / {words}"] * (abs(q * value - 1) < CLOSE)
    return named


def _with_twice_the_batch(case: Case) -> float | None:
    """Return the factor for the same inputs, each row of them twice."""
    given = case.evidence.function.given
    double = case.evidence.again(**{k: np.concatenate([a, a]) for k, a in given.items()})
    found = [] if double is None else [c for c in cases(double) if c.name == case.name]
    return _factor(found[0]) if found else None
