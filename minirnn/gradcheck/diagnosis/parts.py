"""Finding the smallest part of a model that is wrong by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from minirnn.cells.cell import Cell
from minirnn.gradcheck.arguments import checked_function
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.report import Diagnosis, GradientError
from minirnn.gradcheck.violations import violations

__all__ = ["broken_parts", "in_the_model"]


def broken_parts(model: Evidence) -> dict[str, Evidence | tuple[Diagnosis, ...]]:
    """Check every part alone, on what it is given inside, and return the smallest that fail.

    Evidence: the model is run once, and the arguments of each part's forward are written down. (For
    a cell those of its last step, so that the state is not zero.) Of a part whose methods return
    something else than they should, there is no evidence, but the diagnosis.
    """
    found: dict[str, Evidence | tuple[Diagnosis, ...]] = {}
    calls = _calls(model.function)
    for path in reversed([path for path in model.function.parts if path in calls]):
        if not any(inside.startswith(f"{path}.") for inside in found):
            part = _examined(model, path, calls[path])
            if part is not None:
                found[path] = part
    return dict(reversed(found.items()))


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


def _examined(model: Evidence, path: str, call: _Call) -> Evidence | tuple[Diagnosis, ...] | None:
    """Return what is found about a part by itself; None where nothing is wrong."""
    layer, (args, kwargs) = model.function.parts[path], call
    is_cell = isinstance(layer, Cell)
    inputs = args[:2] if is_cell else args[:1]
    mask = kwargs.get("mask", args[1] if len(args) > 1 and not is_cell else None)
    try:
        alone = checked_function(layer, inputs, mask)
        part = Evidence(alone, model.epsilon, model.tolerance, violations(alone))
    except GradientError as error:
        return error.diagnoses
    except (RefusedError, TypeError):  # it cannot be run alone in this way
        return None
    return None if part.passed() and not part.violated else part


def in_the_model(model: CheckedFunction, path: str, one: Diagnosis) -> Diagnosis:
    """Return the diagnosis of a part under the names of the model."""
    full = [(f"{path}.{name}", f"{name} of {path}") for name in one.names]
    names = tuple(name if name in model.parameters else other for name, other in full)
    return Diagnosis(one.kind, names, one.text)
