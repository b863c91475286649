"""Finding the smallest part of a model that is wrong by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.gradcheck.arguments import checked_function
from minirnn.gradcheck.compare import Measurement, measure
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.report import Diagnosis, GradientError
from minirnn.gradcheck.violations import violations

__all__ = ["Part", "broken_parts", "in_the_model"]


@dataclass(frozen=True)
class Part:
    """A layer or cell inside the checked one that fails when it is checked alone."""

    path: str
    function: CheckedFunction | None
    measurements: list[Measurement]
    violated: list[Diagnosis]


def broken_parts(model: CheckedFunction, epsilon: float, tolerance: float) -> list[Part]:
    """Check every part alone, on what it is given inside, and return the smallest that fail.

    Evidence: the model is run once, and the arguments of each part's forward are written down. (For
    a cell those of its last step, so that the state is not zero.)
    """
    found: list[Part] = []
    calls = _calls(model)
    for path in reversed([path for path in model.parts if path in calls]):
        inside = any(part.path.startswith(f"{path}.") for part in found)
        part = None if inside else _examine(model, path, calls[path], epsilon, tolerance)
        if part is not None:
            found.append(part)
    return found[::-1]


_Call = tuple[tuple[Any, ...], dict[str, Any]]


def _calls(model: CheckedFunction) -> dict[str, _Call]:
    calls: dict[str, _Call] = {}

    def noting(path: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            calls[path] = copy.deepcopy((args, kwargs))
            return forward(*args, **kwargs)

        return noted

    model.restart()
    forwards = {k: {"forward": noting(k, p.forward)} for k, p in model.parts.items() if k}
    with model.replaced(forwards):
        model.fresh_outputs()
    return calls


def _examine(
    model: CheckedFunction, path: str, call: _Call, epsilon: float, tolerance: float
) -> Part | None:
    layer, (args, kwargs) = model.parts[path], call
    is_cell = isinstance(layer, Cell)
    inputs = args[:2] if is_cell else args[:1]
    mask = kwargs.get("mask", args[1] if len(args) > 1 and not is_cell else None)
    try:
        alone = checked_function(layer, inputs, mask, None, None, np.random.default_rng(0))
        violated = violations(alone)
        measurements = measure(alone, epsilon, tolerance)
    except GradientError as error:
        return Part(path, None, [], list(error.diagnoses))
    except (RefusedError, TypeError):  # it cannot be run alone in this way
        return None
    if not violated and all(measurement.passed for measurement in measurements):
        return None
    return Part(path, alone, measurements, violated)


def in_the_model(model: CheckedFunction, path: str, one: Diagnosis) -> Diagnosis:
    """Return the diagnosis of a part under the names of the model."""
    full = [(f"{path}.{name}", f"{name} of {path}") for name in one.names]
    names = tuple(name if name in model.parameters else other for name, other in full)
    return Diagnosis(one.kind, names, one.text)
