"""Gradients that are right but for a constant factor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, same
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.gradcheck.function import RefusedError

__all__ = ["any_factor", "named_factor"]


def _factor(case: Case) -> float | None:
    """Return the factor that fits best wherever the gradient is wrong."""
    a, n = case.analytic[case.wrong], case.numeric[case.wrong]
    q = float(a @ n / (n @ n)) if np.any(n) else 0.0
    return q if q != 0 and same(a, q * n) else None


def named_factor(case: Case) -> Iterator[Prediction]:
    """Predict a factor that has a name: -1, 2, 1/2, or a size such as that of the batch.

    Where it may be the batch size, backward is run again with the batch twice as large.
    """
    q = _factor(case)
    if q is None:
        return
    if abs(q + 1) < CLOSE:
        text = f"looks like a wrong sign{case.where}: backward gives -1 times the truth"
        yield Prediction("factor", text, case.but(-case.numeric))
        return
    names = [
        words.format(name)
        for name, size in _sizes(case).items()
        for words, value in _named_values(size)
        if abs(abs(q) - value) < CLOSE * value
    ]
    plain = any(min(abs(abs(q) - k), abs(abs(q) - 1 / k)) < CLOSE for k in (2, 3, 4))
    text = f"backward gives {q:.6g} times the truth{case.where}"
    by_batch = [name for name in names if "batch" in name and "ddof" not in name]
    if by_batch and case.wrong.all():
        doubled = _with_twice_the_batch(case)
        if doubled is not None and abs(doubled / q - 1) < CLOSE:
            names = [name for name in names if name not in by_batch]
        elif doubled is not None:
            names = by_batch
            text += f", and {doubled:.6g} times with twice the batch"
            if abs(doubled / q - 0.5) < CLOSE and case.is_parameter and _others_right(case):
                mean = f"looks like a mean over the batch where a sum belongs: {text}"
                text = f"{mean} ({' = '.join(names)})"
                yield Prediction("not summed", text, case.but(q * case.numeric))
                return
    if names or plain:
        named = f" ({' = '.join(names)})" if names else ""
        text = f"looks like a constant factor: {text}{named}"
        yield Prediction("factor", text, case.but(q * case.numeric))


def _named_values(size: int) -> Iterator[tuple[str, float]]:
    yield "{}", size
    yield "1 / {}", 1 / size
    if size > 2:  # a standard deviation, and its square
        for power, words in [(0.5, "sqrt(n / (n - 1))"), (1, "n / (n - 1)")]:
            said = f"{words} with n = {{}}, as ddof=1 and ddof=0 differ"
            yield said, (size / (size - 1)) ** power
            yield f"1 / {said}", ((size - 1) / size) ** power


def any_factor(case: Case) -> Iterator[Prediction]:
    """Predict any factor, the same in three wrong elements or more, from several rows."""
    q = _factor(case)
    n = case.numeric[case.wrong]
    if q is None or (np.abs(n) > 1e-3 * np.abs(n).max()).sum() < 3 or case.evidence.batch < 2:
        return  # of a single row, many a thing is a multiple
    text = f"looks like a constant factor: backward gives {q:.6g} times the truth{case.where}"
    yield Prediction("factor", text, case.but(q * case.numeric))


def _sizes(case: Case) -> dict[str, int]:
    evidence = case.evidence
    batch, time, x = evidence.batch, evidence.time, evidence.function.x
    found = {"the batch size": batch}
    if time is not None:
        found |= {"the number of steps": time, "batch size times steps": batch * time}
    if evidence.is_loss:
        found |= {
            "the number of elements of the batch": x.size,
            "the number of outputs": x.shape[-1],
        }
        if "mask" in evidence.function.given:
            valid = int(evidence.function.given["mask"].sum())
            found["the number of valid steps of the batch"] = valid
    elif x.ndim > 1:
        found["the number of features"] = x.shape[-1]
    return {name: size for name, size in found.items() if size > 1}


def _with_twice_the_batch(case: Case) -> float | None:
    """Return the factor for the same inputs, each row of them twice."""
    evidence = case.evidence
    function = evidence.function
    double = function.similar(**{k: np.concatenate([a, a]) for k, a in function.given.items()})
    try:
        double.fresh_outputs()
    except RefusedError:
        return None
    if not evidence.is_loss:
        if any(len(w) != 2 * len(o) for w, o in zip(double.weights, evidence.weights, strict=True)):
            return None
        # With the same weights for both copies, the truth is twice what it was (in a parameter),
        # or the same twice (in the input).
        double.weights = [np.concatenate([w, w]) for w in evidence.weights]
    else:
        double.weights = evidence.weights
    got = double.gradients(start=0.0)[case.name]
    if case.is_parameter:
        true = 2 * case.numeric
    else:
        true = np.concatenate([case.numeric, case.numeric]) / (2 if evidence.is_loss else 1)
    q = float(np.vdot(got, true) / np.vdot(true, true))
    return q if q and same(got, q * true) else None


def _others_right(case: Case) -> bool:
    return case.evidence.is_right("input") if "input" in case.evidence.measurements else True
