"""Sums over the batch, over time and over repeated tokens that went wrong."""

from __future__ import annotations

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.mistakes.case import Case, Finding
from minirnn.typing import Array

__all__ = ["one_step", "other_axis", "repeated_token", "single_share"]


def single_share(case: Case) -> Finding | None:
    """Find one row, one step or one position instead of the sum over all.

    Evidence: the gradient equals the true one for weights that are zero elsewhere.
    """
    evidence, name = case.evidence, case.name
    if not case.is_parameter or not evidence.sites:
        return None
    shape = evidence.shapes[0]
    if shape[0] > 1:
        for b in range(shape[0]):
            if same(case.analytic, evidence.numeric(name, evidence.only(site=(b,)))):
                return _alone(f"row {b} of the batch", f"all {shape[0]} rows")
    if len(shape) == 3 and shape[1] > 1 and len(evidence.shapes) == 1:
        for t in range(shape[1]):
            weights = [np.zeros_like(weight) for weight in evidence.weights]
            weights[0][:, t] = evidence.weights[0][:, t]
            if same(case.analytic, evidence.numeric(name, weights)):
                return _alone(f"time step {t}", f"all {shape[1]} steps")
        for site in evidence.sites:
            if same(case.analytic, evidence.numeric(name, evidence.only(site=site))):
                return _alone(f"position {site}", "all rows and steps")
    return None


def _alone(what: str, of: str) -> Finding:
    return "not summed", (
        f"looks like a sum that is missing: backward gives exactly the contribution of {what} "
        f"alone; a parameter that {of} use needs the sum over them"
    )


def other_axis(case: Case) -> Finding | None:
    """Find a sum over the features in place of one over the rows, in a square array.

    Evidence: it equals that sum of the true contributions of the rows.
    """
    evidence = case.evidence
    if not case.is_parameter or case.numeric.ndim != 1 or len(evidence.shapes[0]) != 2:
        return None
    rows = len(evidence.shapes[0]) and evidence.shapes[0][0]
    if rows != len(case.numeric) or rows < 2 or not evidence.sites:
        return None
    contributions = np.stack(
        [evidence.numeric(case.name, evidence.only(site=(b,))) for b in range(rows)]
    )
    if same(case.analytic, contributions.sum(axis=1)):
        return "not summed", (
            "looks like a sum over the wrong axis: backward adds up the features of each row of "
            "the batch, where the rows should be added up for each feature (.sum(axis=0))"
        )
    return None


def repeated_token(case: Case) -> Finding | None:
    """Find ``W.grad[tokens] += grad``, which counts a repeated token once.

    Evidence: wrong only in the rows of tokens that occur more than once, each of which holds the
    contribution of one place alone.
    """
    evidence = case.evidence
    tokens = evidence.probe.given["input"]
    if tokens.dtype.kind not in "iu" or case.numeric.ndim < 2 or not evidence.sites:
        return None
    axes = tuple(range(1, case.wrong.ndim))
    wrong = np.flatnonzero(case.wrong.any(axis=axes))
    for token in wrong:
        places = [tuple(int(k) for k in place) for place in np.argwhere(tokens == token)]
        if len(places) < 2:
            return None
        shares = (evidence.numeric(case.name, evidence.only(site=p))[token] for p in places)
        if not any(same(case.analytic[token], share) for share in shares):
            return None
    listed = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
    return "repeated index", (
        f"looks like repeated tokens that count once: only the rows of tokens that occur more than "
        f"once are wrong ({listed}), and each holds the share of one place alone. "
        f"`grad[tokens] += g` does that; np.add.at(grad, tokens, g) adds every time"
    )


# ---------------------------------------------------------------- over time, in a layer's own loop


def one_step(case: Case) -> Finding | None:
    """Find nothing handed from the next step back, in a layer with a time loop of its own.

    Evidence: the gradient on the input at each step is what that step's own output contributes.
    """
    evidence = case.evidence
    if case.name != "input" or evidence.time is None or evidence.time < 2:
        return None
    shape = evidence.shapes[0]
    if len(shape) != 3 or shape[1] != evidence.time:
        return None
    own = np.empty_like(case.numeric)
    for t in range(evidence.time):
        weights = [np.zeros_like(weight) for weight in evidence.weights]
        weights[0][:, t] = evidence.weights[0][:, t]
        own[:, t] = evidence.numeric("input", weights)[:, t]
    if same(case.analytic, own) and not _steps_are_separate(case, own):
        return "next step", (
            "looks like the gradient from the next step left out: at each step backward gives what "
            "that step's own output contributes, and nothing of what the later steps send back "
            "through the state"
        )
    return None


def _steps_are_separate(case: Case, own: Array) -> bool:
    return same(case.numeric, own)
