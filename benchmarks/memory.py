"""How much memory training takes, in a process of its own for each contestant.

What the process itself holds, as the operating system counts it: so memory that C code takes is
counted for both, which a tool inside Python would not see. The process imports everything, trains a
network of a few numbers to have all that is loaded only once, and draws the batch; what it holds
then is the beginning. Then it builds the model and the optimizer, and trains for a few steps. The
result is the highest that was held meanwhile, minus the beginning.

On Linux the system keeps the highest figure and sets it back on request (``clear_refs`` in
``/proc/self``). Elsewhere it comes from ``resource.getrusage``, which only ever grows: a peak
before the beginning, while importing, hides as much of the training; such a figure is a lower
bound.

    python -m benchmarks.memory minirnn lstm small
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.ladder import CELLS, NAMES, Rung, choose, draw, shrunk
from benchmarks.machine import thread_variables

__all__ = ["measure_memory", "peak_of"]

_STEPS = 4
_WARM_UP = Rung("warm-up", 2, 3, 4, 5, 3, ("train",), dict.fromkeys(CELLS, 1.0))
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure_memory(
    rungs: list[Rung],
    cells: list[str],
    *,
    threads: int,
    small: bool,
    with_torch: bool,
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Return for each rung and cell what each contestant's process said.

    Parameters
    ----------
    rungs : list of Rung
        Those without a training step are left out.
    cells : list of str
    threads : int
    small : bool
        Shrink every rung.
    with_torch : bool
    say : callable
        Is told what is measured next.
    """
    sides = ["minirnn", "torch"] if with_torch else ["minirnn"]
    results = []
    for rung in rungs:
        if "train" not in rung.measures:
            continue
        for cell in cells:
            say(f"{rung.name}, {cell}: memory")
            result: dict[str, Any] = {"name": rung.name, "cell": cell}
            result["sizes"] = (shrunk(rung) if small else rung).sizes
            for side in sides:
                result[side] = peak_of(side, cell, rung.name, threads=threads, small=small)
            results.append(result)
    return results


def peak_of(side: str, cell: str, name: str, *, threads: int = 1, small: bool = False) -> Any:
    """Start a process for one contestant and return what it found: bytes, and how."""
    command = [sys.executable, "-m", "benchmarks.memory", side, cell, name]
    finished = subprocess.run(
        command + ["small"] * small,
        env=thread_variables(threads),
        cwd=Path(__file__).parent.parent,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(finished.stdout.splitlines()[-1])


# ---------------------------------------------------------------- inside that process


def _peak(side: str, cell: str, rung: Rung) -> dict[str, Any]:
    _train(side, cell, _WARM_UP)
    data = draw(rung)
    gc.collect()
    before, method = _begin()
    _train(side, cell, rung, data)
    return {"bytes": max(0, _highest(method) - before), "method": method}


def _train(side: str, cell: str, rung: Rung, data: Any = None) -> None:
    data = draw(rung) if data is None else data
    if side == "torch":
        from benchmarks.peers import torch_calls

        step = torch_calls(cell, rung, ("train",), data)["torch"]["train"]
    else:
        from benchmarks.ours import model_of, train_call

        step = train_call(model_of(cell, rung), data)
    for _ in range(_STEPS):
        step()


def _begin() -> tuple[int, str]:
    """Return what is held now, and the way in which the highest will be read."""
    try:
        _RESET.write_text("5")
        return _from_status("VmRSS"), "VmHWM of the process, set back before"
    except OSError:
        return _from_getrusage(), "ru_maxrss, a lower bound"


def _highest(method: str) -> int:
    return _from_status("VmHWM") if method.startswith("VmHWM") else _from_getrusage()


def _from_status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _from_getrusage() -> int:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    _side, _cell, _name = sys.argv[1:4]
    assert _name in NAMES, _name
    (_rung,), _ = choose([_name])
    print(json.dumps(_peak(_side, _cell, shrunk(_rung) if "small" in sys.argv[4:] else _rung)))
