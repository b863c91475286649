"""Finding the smallest part of a model that is wrong by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.compare import Measurement
from minirnn.gradcheck.conduct import breaches
from minirnn.gradcheck.evidence import measure
from minirnn.gradcheck.probe import Probe
from minirnn.gradcheck.probes import CellProbe, probe
from minirnn.gradcheck.report import Diagnosis, GradientError

__all__ = ["Part", "broken_parts", "share_of_the_last_step"]


@dataclass(frozen=True)
class Part:
    """A layer or cell inside the checked one that fails when it is checked alone."""

    path: str
    probe: Probe | None
    measurements: list[Measurement]
    broken: list[Diagnosis]


def broken_parts(whole: Probe, epsilon: float, tolerance: float) -> list[Part]:
    """Check every part alone, on what it is given inside, and return the smallest that fail.

    Evidence: the whole is run once, and the arguments of each part's forward are written down. (For
    a cell those of its last step, so that the state is not zero.)
    """
    found: list[Part] = []
    paths = [path for path, _ in whole.layer.named_layers()] if hasattr(whole.layer, "eval") else []
    for k, arguments in sorted(_calls(whole).items(), reverse=True):
        inside = any(_is_within(part.path, paths[k]) for part in found)
        part = None if inside else _examine(whole.parts[k], paths[k], arguments, epsilon, tolerance)
        if part is not None:
            found.append(part)
    return found[::-1]


def _is_within(path: str, other: str) -> bool:
    return path.startswith(f"{other}.")


_Call = tuple[tuple[Any, ...], dict[str, Any]]


def _calls(whole: Probe) -> dict[int, _Call]:
    calls: dict[int, _Call] = {}

    def noting(k: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            calls[k] = copy.deepcopy((args, kwargs))
            return forward(*args, **kwargs)

        return noted

    whole.restart()
    forwards = {k: noting(k, p.forward) for k, p in enumerate(whole.parts) if k}
    with whole.replaced(forwards):
        whole.fresh_outputs()
    return calls


def _examine(layer: Any, path: str, call: _Call, epsilon: float, tolerance: float) -> Part | None:
    args, kwargs = call
    is_cell = isinstance(layer, Cell)
    inputs = args[:2] if is_cell else args[:1]
    mask = kwargs.get("mask", args[1] if len(args) > 1 and not is_cell else None)
    try:
        alone = probe(layer, inputs, mask, None, np.random.default_rng(0))
        broken = breaches(alone)
        measurements = measure(alone, epsilon, tolerance)
    except GradientError as error:
        return Part(path, None, [], list(error.diagnoses))
    except Exception:  # it cannot be run alone in this way
        return None
    if not broken and all(measurement.passed for measurement in measurements):
        return None
    return Part(path, alone, measurements, broken)


def share_of_the_last_step(whole: Probe, path: str, name: str, epsilon: float) -> int | None:
    """Return the number of steps, if only the one that backward meets last has left a gradient.

    Evidence: the parameter is moved while the cell makes its first step, and put back for the
    others; the slopes that result equal what backward gives over all steps.
    """
    paths = [path for path, _ in whole.layer.named_layers()]
    k, full = paths.index(path), f"{path}.{name}"
    if not isinstance(whole.parts[k], Cell) or isinstance(whole, CellProbe):
        return None
    whole.restart()
    forward, array = whole.parts[k].forward, whole.variables[full]
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
    with whole.replaced({k: moving}):
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


def prefixed(names: tuple[str, ...], path: str, parameters: Iterator[str]) -> tuple[str, ...]:
    """Return the names of a part's gradients as the whole knows them."""
    own = set(parameters)
    return tuple(f"{path}.{name}" if name in own else f"{name} of {path}" for name in names)
