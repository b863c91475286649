"""What is measured: networks of growing size, and what minirnn wants to reach on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

__all__ = [
    "CELLS",
    "LADDER",
    "MEASURES",
    "NAMES",
    "Calls",
    "Data",
    "Rung",
    "choose",
    "draw",
    "shrunk",
]

CELLS = ("rnn", "lstm", "gru")

MEASURES = {
    "train": "Whole training step: zero gradients, forward, loss, backward, clip by norm, Adam",
    "forward": "Forward alone, in evaluation mode",
    "step": "One step of a stream at batch 1, the recurrent layer alone",
    "model step": "One step of a stream at batch 1, the model: recurrent layer and Dense",
}

Calls: TypeAlias = dict[str, Callable[[], Any]]
"""From the name of a measure to the function that is timed."""


@dataclass(frozen=True)
class Rung:
    """One size of network and batch.

    Attributes
    ----------
    name : str
    batch, steps, inputs, hidden, outputs : int
    measures : tuple of str
        Which of `MEASURES` are taken on it.
    targets : dict
        From the cell to PyTorch's time divided by minirnn's that is aimed at, where there is such
        an aim: for the training step, and for one step of a stream through the model.
    """

    name: str
    batch: int
    steps: int
    inputs: int
    hidden: int
    outputs: int
    measures: tuple[str, ...]
    targets: dict[str, float]

    def target(self, cell: str, measure: str) -> float | None:
        """Return the ratio aimed at, or None."""
        return self.targets.get(cell) if measure in ("train", "model step") else None

    @property
    def sizes(self) -> dict[str, int]:
        """The five sizes by their names."""
        names = ("batch", "steps", "inputs", "hidden", "outputs")
        return {name: getattr(self, name) for name in names}


def _rung(
    name: str,
    batch: int,
    steps: int,
    inputs: int,
    hidden: int,
    outputs: int,
    *,
    targets: tuple[float, float, float],
) -> Rung:
    aims = dict(zip(CELLS, targets, strict=True))
    return Rung(name, batch, steps, inputs, hidden, outputs, ("train", "forward"), aims)


def _step(name: str, inputs: int, hidden: int, outputs: int, *, target: float) -> Rung:
    aims = dict.fromkeys(CELLS, target)
    return Rung(name, 1, 1, inputs, hidden, outputs, ("step", "model step"), aims)


LADDER = (
    _rung("adder", 32, 8, 2, 16, 2, targets=(8, 7.5, 11)),
    _rung("tiny", 16, 20, 16, 32, 10, targets=(9, 5.5, 11)),
    _rung("characters", 1, 25, 80, 100, 80, targets=(10, 4.3, 10)),
    _rung("small", 32, 50, 32, 64, 32, targets=(4.2, 1.8, 4.2)),
    _rung("medium", 32, 100, 64, 128, 64, targets=(2.1, 1.25, 2)),
    _rung("large", 64, 100, 128, 256, 128, targets=(1.3, 1.3, 1.4)),
    _step("step16", 16, 16, 16, target=8),
    _step("step", 80, 100, 80, target=5),
    _step("step256", 128, 256, 128, target=2.5),
)

NAMES = tuple(rung.name for rung in LADDER)


def choose(only: Sequence[str]) -> tuple[list[Rung], list[str]]:
    """Return the rungs and the cells named in `only`; all rungs where it names none, and so cells.

    Raises
    ------
    ValueError
        If a word is neither the name of a rung nor a cell.
    """
    unknown = [word for word in only if word not in NAMES and word not in CELLS]
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is neither a network ({', '.join(NAMES)}) nor a cell "
            f"({', '.join(CELLS)})"
        )
    rungs = [rung for rung in LADDER if rung.name in only]
    cells = [cell for cell in CELLS if cell in only]
    return rungs or list(LADDER), cells or list(CELLS)


def shrunk(rung: Rung) -> Rung:
    """Return the rung at sizes that take no time, without targets: to see that it runs."""
    small: dict[str, Any] = {name: min(size, 4) for name, size in rung.sizes.items()}
    return replace(rung, **small, targets={})


class Data(NamedTuple):
    """A batch: what every contestant is given."""

    x: np.ndarray  # (batch, steps, inputs), float32
    targets: np.ndarray  # (batch, steps), classes


def draw(rung: Rung, seed: int = 0) -> Data:
    """Draw a random batch."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rung.batch, rung.steps, rung.inputs), dtype=np.float32)
    return Data(x, rng.integers(rung.outputs, size=(rung.batch, rung.steps)))
