"""From a gradient that is wrong to what it looks like."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.gradcheck.arguments import checked_function
from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis import experiments, hypotheses, products
from minirnn.gradcheck.diagnosis.evidence import Case, Evidence, Hypothesis, TooLargeError, cases
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.report import Diagnosis, GradientError
from minirnn.gradcheck.violations import overwritten

HYPOTHESES: list[Hypothesis] = [
    hypotheses.not_finite,
    hypotheses.on_masked_steps,
    hypotheses.constant_factor,
    hypotheses.ignored,
    hypotheses.transposed,
    hypotheses.mixed_up,
    hypotheses.gate_order,
    hypotheses.not_summed,
    hypotheses.one_step,
    hypotheses.direct_connection,
    hypotheses.transposed_weight,
    hypotheses.wrong_array,
    products.wrong_factor,
    products.wrong_term,
]
"""In the order of how sure and how simple they are: the first that fits is the diagnosis."""


def diagnose(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return what the wrong gradients look like."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return _in_parts(evidence) or _of_one(evidence)


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
    found, wrong = _named(evidence, HYPOTHESES), list(cases(evidence))
    if found or not wrong:
        return found
    short = evidence.first_step() if (evidence.time or 1) > 1 else None
    if short is not None:
        found = experiments.only_over_time(evidence, short, wrong)
        found += [
            Diagnosis(d.kind, d.names, f"{d.text} (seen on the first step alone)")
            for d in _named(short, HYPOTHESES)
        ]
    return found or _named(evidence, [hypotheses.place])


def _named(evidence: Evidence, tried: list[Hypothesis]) -> list[Diagnosis]:
    """Return one diagnosis for all wrong gradients that look the same."""
    groups: dict[tuple[str, str], list[str]] = {}
    for case in cases(evidence):
        found = _first(case, tried)
        if found is not None:
            groups.setdefault(found, []).append(case.name)
    return [Diagnosis(kind, tuple(names), text) for (kind, text), names in groups.items()]


def _first(case: Case, tried: list[Hypothesis]) -> tuple[str, str] | None:
    """Return kind and text of the first hypothesis that predicts the wrong gradient."""
    for hypothesis in tried:
        try:
            for kind, text, predicted in hypothesis(case):
                if predicted is case.analytic or same(case.analytic, predicted):
                    return kind, f"looks like {text}"
        except TooLargeError:  # the others may need less
            continue
    return None


# ---------------------------------------------------------------- the smallest part that is wrong


def _in_parts(model: Evidence) -> tuple[Diagnosis, ...]:
    """Check every part alone, on what it is given inside; say what the smallest wrong look like.

    Evidence: the model is run once, and the arguments of each part's forward are written down (for
    a cell those of its last step, so that the state is not zero).
    """
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def noted(path: str, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if name == "forward":
            calls[path] = copy.deepcopy((args, kwargs))
        return method(*args, **kwargs)

    model.function.restart()
    with model.function.hooked(noted):
        model.function.fresh_outputs()
    found: dict[str, tuple[Diagnosis, ...]] = {}
    for path in reversed([path for path in model.function.parts if path and path in calls]):
        if not any(inside.startswith(f"{path}.") for inside in found):
            own = _alone(model, path, *calls[path])
            if own:
                found[path] = own
    return tuple(diagnosis for path in reversed(found) for diagnosis in found[path])


def _alone(
    model: Evidence, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Diagnosis, ...]:
    """Return what a part looks like by itself; empty where nothing is wrong."""
    layer = model.function.parts[path]
    inputs, mask = args[:1], kwargs.get("mask", args[1] if len(args) > 1 else None)
    if isinstance(layer, Cell):
        inputs, mask = args, None
    try:
        alone = checked_function(layer, inputs, mask)
        part = Evidence(alone, model.epsilon, model.tolerance)
        if not (part.failed or part.violated or overwritten(alone)):
            return ()
        own = _of_one(part)
    except GradientError as error:
        own = error.diagnoses
    except (RefusedError, TypeError):  # it cannot be run alone in this way
        return ()
    text = (
        f"looks like the place of the mistake: this part ({type(layer).__name__}) fails when it is "
        f"checked alone, on what it is given here"
    )
    named = tuple(_in_the_model(model.function, path, one) for one in own)
    return named or (Diagnosis("part", (path,), text),)


def _in_the_model(model: CheckedFunction, path: str, one: Diagnosis) -> Diagnosis:
    """Return the diagnosis of a part under the names of the model."""
    full = [(f"{path}.{name}", f"{name} of {path}") for name in one.names]
    names = tuple(name if name in model.parameters else other for name, other in full)
    return Diagnosis(one.kind, names, one.text)
