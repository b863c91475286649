"""What comes in, edited: some of it alone, some of it left out, or sent back through another way.

Backward is linear in the gradients on the outputs. So with an output, a row or a step left out, it
gives what would be right if nothing came in there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis.edits import block_transpose, edited
from minirnn.gradcheck.diagnosis.evidence import Case, Prediction
from minirnn.typing import Array

__all__ = [
    "diagonal",
    "handed_on",
    "ignored",
    "one_step",
    "other_axis",
    "repeated_token",
    "single_share",
    "wrong_source",
    "wrong_way",
]


def ignored(case: Case) -> Iterator[Prediction]:
    """Say that this gradient uses nothing of what comes in, or that none uses one part of it."""
    evidence, plain = case.evidence, case.evidence.analytic(case.evidence.weights)
    parts = range(len(evidence.weights))
    for some in (parts, *([k] for k in parts)) if np.any(case.analytic) else ():
        weights = [weight * (k not in some) for k, weight in enumerate(evidence.weights)]
        without, names = evidence.analytic(weights), [case.name] if some is parts else plain
        used = any(np.any(without[name] != plain[name]) for name in names)
        if used or same(case.truth(weights), case.numeric):
            continue
        incoming = " and ".join(map(evidence.incoming, some))
        text = f"with {incoming} set to zero, backward gives the same"
        if 0 in some:
            yield "grad ignored", f"an incoming gradient that is not used: {text}", case.analytic
        then = "Add it to the gradient on the new state before going on"
        text = f"the gradient from the next step left out: {text}. {then}"
        yield "next step", text, case.analytic


def single_share(case: Case) -> Iterator[Prediction]:
    """Predict one row, one step or one position instead of the sum over all."""
    evidence, axes = case.evidence, case.evidence.positions
    if not case.is_parameter or not axes:
        return
    alone: dict[str, tuple[tuple[Any, ...], str]] = {}
    for b in range(axes[0]):
        alone[f"row {b} of the batch"] = (b,), f"all {axes[0]} rows"
    if len(axes) == 2:
        for t in range(axes[1]):
            alone[f"time step {t}"] = (slice(None), t), f"all {axes[1]} steps"
        for place in np.ndindex(axes):
            alone[f"position {place}"] = place, "all rows and steps"
    for what, (site, of) in alone.items():
        text = (
            f"a sum that is missing: backward gives exactly the contribution of {what} alone; a "
            f"parameter that {of} use needs the sum over them"
        )
        yield "not summed", text, case.truth(evidence.only(None, site))


def other_axis(case: Case) -> Iterator[Prediction]:
    """Predict a sum over the features in place of one over the rows, in a square array."""
    evidence = case.evidence
    if case.is_parameter and case.numeric.shape == evidence.positions and case.numeric.ndim == 1:
        text = (
            "a sum over the wrong axis: backward adds up the features of each row of the batch, "
            "where the rows should be added up for each feature (.sum(axis=0))"
        )
        yield "not summed", text, evidence.shares(case.name).sum(axis=1)


def repeated_token(case: Case) -> Iterator[Prediction]:
    """Predict ``W.grad[tokens] += grad``, which counts a repeated token once."""
    evidence, tokens = case.evidence, case.evidence.function.x
    if tokens.dtype.kind not in "iu" or case.numeric.ndim < 2 or evidence.positions != tokens.shape:
        return
    predicted, shares = case.numeric.copy(), evidence.shares(case.name, 0)
    wrong = np.flatnonzero(case.wrong.any(axis=tuple(range(1, case.wrong.ndim))))
    for token in wrong:
        own = shares[tokens == token][:, token]
        if len(own) < 2:
            return
        predicted[token] = next((s for s in own if same(case.analytic[token], s)), own[-1])
    listed = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
    text = (
        f"repeated tokens that count once: only the rows of tokens that occur more than once are "
        f"wrong ({listed}), and each holds the share of one place alone. `grad[tokens] += g` does "
        f"that; np.add.at(grad, tokens, g) adds every time"
    )
    yield "repeated index", text, predicted


def one_step(case: Case) -> Iterator[Prediction]:
    """Predict nothing handed back from the next step, in a layer with a time loop of its own."""
    evidence, time = case.evidence, case.evidence.time
    if case.name == "input" and time and time > 1 and evidence.positions[1:] == (time,):
        text = (
            "the gradient from the next step left out: at each step backward gives what that "
            "step's own output contributes, and nothing of what the later steps send back through "
            "the state"
        )
        yield "next step", text, np.einsum("btcti->cti", evidence.shares("input", 0))


def handed_on(case: Case) -> Iterator[Prediction]:
    """Predict the incoming gradient and nothing else, or a wrong path from one output."""
    evidence, weights = case.evidence, case.evidence.weights
    alike = [k for k, weight in enumerate(weights) if weight.shape == case.numeric.shape]
    together = [alike] if len(alike) > 1 else []
    single = case.is_parameter or case.numeric.size < 2
    for some in [] if single else [*([k] for k in alike), *together]:
        words = f"the incoming {' + '.join(map(evidence.incoming, some))}"
        total = sum((weights[k] for k in some), np.zeros(()))
        text = f"{words} itself, handed on unchanged: the derivative is missing"
        yield "incoming", text, total
        yield from edited(case, f"{words}, as along a direct connection y = x + ...", total)
    for k in range(len(weights) if len(weights) > 1 else 0):
        place = f"the part that comes in through {evidence.incoming(k)}; the other parts are right"
        yield from edited(case, place, case.truth(evidence.only(k)))


def diagonal(case: Case) -> Iterator[Prediction]:
    """Predict the diagonal of the Jacobian alone, as if each output hung on its own input only."""
    weight, *more = case.evidence.weights
    if (
        case.is_parameter
        or more
        or weight.shape != case.numeric.shape
        or weight.shape[-1:] in ((), (1,))
    ):
        return
    jacobian = case.evidence.jacobian(case.name).reshape(weight.size, weight.size)
    text = (
        "a Jacobian cut down to its diagonal: backward takes each output as a function of its own "
        "input alone, but the others depend on it too (as in a softmax or a normalisation)"
    )
    yield "diagonal", text, weight * np.diag(jacobian).reshape(weight.shape)


# ---------------------------------------------------------------- the way through a product


def wrong_way(case: Case) -> Iterator[Prediction]:
    """Predict a wrong way from ``v @ P`` back to v, where it should be ``dz @ P.T``.

    It differs from the truth by exactly that, or by the same with another weight in its place.
    """
    if case.is_parameter or case.numeric.ndim < 2:
        return
    parameters = case.evidence.function.parameters
    weights = {k: p.value for k, p in parameters.items() if p.value.ndim == 2}
    for name, weight in weights.items():
        dz = _gradient_on_product(case, case.name, name)
        if dz is None:
            continue
        way = dz @ weight.T
        if len(weight) > 1:
            text = (
                f"a transposed weight: backward multiplies with {name} where it should multiply "
                f"with its transpose (for y = v @ W, grad_v = grad_y @ W.T)"
            )
            yield "transposed", text, case.numeric - way + dz @ block_transpose(weight).T
        place = f"the part that comes back through {name}, grad @ {name}.T"
        yield from edited(case, place, way)
        for other, array in weights.items():
            if other != name and array.shape == weight.shape:
                text = (
                    f"two weights mixed up: backward goes through {other} where forward went "
                    f"through {name}"
                )
                yield "mixed up", text, case.numeric - way + dz @ array.T


def wrong_source(case: Case) -> Iterator[Prediction]:
    """Predict another array in the place of v in the gradient on P, ``v.T @ dz``."""
    if not case.is_parameter or case.numeric.ndim != 2:
        return
    for source, v in case.evidence.function.given.items():
        rows = [*range(v.ndim - 1)]
        dz = _gradient_on_product(case, source, case.name) if v.dtype.kind == "f" else None
        for label, array in case.evidence.arrays.items():
            if dz is not None and array.shape == v.shape and not same(array, v):
                used = "the input x" if source == "input" else f"the {source} given"
                text = (
                    f"the wrong array in the product: backward uses {label} where forward "
                    f"multiplied {used} with {case.name}"
                )
                yield "mixed up", text, np.tensordot(array, dz, (rows, rows))


def _gradient_on_product(case: Case, source: str, name: str) -> Array | None:
    """Return dz, of a row for each row of the source v, if P is used as ``v @ P`` and no more.

    Then what each row contributes to the gradient on P is the outer product of ``v`` with ``dz``.
    """
    evidence, v = case.evidence, case.evidence.function.given[source]
    rows = len(evidence.function.parameters[name].value)
    if not evidence.positions or v.shape != (*evidence.positions, rows):
        return None
    shares = evidence.shares(name)
    dz: Array = np.einsum("...i,...ij->...j", v, shares) / (v * v).sum(axis=-1, keepdims=True)
    return dz if same(shares, v[..., :, None] * dz[..., None, :]) else None
