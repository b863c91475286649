"""Mistakes that show in the numbers of one gradient: nothing, a factor, another array."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, same
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.gradcheck.function import RefusedError
from minirnn.typing import Array

__all__ = [
    "any_factor",
    "diagonal",
    "in_padding",
    "incoming",
    "missing_output",
    "mixed_up",
    "named_factor",
    "not_finite",
    "nothing",
    "permuted_gates",
    "transposed",
    "turned",
]


def not_finite(case: Case) -> str | None:
    """Say how many numbers are NaN or infinite, and where they begin to be."""
    ours, theirs = ~np.isfinite(case.analytic), ~np.isfinite(case.numeric)
    if theirs.any():
        return (
            "looks like a forward that gives NaN or infinity: the number itself is not finite when "
            f"{int(theirs.sum())} of {theirs.size} elements are moved. Correct forward first"
        )
    if ours.any():
        return (
            f"looks like a division by zero, a logarithm of 0 or an overflow in backward: "
            f"{int(ours.sum())} of {ours.size} numbers are NaN or infinite, while the true "
            f"gradient is finite"
        )
    return None


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
    elif case.is_parameter:
        text = f"a gradient that is missing: backward adds nothing to it ({size})"
    else:
        text = f"a gradient that is missing: backward gives all zeros ({size})"
    yield Prediction("missing", f"looks like {text}", case.but(0.0))


def in_padding(case: Case) -> Iterator[Prediction]:
    """Predict a gradient on masked steps, where the truth is zero, and nowhere else."""
    mask = case.evidence.function.given.get("mask")
    if mask is None or case.wrong.shape[:2] != mask.shape or case.is_parameter:
        return
    size = np.abs(case.analytic[~mask]).max(initial=0.0)
    text = (
        f"looks like a mask that backward forgets: the gradient on masked steps goes up to "
        f"{size:.3g} where it should be 0; the real steps are right"
    )
    if not np.any(case.numeric[~mask]):
        real = mask.reshape(mask.shape + (1,) * (case.numeric.ndim - 2))
        yield Prediction("mask", text, np.where(real, case.numeric, case.analytic))


# ---------------------------------------------------------------- factors


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
            real = int(evidence.function.given["mask"].sum())
            found["the number of real steps of the batch"] = real
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


# ---------------------------------------------------------------- other arrays


def transposed(case: Case) -> Iterator[Prediction]:
    """Predict the transpose, of all or of each gate's square block."""
    shape = case.numeric.shape
    if len(shape) != 2 or min(shape) < 2 or not case.is_parameter:
        return
    blocks = "" if shape[0] == shape[1] else f" (each of its {shape[1] // shape[0]} blocks)"
    text = (
        f"looks like a transposed gradient{blocks}: what backward gives is the transpose of "
        f"the truth; for y = x @ W it is x.T @ grad, not grad.T @ x"
    )
    yield Prediction("transposed", text, turned(case.numeric))


def turned(array: Array) -> Array:
    """Return the transpose of each square block of an array (n, k n); zeros for other shapes."""
    rows, columns = array.shape
    if columns % rows:
        return np.zeros_like(array)
    blocks = np.split(array, columns // rows, axis=1)
    return np.concatenate([block.T for block in blocks], axis=1)


def permuted_gates(case: Case) -> Iterator[Prediction]:
    """Predict the blocks of the gates in another order."""
    width = case.numeric.shape[-1] if case.numeric.ndim else 0
    if not case.is_parameter:
        return
    for count in range(2, min(width, 8) + 1):
        if width % count or case.numeric.size // count < 2:
            continue
        ours, truths = (np.split(a, count, axis=-1) for a in (case.analytic, case.numeric))
        order = [next((k for k in range(count) if same(a, truths[k])), None) for a in ours]
        if len({*order} - {None}) < count or order == [*range(count)]:
            continue
        size = width // count
        moved = ", ".join(
            f"columns {k * size} to {(k + 1) * size - 1} hold what belongs into columns "
            f"{j * size} to {(j + 1) * size - 1}"
            for k, j in enumerate(order)
            if j is not None and j != k
        )
        text = (
            f"looks like gate blocks in another order than in forward: {moved}. Put the gradients "
            f"side by side in the order in which forward splits the gates"
        )
        blocks = [truths[k] for k in order if k is not None]
        yield Prediction("gate order", text, np.concatenate(blocks, axis=-1))


def mixed_up(case: Case) -> Iterator[Prediction]:
    """Predict the gradient of another array."""
    for name, other in case.evidence.measurements.items():
        if name == case.name or other.numeric.shape != case.numeric.shape:
            continue
        if case.numeric.ndim > 1 or not case.evidence.is_right(name):  # a factor tells more
            text = (
                f"looks like two gradients mixed up: backward gives the one that belongs to {name}"
            )
            if case.numeric.size > 1:
                yield Prediction("mixed up", text, other.numeric)


def incoming(case: Case) -> Iterator[Prediction]:
    """Predict the incoming gradient, handed on as it is, or left out."""
    weights = case.evidence.weights
    alike = [k for k, weight in enumerate(weights) if weight.shape == case.numeric.shape]
    if case.is_parameter or case.numeric.size < 2:
        return
    for some in [*([k] for k in alike), *([alike] if len(alike) > 1 else [])]:
        words = " + ".join(map(case.evidence.incoming_name, some))
        total = sum((weights[k] for k in some), np.zeros(case.numeric.shape))
        text = f"looks like the incoming {words} itself, handed on unchanged: the derivative is"
        yield Prediction("incoming", f"{text} missing", total)
        text = (
            f"looks like a path left out: what is missing is exactly the incoming {words}, as "
            f"along a direct connection y = x + ..."
        )
        yield Prediction("path", text, case.numeric - total)


def missing_output(case: Case) -> Iterator[Prediction]:
    """Predict what is left without one output, or one array of the new state."""
    for k in range(len(case.evidence.weights) if len(case.evidence.weights) > 1 else 0):
        name = case.evidence.incoming_name(k)
        text = (
            f"looks like a path left out: what is missing is exactly the part that comes in "
            f"through {name}; the other parts are right"
        )
        rest = case.evidence.numeric(case.name, case.evidence.without(k))
        if not same(rest, case.numeric):
            yield Prediction("path", text, rest)


def diagonal(case: Case) -> Iterator[Prediction]:
    """Predict the diagonal of the Jacobian alone, as if each output hung on its own input only."""
    weights = case.evidence.weights
    if case.is_parameter or len(weights) > 1 or weights[0].shape != case.numeric.shape:
        return
    weight = weights[0]
    if weight.ndim and weight.shape[-1] > 1:
        jacobian = case.evidence.jacobian(case.name).reshape(weight.size, weight.size)
        text = (
            "looks like a Jacobian cut down to its diagonal: backward takes each output as "
            "a function of its own input alone, but the others depend on it too (as in a "
            "softmax or a normalisation)"
        )
        own = (weight.ravel() * np.diag(jacobian)).reshape(weight.shape)
        yield Prediction("diagonal", text, own)
