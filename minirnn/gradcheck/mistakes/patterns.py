"""Mistakes that show in the numbers of one gradient alone."""

from __future__ import annotations

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, same
from minirnn.gradcheck.mistakes.case import Case, Finding
from minirnn.typing import Array

__all__ = [
    "any_factor",
    "in_padding",
    "incoming",
    "mixed_up",
    "named_factor",
    "not_finite",
    "nothing",
    "transposed",
]


def not_finite(case: Case) -> Finding | None:
    """Find NaN or infinity. Evidence: counted."""
    ours, theirs = ~np.isfinite(case.analytic), ~np.isfinite(case.numeric)
    if theirs.any():
        return "nan", (
            "looks like a forward that gives NaN or infinity: the number itself is not finite when "
            f"{int(theirs.sum())} of {theirs.size} elements are moved. Mend forward first"
        )
    if ours.any():
        return "nan", (
            f"looks like a division by zero, a logarithm of 0 or an overflow in backward: "
            f"{int(ours.sum())} of {ours.size} numbers are NaN or infinite, while the true "
            f"gradient is finite"
        )
    return None


def nothing(case: Case) -> Finding | None:
    """Find all zeros, or zeros in a part. Evidence: exact zeros wherever it is wrong."""
    if np.any(case.analytic[case.wrong] != 0):
        return None
    if case.where:
        return "missing", f"looks like a part left out: it is zero{case.where}, the true one is not"
    size = f"the true one goes up to {np.abs(case.numeric[case.wrong]).max():.3g}"
    if case.name.startswith("state["):
        return "missing", (
            f"looks like a state gradient that is not handed back: backward gives zeros ({size}), "
            f"so over time nothing reaches the earlier steps"
        )
    if case.is_parameter:
        return "missing", (
            f"looks like a gradient that is missing: backward adds nothing to it ({size})"
        )
    return "missing", f"looks like a gradient that is missing: backward gives all zeros ({size})"


# ---------------------------------------------------------------- factors


def _factor(case: Case) -> float | None:
    """Return q if backward gives q times the truth wherever it is wrong."""
    a, n = case.analytic[case.wrong], case.numeric[case.wrong]
    if not np.any(n):
        return None
    q = float(a @ n / (n @ n))
    return q if q != 0 and same(a, q * n) else None


def named_factor(case: Case) -> Finding | None:
    """Find a factor that has a name: -1, 2, 1/2, or a size such as that of the batch.

    Evidence: the ratio is the same in all wrong elements; where it may be the batch size, the check
    is repeated with the batch twice as large.
    """
    q = _factor(case)
    if q is None:
        return None
    if abs(q + 1) < CLOSE:
        return "factor", f"looks like a wrong sign{case.where}: backward gives -1 times the truth"
    sizes = _sizes(case)
    names = [words for words, size in sizes.items() if abs(abs(q) - size) < CLOSE * size]
    names += [f"1 / {words}" for words, size in sizes.items() if abs(abs(q) * size - 1) < CLOSE]
    plain = next((k for k in (2, 3, 4) if min(abs(abs(q) - k), abs(abs(q) - 1 / k)) < CLOSE), None)
    if not names and plain is None:
        return None
    text = f"backward gives {q:.6g} times the truth{case.where}"
    by_batch = [name for name in names if "batch" in name]
    if by_batch and case.wrong.all():
        doubled = _with_twice_the_batch(case)
        if doubled is not None and abs(doubled / q - 1) < CLOSE:
            names = [name for name in names if name not in by_batch]
        elif doubled is not None:
            names = by_batch
            text += f", and {doubled:.6g} times with twice the batch"
            if abs(doubled / q - 0.5) < CLOSE and case.is_parameter and _others_right(case):
                mean = f"looks like a mean over the batch where a sum belongs: {text}"
                return "not summed", f"{mean} ({' = '.join(names)})"
    if not names and plain is None:
        return None
    named = f" ({' = '.join(names)})" if names else ""
    return "factor", f"looks like a constant factor: {text}{named}"


def any_factor(case: Case) -> Finding | None:
    """Find any factor. Evidence: one ratio in three wrong elements or more, from several rows."""
    q = _factor(case)
    n = case.numeric[case.wrong]
    if q is None or (np.abs(n) > 1e-3 * np.abs(n).max()).sum() < 3 or case.evidence.batch < 2:
        return None  # of a single row, many a thing is a multiple
    return "factor", (
        f"looks like a constant factor: backward gives {q:.6g} times the truth{case.where}"
    )


def _sizes(case: Case) -> dict[str, int]:
    evidence = case.evidence
    batch, time = evidence.batch, evidence.time
    found = {"the batch size": batch}
    if time is not None:
        found |= {"the number of steps": time, "batch size times steps": batch * time}
    if evidence.is_loss:
        x = evidence.probe.given["input"]
        found |= {
            "the number of elements of the batch": x.size,
            "the number of outputs": x.shape[-1],
        }
        if "mask" in evidence.probe.given:
            found["the number of real steps of the batch"] = int(evidence.probe.given["mask"].sum())
    return {name: size for name, size in found.items() if size > 1}


def _with_twice_the_batch(case: Case) -> float | None:
    """Return the factor for the same inputs, each row of them twice."""
    evidence = case.evidence
    probe = evidence.probe
    twice = {name: np.concatenate([a, a]) for name, a in probe.given.items()}
    double = probe.similar(**twice)
    double.fresh_outputs()
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


# ---------------------------------------------------------------- other arrays


def in_padding(case: Case) -> Finding | None:
    """Find a gradient on masked steps. Evidence: wrong there alone, where the truth is zero."""
    mask = case.evidence.probe.given.get("mask")
    if mask is None or case.wrong.shape[:2] != mask.shape or case.is_parameter:
        return None
    if case.wrong[mask].any() or np.any(case.numeric[~mask]):
        return None
    return "mask", (
        f"looks like a mask that backward forgets: the gradient on masked steps goes up to "
        f"{np.abs(case.analytic[~mask]).max():.3g} where it should be 0; the real steps are right"
    )


def transposed(case: Case) -> Finding | None:
    """Find the transpose, of all or of each gate's square block. Evidence: they are equal."""
    shape = case.numeric.shape
    if len(shape) != 2 or min(shape) < 2 or not case.is_parameter:
        return None
    if same(case.analytic, turned(case.numeric)):
        blocks = "" if shape[0] == shape[1] else f" (each of its {shape[1] // shape[0]} blocks)"
        return "transposed", (
            f"looks like a transposed gradient{blocks}: what backward gives is the transpose of "
            f"the truth; for y = x @ W it is x.T @ grad, not grad.T @ x"
        )
    return None


def turned(array: Array) -> Array:
    """Return the transpose of each square block of an array (n, k n); zeros for other shapes."""
    rows, columns = array.shape
    if columns % rows:
        return np.zeros_like(array)
    blocks = np.split(array, columns // rows, axis=1)
    return np.concatenate([block.T for block in blocks], axis=1)


def mixed_up(case: Case) -> Finding | None:
    """Find the gradient of another array. Evidence: it equals the true one on that."""
    for name, other in case.evidence.measurements.items():
        if name == case.name or other.numeric.shape != case.numeric.shape:
            continue
        if case.numeric.size > 1 and same(case.analytic, other.numeric):
            return "mixed up", (
                f"looks like two gradients mixed up: backward gives the one that belongs to {name}"
            )
    return None


def incoming(case: Case) -> Finding | None:
    """Find the incoming gradient handed on, or left out. Evidence: equality with it."""
    if case.is_parameter or case.numeric.size < 2:
        return None
    for k, weight in enumerate(case.evidence.weights):
        if weight.shape != case.numeric.shape:
            continue
        words = "grad" if k == 0 else f"grad_state[{k - 1}]"
        if same(case.analytic, weight):
            return "incoming", (
                f"looks like the incoming {words} itself, handed on unchanged: the derivative of "
                f"the layer is missing"
            )
        if same(case.numeric - case.analytic, weight):
            return "path", (
                f"looks like a path left out: what is missing is exactly the incoming {words}, as "
                f"along a direct connection y = x + ..."
            )
        if k == 0 and len(case.evidence.weights) == 1 and weight.shape[-1] > 1:
            jacobian = case.evidence.jacobian(case.name).reshape(weight.size, weight.size)
            if same(case.analytic.ravel(), weight.ravel() * np.diag(jacobian)):
                return "diagonal", (
                    "looks like a Jacobian cut down to its diagonal: backward takes each output as "
                    "a function of its own input alone, but the others depend on it too (as in a "
                    "softmax or a normalisation)"
                )
    return None
