"""Finding the smallest part of a model that is wrong by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.gradcheck.arguments import CellFunction, checked_function
from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.compare import Measurement, measure
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.report import Diagnosis, GradientError
from minirnn.gradcheck.violations import violations

__all__ = ["Part", "broken_parts", "in_the_whole"]


@dataclass(frozen=True)
class Part:
    """A layer or cell inside the checked one that fails when it is checked alone."""

    path: str
    function: CheckedFunction | None
    measurements: list[Measurement]
    violated: list[Diagnosis]


def broken_parts(whole: CheckedFunction, epsilon: float, tolerance: float) -> list[Part]:
    """Check every part alone, on what it is given inside, and return the smallest that fail.

    Evidence: the whole is run once, and the arguments of each part's forward are written down. (For
    a cell those of its last step, so that the state is not zero.)
    """
    found: list[Part] = []
    calls = _calls(whole)
    for path in reversed([path for path in whole.parts if path in calls]):
        inside = any(part.path.startswith(f"{path}.") for part in found)
        part = None if inside else _examine(whole, path, calls[path], epsilon, tolerance)
        if part is not None:
            found.append(part)
    return found[::-1]


_Call = tuple[tuple[Any, ...], dict[str, Any]]


def _calls(whole: CheckedFunction) -> dict[str, _Call]:
    calls: dict[str, _Call] = {}

    def noting(path: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            calls[path] = copy.deepcopy((args, kwargs))
            return forward(*args, **kwargs)

        return noted

    whole.restart()
    forwards = {k: {"forward": noting(k, p.forward)} for k, p in whole.parts.items() if k}
    with whole.replaced(forwards):
        whole.fresh_outputs()
    return calls


def _examine(
    whole: CheckedFunction, path: str, call: _Call, epsilon: float, tolerance: float
) -> Part | None:
    layer, (args, kwargs) = whole.parts[path], call
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


def in_the_whole(whole: CheckedFunction, path: str, one: Diagnosis, epsilon: float) -> Diagnosis:
    """Return the diagnosis of a part under the names of the whole."""
    text = one.text
    if one.kind == "overwritten":
        steps = _share_of_the_last_step(whole, path, one.names[0], epsilon)
        if steps is not None:
            text += (
                f". Of {steps} steps over time, only the contribution of the one that backward "
                f"meets last is left"
            )
    full = [(f"{path}.{name}", f"{name} of {path}") for name in one.names]
    names = tuple(name if name in whole.parameters else other for name, other in full)
    return Diagnosis(one.kind, names, text)


def _share_of_the_last_step(
    whole: CheckedFunction, path: str, name: str, epsilon: float
) -> int | None:
    """Return the number of steps, if only the one that backward meets last has left a gradient.

    Evidence: the parameter is moved while the cell makes its first step, and put back for the
    others; the slopes that result equal what backward gives over all steps.
    """
    full = f"{path}.{name}"
    if not isinstance(whole.parts[path], Cell) or isinstance(whole, CellFunction):
        return None
    whole.restart()
    forward, array = whole.parts[path].forward, whole.variables[full]
    steps = 0
    move: tuple[tuple[int, ...], float] | None = None

    def moving(*args: Any) -> Any:
        nonlocal steps
        steps += 1
        if move is None or steps > 1:
            return forward(*args)
        (index, by), original = move, array[move[0]]
        array[index] = original + by
        result = forward(*args)
        array[index] = original
        return result

    slopes = np.empty(array.shape)
    with whole.replaced({path: {"forward": moving}}):
        for index in np.ndindex(array.shape):
            ends = []
            for by in (epsilon, -epsilon):
                steps, move = 0, (index, by)
                ends.append(whole())
            slopes[index] = (ends[0] - ends[1]) / (2 * epsilon)
        steps, move = 0, None
        whole()
    given = whole.gradients(start=0.0)[full]
    return steps if steps > 1 and same(given, slopes) else None
