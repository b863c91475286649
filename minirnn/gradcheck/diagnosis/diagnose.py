"""From a gradient that is wrong to what it looks like."""

from __future__ import annotations

import warnings

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis import (
    chain_rule,
    constants,
    jacobians,
    linearity,
    paths,
    reductions,
    simple,
    terms,
)
from minirnn.gradcheck.diagnosis.case import Case, Hypothesis, make_case
from minirnn.gradcheck.diagnosis.determinism import not_deterministic, rounded
from minirnn.gradcheck.diagnosis.evidence import Evidence, TooLargeError
from minirnn.gradcheck.diagnosis.parts import broken_parts, in_the_model
from minirnn.gradcheck.report import Diagnosis
from minirnn.gradcheck.violations import overwritten

__all__ = ["diagnose"]

HYPOTHESES: list[Hypothesis] = [
    simple.nothing,
    simple.in_padding,
    simple.transposed,
    simple.mixed_up,
    simple.permuted_gates,
    reductions.single_share,
    reductions.other_axis,
    reductions.repeated_token,
    constants.named_factor,
    reductions.one_step,
    simple.incoming,
    simple.diagonal,
    simple.missing_output,
    paths.wrong_path,
    paths.wrong_source,
    jacobians.normalization,
    chain_rule.wrong_derivative,
    terms.factor_of_the_incoming,
    terms.missing_term,
    constants.any_factor,
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
            found += [in_the_model(evidence.function, path, one) for one in own]
            if not own:
                kind = type(evidence.function.parts[path]).__name__
                text = (
                    f"looks like the place of the mistake: this part ({kind}) fails when it is "
                    f"checked alone, on what it is given here"
                )
                found.append(Diagnosis("part", (path,), text))
        return tuple(found)


def _of_one(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return what the gradients of a function look like, of which no part is wrong by itself."""
    function = evidence.function
    random = not_deterministic(function)
    if random is not None:
        return (random,)
    if evidence.violated:
        return evidence.violated  # it spoils the numbers: to be corrected first
    roughness = rounded(function)
    if roughness is not None:
        text = (
            f"looks like float32 inside: the check runs in float64, but the output moves in jumps "
            f"of {roughness:.0e} of its size, the precision of float32, so the differences are "
            f"mostly rounding. Take the dtype from the input or a parameter "
            f"(np.zeros(shape, x.dtype)), do not write float32"
        )
        return (Diagnosis("float32", ("output",), text),)
    assigned = overwritten(function)
    return (*([assigned] if assigned else []), *_of_the_numbers(evidence))


def _of_the_numbers(evidence: Evidence) -> list[Diagnosis]:
    cases = [make_case(evidence, name) for name in evidence.measurements]
    wrong = [case for case in cases if case is not None]
    if not wrong:
        return []
    infinite = {case.name: simple.not_finite(case) for case in wrong}
    if any(infinite.values()):
        return _grouped({name: ("nan", text) for name, text in infinite.items() if text})
    try:
        found = linearity.ignored(evidence) or linearity.disproportionate(evidence, wrong)
    except TooLargeError:
        found = []
    found = found or _grouped({case.name: _first(case) for case in wrong})
    found = found or linearity.only_masked(evidence)
    if not found and evidence.time is not None and evidence.time > 1:
        found = linearity.only_over_time(evidence, wrong) or _on_one_step(evidence)
    return found


def _on_one_step(evidence: Evidence) -> list[Diagnosis]:
    """Look again at sequences of a single step, where less is summed up."""
    short = evidence.again(**evidence.first_step())
    found = [] if short is None else _of_the_numbers(short)
    return [Diagnosis(d.kind, d.names, f"{d.text} (seen on the first step alone)") for d in found]


def _first(case: Case) -> tuple[str, str] | None:
    """Return kind and text of the first hypothesis that predicts the wrong gradient."""
    for hypothesis in HYPOTHESES:
        try:
            for kind, text, gradient, measured in hypothesis(case):
                if same(case.analytic if measured is None else measured, gradient):
                    return kind, text
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
