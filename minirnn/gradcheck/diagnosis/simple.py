"""Mistakes that show in the numbers of one gradient: nothing, or another array."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.typing import Array

__all__ = [
    "block_transpose",
    "diagonal",
    "in_padding",
    "incoming",
    "missing_output",
    "mixed_up",
    "not_finite",
    "nothing",
    "permuted_gates",
    "transposed",
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
        f"{size:.3g} where it should be 0; the valid steps are right"
    )
    if not np.any(case.numeric[~mask]):
        valid = mask.reshape(mask.shape + (1,) * (case.numeric.ndim - 2))
        yield Prediction("mask", text, np.where(valid, case.numeric, case.analytic))


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
    yield Prediction("transposed", text, block_transpose(case.numeric))


def block_transpose(array: Array) -> Array:
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
