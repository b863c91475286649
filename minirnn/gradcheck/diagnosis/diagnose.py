"""From a gradient that is wrong to what it looks like."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.gradcheck.arguments import checked_function
from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis import edits, experiments, incoming, jacobians, products
from minirnn.gradcheck.diagnosis.evidence import Case, Evidence, Hypothesis, TooLargeError, cases
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.report import Diagnosis, GradientError
from minirnn.gradcheck.violations import overwritten

__all__ = ["diagnose"]

HYPOTHESES: list[Hypothesis] = [
    edits.not_finite,
    edits.nothing,
    incoming.ignored,
    edits.in_padding,
    edits.transposed,
    edits.mixed_up,
    edits.permuted_gates,
    incoming.single_share,
    incoming.other_axis,
    incoming.repeated_token,
    edits.constant_factor,
    incoming.one_step,
    incoming.handed_on,
    incoming.diagonal,
    incoming.wrong_way,
    incoming.wrong_source,
    jacobians.normalisation,
    products.wrong_factor,
    products.wrong_term,
]
"""In the order of how sure and how simple they are: the first that fits is the diagnosis."""


def diagnose(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return what the wrong gradients look like."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        parts = _broken_parts(evidence)
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
            found += [_in_the_model(evidence.function, path, one) for one in own]
        return tuple(found)


def _of_one(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return what the gradients of a function look like, of which no part is wrong by itself."""
    function = evidence.function
    spoilt = (
        experiments.not_deterministic(function)
        or evidence.violated
        or experiments.rounded(function)
    )
    if spoilt:  # to be corrected first
        return tuple(spoilt)
    return (*overwritten(function), *_of_the_numbers(evidence))


def _of_the_numbers(evidence: Evidence) -> list[Diagnosis]:
    wrong = list(cases(evidence))
    if not wrong:
        return []
    found = experiments.disproportionate(evidence, wrong)
    told = {name for diagnosis in found for name in diagnosis.names}
    found += _grouped({case.name: _first(case) for case in wrong if case.name not in told})
    found = found or experiments.only_masked(evidence, wrong)
    if not found and evidence.time is not None and evidence.time > 1:
        given = evidence.function.given
        short = evidence.again(**{k: given[k][:, :1] for k in ("input", "mask") if k in given})
        if short is not None:
            found = experiments.only_over_time(evidence, short, wrong)
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


# ---------------------------------------------------------------- the smallest part that is wrong


def _broken_parts(model: Evidence) -> dict[str, Evidence | tuple[Diagnosis, ...]]:
    """Check every part alone, on what it is given inside, and return the smallest that fail.

    Evidence: the model is run once, and the arguments of each part's forward are written down. (For
    a cell those of its last step, so that the state is not zero.) Of a part whose methods return
    something else than they should, there is no evidence, but the diagnosis.
    """
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def noted(path: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        calls[path] = copy.deepcopy((args, kwargs))
        return forward(*args, **kwargs)

    model.function.restart()
    parts = {path: part for path, part in model.function.parts.items() if path}
    hooks = {path: {"forward": partial(noted, path, p.forward)} for path, p in parts.items()}
    with model.function.replaced(hooks):
        model.function.fresh_outputs()
    found: dict[str, Evidence | tuple[Diagnosis, ...]] = {}
    for path in reversed([path for path in parts if path in calls]):
        if not any(inside.startswith(f"{path}.") for inside in found):
            part = _examined(model, path, *calls[path])
            if part is not None:
                found[path] = part
    return dict(reversed(found.items()))


def _examined(
    model: Evidence, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Evidence | tuple[Diagnosis, ...] | None:
    """Return what is found about a part by itself; None where nothing is wrong."""
    layer = model.function.parts[path]
    is_cell = isinstance(layer, Cell)
    inputs = args[:2] if is_cell else args[:1]
    mask = kwargs.get("mask", args[1] if len(args) > 1 and not is_cell else None)
    try:
        alone = checked_function(layer, inputs, mask)
        part = Evidence(alone, model.epsilon, model.tolerance)
        return part if part.failed or part.violated or overwritten(alone) else None
    except GradientError as error:
        return error.diagnoses
    except (RefusedError, TypeError):  # it cannot be run alone in this way
        return None


def _in_the_model(model: CheckedFunction, path: str, one: Diagnosis) -> Diagnosis:
    """Return the diagnosis of a part under the names of the model."""
    full = [(f"{path}.{name}", f"{name} of {path}") for name in one.names]
    names = tuple(name if name in model.parameters else other for name, other in full)
    return Diagnosis(one.kind, names, one.text)
