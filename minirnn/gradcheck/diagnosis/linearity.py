"""Mistakes that show in how all gradients of a layer answer to what is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis.case import Case
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.gradcheck.report import Diagnosis

__all__ = ["disproportionate", "ignored", "only_masked", "only_over_time"]


def ignored(evidence: Evidence) -> list[Diagnosis]:
    """Find an incoming gradient that makes no difference.

    Evidence: with that one set to zero, backward gives the same; the truth does not.
    """
    found: list[Diagnosis] = []
    if evidence.is_loss or not any(np.any(array) for array in evidence.plain.values()):
        return found
    for k, weight in enumerate(evidence.weights):
        without = evidence.analytic(evidence.without(k))
        missing = {name: evidence.numeric(name, evidence.only(k)) for name in without}
        names = tuple(name for name, array in missing.items() if np.abs(array).max() > 1e-6)
        differs = any(np.any(evidence.plain[name] != without[name]) for name in without)
        if differs or not names or not np.any(weight):
            continue
        kind, what, then = "grad ignored", "an incoming gradient that is not used", ""
        if k:
            kind, what = "next step", "the gradient from the next step left out"
            then = ". Add it to the gradient on the new state before going on"
        text = (
            f"looks like {what}: with {evidence.incoming(k)} set to zero, backward gives the "
            f"same{then}"
        )
        found.append(Diagnosis(kind, names, text))
    return found


def disproportionate(evidence: Evidence, wrong: Sequence[Case]) -> list[Diagnosis]:
    """Find a result that is not proportional to the incoming gradient, as every true one is.

    Evidence: backward for twice the incoming gradient gives something else than twice the result.
    """
    twice = evidence.analytic([2 * weight for weight in evidence.weights])
    plain = evidence.plain
    finite = [c.name for c in wrong if np.isfinite(plain[c.name]).all()]
    names = tuple(name for name in finite if not same(twice[name], 2 * plain[name]))
    if not names:
        return []
    one, two = (np.ravel(gradients[names[0]]) for gradients in (plain, twice))
    worst = int(np.abs(two - 2 * one).argmax())
    gives = f"{two[worst] / one[worst]:.3g} times" if one[worst] else f"{two[worst]:.3g} for 0"
    text = (
        f"looks like a gradient that is clipped, normalised or shifted inside backward: twice the "
        f"incoming gradient should give twice the result, and gives {gives}"
    )
    return [Diagnosis("not proportional", names, text)]


def only_masked(evidence: Evidence, wrong: Sequence[Case]) -> list[Diagnosis]:
    """Find what is right without the mask. Evidence: a check with every step valid."""
    given = evidence.function.given
    if not {"input", "mask"} <= given.keys():
        return []
    x = given["input"]
    clean = np.where(np.isfinite(x), x, 0) if x.dtype.kind == "f" else x
    full = evidence.again(input=clean, mask=np.ones_like(given["mask"]))
    if full is None or not full.passed():
        return []
    text = (
        "looks like a mask that backward does not treat as forward does: with every step valid, "
        "all gradients are right"
    )
    return [Diagnosis("mask", tuple(case.name for case in wrong), text)]


def only_over_time(evidence: Evidence, short: Evidence, wrong: Sequence[Case]) -> list[Diagnosis]:
    """Find what is right for a single step. Evidence: a check on sequences of length one.

    If the gradient on the input is right over all steps, what goes back through the state is right
    too, and it is the sum over the steps that is not.
    """
    if not short.passed():
        return []
    names = tuple(case.name for case in wrong)
    start = f"right for a sequence of one step, wrong for {evidence.time}"
    if "input" in evidence.measurements and evidence.is_right("input"):
        text = (
            f"looks like contributions of steps that get lost: {start}, while the gradient on the "
            f"input is right for both. Is it assigned (=) in the loop over time, not added (+=)?"
        )
        return [Diagnosis("overwritten", names, text)]
    text = (
        f"looks like a mistake in what goes back from step to step: {start}. Look at how the "
        f"gradient on the state is handed from step t + 1 to step t"
    )
    return [Diagnosis("over time", names, text)]
