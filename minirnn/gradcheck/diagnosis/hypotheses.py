"""Known mistakes, and the gradient that each would give: edits of the truth, or parts of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, same
from minirnn.gradcheck.diagnosis.evidence import Case, Evidence, Prediction
from minirnn.typing import Array


def not_finite(case: Case) -> Iterator[Prediction]:
    """Say whether NaN and infinity begin in forward or in backward."""
    if not np.isfinite(case.numeric).all():
        yield "nan", "NaN or infinity in forward: correct that first", case.analytic
    elif not np.isfinite(case.analytic).all():
        text = "NaN or infinity in backward: a division by zero, a logarithm of 0, an overflow"
        yield "nan", text, case.analytic


def constant_factor(case: Case) -> Iterator[Prediction]:
    """Predict zero, or the same factor, wherever the gradient is wrong."""
    ours, truth = case.analytic[case.wrong], case.numeric[case.wrong]
    if not np.any(ours):
        gives = "adds nothing" if case.is_parameter else "gives zeros"
        size = f"the true one goes up to {np.abs(truth).max():.3g}"
        text = f"a gradient that is missing{case.where}: backward {gives}, {size}"
        if case.name.startswith("state["):
            text += "; it is not handed back, so nothing reaches the earlier steps"
        yield "missing", text, case.analytic
        return
    q = float(ours @ truth / max(truth @ truth, CLOSE**2))
    several = (np.abs(truth) > 1e-3 * np.abs(truth).max()).sum() > 2 and case.evidence.batch > 1
    plain = any(abs(r - round(r)) < CLOSE for r in (q, 1 / (q or 1)) if abs(r) > 0.5)
    if not plain and not several:  # of a single row, many a thing is a multiple
        return
    names = _names(case, abs(q))
    by_batch = [name for name in names if "batch" in name]
    if by_batch and _with_twice_the_batch(case, q):
        names, by_batch = [name for name in names if "batch" not in name], []
    text = f"backward gives {q:.6g} times the truth{case.where}"
    text += f" ({' = '.join(names)})" if names else ""
    alone = case.is_parameter and "input" not in case.evidence.failed
    if alone and any(name.startswith("1 / ") for name in by_batch):
        kind, text = "not summed", f"a mean over the batch where a sum belongs: {text}"
    else:
        kind, text = "factor", f"a {'wrong sign' if q < 0 else 'constant factor'}: {text}"
    yield kind, text, np.where(case.wrong, q * case.numeric, case.numeric)


def _with_twice_the_batch(case: Case, q: float) -> bool:
    """Return whether the factor is the same when every row is there twice."""
    given = case.evidence.function.given.items()
    twice = case.evidence.again({k: np.concatenate([a, a]) if a.ndim else a for k, a in given})
    if twice is None:
        return False
    one = twice.measurements[case.name]
    factors = np.where(case.wrong, q, 1) if case.is_parameter else q
    return same(one.analytic, factors * one.numeric)


def _names(case: Case, q: float) -> list[str]:
    """Return what a factor may be called: a size, one over it, or what ddof changes."""
    evidence, x = case.evidence, case.evidence.function.x
    time = evidence.time or 1
    sizes = {
        "the batch size": evidence.batch,
        "the number of steps": time,
        "batch size times steps": evidence.batch * time if time > 1 else 1,
        "the number of elements": x.size,
        "the number of features": x.shape[-1],
    }
    named = []
    for name, n in sizes.items():
        values = {name: n, f"1 / {name}": 1 / n}
        if n > 2:
            ddof = f"sqrt(n / (n - 1)) with n = {name}, as ddof=1 and ddof=0 differ"
            values |= {ddof: (n / (n - 1)) ** 0.5, f"1 / {ddof}": ((n - 1) / n) ** 0.5}
        named += [words for words, v in values.items() if n > 1 and abs(q - v) < CLOSE * v]
    return named


def ignored(case: Case) -> Iterator[Prediction]:
    """Say that backward gives the same without one of the incoming gradients."""
    evidence, plain = case.evidence, case.evidence.analytic(case.evidence.weights)
    for k in range(len(evidence.weights)):
        weights = [weight * (k != j) for j, weight in enumerate(evidence.weights)]
        without, truth = evidence.analytic(weights), evidence.numeric(case.name, weights)
        unused = all(np.array_equal(without[name], plain[name]) for name in plain)
        if unused and not same(truth, case.numeric):
            incoming = evidence.incoming([k])
            text = f"with {incoming} set to zero, backward gives the same"
            if k:
                text = f"the gradient from the next step left out: {text}"
                yield "next step", f"{text}. Add it to the gradient on the state", case.analytic
            else:
                yield "grad ignored", f"{incoming} is not used: {text}", case.analytic


def one_step(case: Case) -> Iterator[Prediction]:
    """Predict nothing handed back from the next step, in a layer with a time loop of its own."""
    evidence, time = case.evidence, case.evidence.time
    if case.name == "input" and time and time > 1 and evidence.positions[1:] == (time,):
        text = (
            "the gradient from the next step left out: at each step backward gives what that "
            "step's own output contributes, and nothing of what the later steps send back"
        )
        yield "next step", text, np.einsum("btcti->cti", evidence.shares("input", 0))


def transposed(case: Case) -> Iterator[Prediction]:
    """Predict the transpose, of all or of each gate's square block."""
    if case.is_parameter and _has_square_blocks(case.numeric) and len(case.numeric) > 1:
        rows, columns = case.numeric.shape
        blocks = f" (each of its {columns // rows} blocks)" if columns > rows else ""
        text = (
            f"a transposed gradient{blocks}: what backward gives is the transpose of the truth; "
            f"for y = x @ W it is x.T @ grad, not grad.T @ x"
        )
        yield "transposed", text, _block_transpose(case.numeric)


def _has_square_blocks(array: Array) -> bool:
    """Return whether it is made of square blocks, one beside the other, such as ``Wh``."""
    return array.ndim == 2 and array.shape[1] % len(array) == 0


def _block_transpose(array: Array) -> Array:
    """Return the transpose of each square block of an array (n, k n)."""
    blocks = np.split(array, array.shape[1] // len(array), axis=1)
    return np.concatenate([block.T for block in blocks], axis=1)


def transposed_weight(case: Case) -> Iterator[Prediction]:
    """Predict ``dz @ P``, or nothing, in the gradient on v, where ``v @ P`` needs ``dz @ P.T``."""
    for name, parameter in case.evidence.function.parameters.items():
        dz = None if case.is_parameter else _gradient_on_product(case.evidence, case.name, name)
        if dz is None:
            continue
        without = case.numeric - dz @ parameter.value.T
        text = f"a term left out: what comes back through {name}, as grad_y @ W.T for y = v @ W"
        yield "term", text, without
        if _has_square_blocks(parameter.value):
            text = (
                f"a transposed weight: backward multiplies with {name} where it should multiply "
                f"with its transpose (for y = v @ W, grad_v = grad_y @ W.T)"
            )
            yield "transposed", text, without + dz @ _block_transpose(parameter.value).T


def wrong_array(case: Case) -> Iterator[Prediction]:
    """Predict another array in the place of v in the gradient on P, ``v.T @ dz``."""
    evidence = case.evidence
    for source, v in evidence.function.given.items() if case.is_parameter else ():
        dz = _gradient_on_product(evidence, source, case.name)
        if dz is None:
            continue
        for label, array in evidence.arrays.items():
            if array.shape == v.shape and not same(array, v):
                text = (
                    f"the wrong array in the product: backward uses {label} where forward "
                    f"multiplied {'x' if source == 'input' else source} with {case.name}"
                )
                rows = [*range(v.ndim - 1)]
                yield "wrong array", text, np.tensordot(array, dz, (rows, rows))


def _gradient_on_product(evidence: Evidence, source: str, name: str) -> Array | None:
    """Return dz for ``v @ P``, of a row for each row of v, if v meets P in that product alone.

    Then what each row adds to the gradient on P is the outer product of v with dz.
    """
    v, weight = evidence.function.given[source], evidence.function.parameters[name].value
    if weight.ndim != 2 or len(weight) < 2 or v.shape != (*evidence.positions, len(weight)):
        return None
    shares = evidence.all_shares(name)
    dz: Array = np.einsum("...i,...ij->...j", v, shares) / (v * v).sum(axis=-1, keepdims=True)
    return dz if same(shares, v[..., :, None] * dz[..., None, :]) else None


def mixed_up(case: Case) -> Iterator[Prediction]:
    """Predict the gradient of another array."""
    evidence, truth = case.evidence, case.numeric
    for name, other in evidence.measurements.items():
        # of two vectors, a factor that is left out tells more
        alike = truth.ndim > 1 or name in evidence.failed
        if name != case.name and other.numeric.shape == truth.shape and alike and truth.size > 1:
            text = f"two gradients mixed up: backward gives the one that belongs to {name}"
            yield "mixed up", text, other.numeric


def gate_order(case: Case) -> Iterator[Prediction]:
    """Predict the blocks of the gates in another order."""
    width = case.numeric.shape[-1] if case.is_parameter and case.numeric.ndim else 0
    for count in range(2, min(width, 8) + 1):
        if width % count or case.numeric.size // count < 2:
            continue
        ours, truths = (np.split(a, count, axis=-1) for a in (case.analytic, case.numeric))
        order = [next((k for k in range(count) if same(a, truths[k])), -1) for a in ours]
        if sorted(order) == [*range(count)]:
            starts = np.arange(0, width, width // count)
            columns = [f"columns {k} to {k + width // count - 1}" for k in starts]
            pairs = [(columns[k], columns[j]) for k, j in enumerate(order) if j != k]
            moved = ", ".join(f"{one} hold what belongs into {other}" for one, other in pairs)
            text = f"gate blocks in another order than in forward: {moved}"
            yield "gate order", text, case.analytic


def not_summed(case: Case) -> Iterator[Prediction]:
    """Predict one row or one step instead of the sum over all, or a sum over the wrong axis."""
    evidence, axes = case.evidence, case.evidence.positions
    if not case.is_parameter or not axes:
        return
    shares = evidence.all_shares(case.name)
    for axis, (what, size) in enumerate(zip(("row", "time step"), axes, strict=False)):
        for k in range(size):
            text = f"a sum that is missing: it is exactly the share of {what} {k} of {size}"
            share = np.take(shares, k, axis)
            yield "not summed", text, share.sum(axis=0) if len(axes) > 1 else share
    if case.numeric.shape == axes:
        text = "a sum over the wrong axis: the features of each row, not the rows (axis=0)"
        yield "not summed", text, shares.sum(axis=1)


def direct_connection(case: Case) -> Iterator[Prediction]:
    """Predict the incoming gradient left out, which comes back along ``y = x + ...``."""
    weights = case.evidence.weights
    alike = [k for k, weight in enumerate(weights) if weight.shape == case.numeric.shape]
    if alike and not case.is_parameter:
        text = (
            f"a term left out: what is missing is exactly the incoming "
            f"{case.evidence.incoming(alike)}, as along a direct connection y = x + ..."
        )
        yield "term", text, case.numeric - sum(weights[k] for k in alike)


def on_masked_steps(case: Case) -> Iterator[Prediction]:
    """Say that it is wrong on masked steps alone."""
    if case.where == " on masked steps":
        yield "mask", "a gradient on masked steps, where it should be zero", case.analytic


def place(case: Case) -> Iterator[Prediction]:
    """Say where it is wrong, or which way back is, if not all of it is wrong."""
    evidence, parts = case.evidence, range(len(case.evidence.weights))
    if case.where:
        yield "place", f"a mistake{case.where}: all else is right", case.analytic
    wrong = []
    for k in parts:
        one = evidence.only(k)
        if not same(evidence.analytic(one)[case.name], evidence.numeric(case.name, one)):
            wrong.append(k)
    if 0 < len(wrong) < len(parts):
        text = f"a mistake in what backward makes of {evidence.incoming(wrong)}: the rest is right"
        yield "place", text, case.analytic
