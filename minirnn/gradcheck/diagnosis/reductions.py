"""Sums over the batch, over time and over repeated tokens that went wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.typing import Array

__all__ = ["one_step", "other_axis", "repeated_token", "single_share"]


def single_share(case: Case) -> Iterator[Prediction]:
    """Predict one row, one step or one position instead of the sum over all."""
    evidence, name = case.evidence, case.name
    if not case.is_parameter or not evidence.sites:
        return
    shape = evidence.shapes[0]
    if shape[0] > 1:
        for b in range(shape[0]):
            share = evidence.numeric(name, evidence.only(site=(b,)))
            yield _alone(share, f"row {b} of the batch", f"all {shape[0]} rows")
    if len(shape) == 3 and shape[1] > 1 and len(evidence.shapes) == 1:
        for t in range(shape[1]):
            share = evidence.numeric(name, evidence.only(site=(slice(None), t)))
            yield _alone(share, f"time step {t}", f"all {shape[1]} steps")
        for site in evidence.sites:
            share = evidence.numeric(name, evidence.only(site=site))
            yield _alone(share, f"position {site}", "all rows and steps")


def _alone(share: Array, what: str, of: str) -> Prediction:
    text = (
        f"looks like a sum that is missing: backward gives exactly the contribution of {what} "
        f"alone; a parameter that {of} use needs the sum over them"
    )
    return Prediction("not summed", text, share)


def other_axis(case: Case) -> Iterator[Prediction]:
    """Predict a sum over the features in place of one over the rows, in a square array."""
    evidence = case.evidence
    rows = evidence.shapes[0][0] if len(evidence.shapes[0]) == 2 else 0
    if not case.is_parameter or case.numeric.shape != (rows,) or rows < 2 or not evidence.sites:
        return
    shares = [evidence.numeric(case.name, evidence.only(site=(b,))) for b in range(rows)]
    text = (
        "looks like a sum over the wrong axis: backward adds up the features of each row of "
        "the batch, where the rows should be added up for each feature (.sum(axis=0))"
    )
    yield Prediction("not summed", text, np.stack(shares).sum(axis=1))


def repeated_token(case: Case) -> Iterator[Prediction]:
    """Predict ``W.grad[tokens] += grad``, which counts a repeated token once."""
    evidence = case.evidence
    tokens = evidence.function.x
    if tokens.dtype.kind not in "iu" or case.numeric.ndim < 2 or not evidence.sites:
        return
    predicted = case.numeric.copy()
    wrong = np.flatnonzero(case.wrong.any(axis=tuple(range(1, case.wrong.ndim))))
    for token in wrong:
        places = [tuple(int(k) for k in place) for place in np.argwhere(tokens == token)]
        if len(places) < 2:
            return
        shares = [evidence.numeric(case.name, evidence.only(site=p))[token] for p in places]
        predicted[token] = next((s for s in shares if same(case.analytic[token], s)), shares[-1])
    listed = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
    text = (
        f"looks like repeated tokens that count once: only the rows of tokens that occur more than "
        f"once are wrong ({listed}), and each holds the share of one place alone. "
        f"`grad[tokens] += g` does that; np.add.at(grad, tokens, g) adds every time"
    )
    yield Prediction("repeated index", text, predicted)


def one_step(case: Case) -> Iterator[Prediction]:
    """Predict nothing handed back from the next step, in a layer with a time loop of its own."""
    evidence = case.evidence
    time, shape = evidence.time, evidence.shapes[0]
    if case.name != "input" or time is None or time < 2 or shape[1:2] != (time,) or len(shape) != 3:
        return
    own = np.empty_like(case.numeric)
    for t in range(time):
        own[:, t] = evidence.numeric("input", evidence.only(site=(slice(None), t)))[:, t]
    text = (
        "looks like the gradient from the next step left out: at each step backward gives what "
        "that step's own output contributes, and nothing of what the later steps send back "
        "through the state"
    )
    if not same(case.numeric, own):
        yield Prediction("next step", text, own)
