"""Measure the ladder, and put the times into one document of plain dictionaries."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import limit, ours, peers
from benchmarks.ladder import Calls, Rung, draw, shrunk
from benchmarks.timing import Settings, ratio, spread, take_turns

__all__ = ["measure_all", "result_of"]


def measure_all(
    rungs: Sequence[Rung],
    cells: Sequence[str],
    settings: Settings,
    *,
    small: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Return one result for each rung, cell and measure.

    Parameters
    ----------
    rungs, cells
    settings : Settings
    small : bool
        Shrink every rung to sizes that take no time.
    clock : callable
        Seconds from any beginning.
    say : callable
        Is told what is measured next.

    Raises
    ------
    AssertionError
        If minirnn and PyTorch do not compute the same from the same weights.
    """
    results = []
    for given in rungs:
        rung = shrunk(given) if small else given
        for cell in cells:
            contestants = _contestants(cell, rung)
            for measure in rung.measures:
                say(f"{rung.name}, {cell}: {measure}")
                calls = {who: own[measure] for who, own in contestants.items() if measure in own}
                _check_agreement(calls)
                samples = take_turns(calls, settings, clock)
                results.append(result_of(rung, cell, measure, samples))
    return results


def _contestants(cell: str, rung: Rung) -> dict[str, Calls]:
    data, model = draw(rung), ours.model_of(cell, rung)
    contestants = {"minirnn": ours.calls(model, rung.measures, data)}
    if peers.find_torch() is not None:
        contestants |= peers.torch_calls(cell, rung, rung.measures, data, model)
    contestants["limit"] = limit.calls(cell, rung, rung.measures)
    return contestants


def _check_agreement(calls: Calls) -> None:
    """Compare what the contestants return at their first call: the same weights, the same batch."""
    answers = {who: call() for who, call in calls.items() if who != "limit"}
    for who, answer in answers.items():
        number = answer.detach() if hasattr(answer, "detach") else answer
        np.testing.assert_allclose(
            np.asarray(number), answers["minirnn"], rtol=1e-3, atol=1e-4, err_msg=who
        )


def result_of(
    rung: Rung, cell: str, measure: str, samples: dict[str, list[float]]
) -> dict[str, Any]:
    """Return what the document says about one rung, cell and measure.

    ``seconds`` has the contestants' medians, quartiles and samples; ``ratios`` those of the times
    divided by one another, round by round: how often minirnn's time fits into PyTorch's, and the
    limit into minirnn's.
    """
    own = samples["minirnn"]
    ratios = {
        f"{peer} / minirnn": ratio(samples[peer], own)
        for peer in ("torch", "torch_autograd")
        if peer in samples
    }
    ratios["minirnn / limit"] = ratio(own, samples["limit"])
    return {
        "name": rung.name,
        "cell": cell,
        "measure": measure,
        "sizes": rung.sizes,
        "target": rung.target(cell, measure),
        "seconds": {who: spread(times) | {"samples": times} for who, times in samples.items()},
        "ratios": {name: spread(values) for name, values in ratios.items()},
    }
