"""From a gradient that is wrong to what it looks like.

Nothing here is a guess: each pattern is a wrong gradient that can be computed from true ones, and a
diagnosis is given only where what backward gives equals it, element by element. Where none fits,
there is no diagnosis.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from minirnn.gradcheck.compare import Measurement
from minirnn.gradcheck.conduct import overwritten
from minirnn.gradcheck.evidence import Evidence, measure
from minirnn.gradcheck.mistakes.case import Case, Finding, make_case
from minirnn.gradcheck.mistakes.derivatives import wrong_derivative
from minirnn.gradcheck.mistakes.parts import broken_parts, prefixed, share_of_the_last_step
from minirnn.gradcheck.mistakes.paths import wrong_path, wrong_source
from minirnn.gradcheck.mistakes.patterns import (
    any_factor,
    in_padding,
    incoming,
    mixed_up,
    named_factor,
    not_finite,
    nothing,
    transposed,
)
from minirnn.gradcheck.mistakes.rows import one_step, other_axis, repeated_token, single_share
from minirnn.gradcheck.mistakes.steady import not_deterministic, rounded
from minirnn.gradcheck.mistakes.whole import disproportionate, ignored, only_masked, only_over_time
from minirnn.gradcheck.probe import Probe
from minirnn.gradcheck.report import Diagnosis

__all__ = ["diagnose"]

_Result = TypeVar("_Result")

PATTERNS: list[Callable[[Case], Finding | None]] = [
    not_finite,
    nothing,
    in_padding,
    transposed,
    mixed_up,
    single_share,
    other_axis,
    repeated_token,
    named_factor,
    one_step,
    incoming,
    wrong_path,
    wrong_source,
    wrong_derivative,
    any_factor,
]
"""In the order of how sure and how simple they are: the first that fits is the diagnosis."""


def diagnose(
    probe: Probe,
    measurements: Sequence[Measurement],
    broken: Sequence[Diagnosis],
    epsilon: float,
    tolerance: float,
) -> tuple[Diagnosis, ...]:
    """Return what the wrong gradients of a probe look like.

    Parameters
    ----------
    probe : Probe
    measurements : list of Measurement
        Its gradients, some of them wrong.
    broken : list of Diagnosis
        The rules that it was seen to break.
    epsilon, tolerance : float
        As in `check_gradients`.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        parts = _tried(broken_parts, probe, epsilon, tolerance)
        if not parts:
            return _diagnose(probe, measurements, broken, epsilon, tolerance)
        found: list[Diagnosis] = []
        for part in parts:
            own: Sequence[Diagnosis] = part.broken
            if part.probe is not None:
                own = _diagnose(part.probe, part.measurements, part.broken, epsilon, tolerance)
            found += [_in_the_whole(probe, part.path, one, epsilon) for one in own]
            if not own:
                kind = type(part.probe.layer).__name__ if part.probe else ""
                text = (
                    f"looks like the place of the mistake: this part ({kind}) fails when it is "
                    f"checked alone, on what it is given here"
                )
                found.append(Diagnosis("part", (part.path,), text))
        return tuple(found)


def _in_the_whole(probe: Probe, path: str, one: Diagnosis, epsilon: float) -> Diagnosis:
    """Return the diagnosis of a part under the names of the whole."""
    names = [name.removeprefix(f"{path}.") for name in probe.parameters if name.startswith(path)]
    text = one.text
    if one.kind == "overwritten":
        steps = _tried(share_of_the_last_step, probe, path, one.names[0], epsilon)
        if steps is not None:
            text += (
                f". Of {steps} steps over time, only the contribution of the one that backward "
                f"meets last is left"
            )
    return Diagnosis(one.kind, prefixed(one.names, path, iter(names)), text)


def _diagnose(
    probe: Probe,
    measurements: Sequence[Measurement],
    broken: Sequence[Diagnosis],
    epsilon: float,
    tolerance: float,
) -> tuple[Diagnosis, ...]:
    """Return what the wrong gradients look like, of a probe without parts that are wrong."""
    random = not_deterministic(probe)
    if random is not None:
        return (random,)
    if broken:
        return tuple(broken)  # it spoils the numbers: to be mended first
    roughness = rounded(probe)
    if roughness is not None:
        text = (
            f"looks like float32 inside: the check runs in float64, but the output moves in jumps "
            f"of {roughness:.0e} of its size, the precision of float32, so the differences are "
            f"mostly rounding. Take the dtype from the input or a parameter "
            f"(np.zeros(shape, x.dtype)), do not write float32"
        )
        return (Diagnosis("float32", ("output",), text),)
    found = []
    assigned = overwritten(probe)
    if assigned is not None:
        found.append(assigned)
    evidence = Evidence(probe, measurements, epsilon, tolerance)
    found += _of_the_numbers(evidence)
    return tuple(found)


def _of_the_numbers(evidence: Evidence) -> list[Diagnosis]:
    cases = [make_case(evidence, name) for name in evidence.measurements]
    wrong = [case for case in cases if case is not None]
    if not wrong:
        return []
    found: list[Diagnosis] = []
    if not any(not_finite(case) for case in wrong):
        found = _tried(ignored, evidence) or []
    found = found or _tried(disproportionate, evidence, wrong) or []
    found = found or _grouped({case.name: _first(case) for case in wrong})
    found = found or _tried(only_masked, evidence) or []
    if not found and evidence.time is not None and evidence.time > 1:
        found = _tried(only_over_time, evidence, wrong) or _tried(_on_one_step, evidence) or []
    return found


def _on_one_step(evidence: Evidence) -> list[Diagnosis]:
    """Look again at sequences of a single step, where less is summed up."""
    given = evidence.probe.given
    names = [name for name in ("input", "mask") if name in given]
    short = evidence.probe.similar(**{name: given[name][:, :1] for name in names})
    measurements = measure(short, evidence.epsilon, evidence.tolerance)
    found = _of_the_numbers(Evidence(short, measurements, evidence.epsilon, evidence.tolerance))
    return [Diagnosis(d.kind, d.names, f"{d.text} (seen on the first step alone)") for d in found]


def _first(case: Case) -> Finding | None:
    for pattern in PATTERNS:
        finding = _tried(pattern, case)
        if finding is not None:
            return finding
    return None


def _tried(experiment: Callable[..., _Result | None], *arguments: Any) -> _Result | None:
    try:
        return experiment(*arguments)
    except Exception:  # the layer refuses it, or it is too large; the error to raise is another
        return None


def _grouped(findings: dict[str, Finding | None]) -> list[Diagnosis]:
    """Return one diagnosis for all gradients of which the same is said."""
    groups: dict[Finding, list[str]] = {}
    for name, finding in findings.items():
        if finding is not None:
            groups.setdefault(finding, []).append(name)
    return [Diagnosis(kind, tuple(names), text) for (kind, text), names in groups.items()]
