"""From a gradient that is wrong to what it looks like."""

from __future__ import annotations

import warnings

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis import chain_rule, edits, incoming, jacobians, linearity, terms
from minirnn.gradcheck.diagnosis.case import Case, Hypothesis, cases
from minirnn.gradcheck.diagnosis.determinism import not_deterministic, rounded
from minirnn.gradcheck.diagnosis.evidence import Evidence, TooLargeError
from minirnn.gradcheck.diagnosis.parts import broken_parts, in_the_model
from minirnn.gradcheck.report import Diagnosis
from minirnn.gradcheck.violations import overwritten

__all__ = ["diagnose"]

HYPOTHESES: list[Hypothesis] = [
    edits.not_finite,
    edits.nothing,
    edits.in_padding,
    edits.transposed,
    edits.mixed_up,
    edits.permuted_gates,
    incoming.single_share,
    incoming.other_axis,
    incoming.repeated_token,
    edits.constant_factor,
    incoming.one_step,
    terms.handed_on,
    incoming.diagonal,
    incoming.missing_output,
    incoming.wrong_way,
    incoming.wrong_source,
    jacobians.normalisation,
    chain_rule.wrong_derivative,
    terms.factor_of_the_incoming,
    terms.missing_term,
]
"""In the order of how sure and how simple they are: the first that fits is the diagnosis."""


def diagnose(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return what the wrong gradients look like."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        parts = broken_parts(evidence)
        if not parts:
            return _of_one(evidence)
        found: list[Diagnosis] = []
        for path, part in parts.items():
            own = _of_one(part) if isinstance(part, Evidence) else part
            if not own:
                kind = type(evidence.function.parts[path]).__name__
                text = (
                    f"looks like the place of the mistake: this part ({kind}) fails when it is "
                    f"checked alone, on what it is given here"
                )
                found.append(Diagnosis("part", (path,), text))
            found += [in_the_model(evidence.function, path, one) for one in own]
        return tuple(found)


def _of_one(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return what the gradients of a function look like, of which no part is wrong by itself."""
    function = evidence.function
    spoilt = not_deterministic(function) or evidence.violated or rounded(function)
    if spoilt:  # to be corrected first
        return tuple(spoilt)
    return (*overwritten(function), *_of_the_numbers(evidence))


def _of_the_numbers(evidence: Evidence) -> list[Diagnosis]:
    wrong = list(cases(evidence))
    if not wrong:
        return []
    try:
        found = linearity.ignored(evidence) or linearity.disproportionate(evidence, wrong)
    except TooLargeError:
        found = []
    found = found or _grouped({case.name: _first(case) for case in wrong})
    found = found or linearity.only_masked(evidence, wrong)
    if not found and evidence.time is not None and evidence.time > 1:
        short = evidence.on_the_first_step()
        if short is not None:
            found = linearity.only_over_time(evidence, short, wrong)
            found = found or [
                Diagnosis(d.kind, d.names, f"{d.text} (seen on the first step alone)")
                for d in _of_the_numbers(short)
            ]
    return found


def _first(case: Case) -> tuple[str, str] | None:
    """Return kind and text of the first hypothesis that predicts the wrong gradient."""
    for hypothesis in HYPOTHESES:
        try:
            for kind, text, predicted in hypothesis(case):
                if predicted is case.analytic or same(case.analytic, predicted):
                    return kind, f"looks like {text}"
        except TooLargeError:  # the others may need less
            continue
    return None


def _grouped(findings: dict[str, tuple[str, str] | None]) -> list[Diagnosis]:
    """Return one diagnosis for all gradients of which the same is said."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, finding in findings.items():
        if finding is not None:
            groups.setdefault(finding, []).append(name)
    return [Diagnosis(kind, tuple(names), text) for (kind, text), names in groups.items()]
