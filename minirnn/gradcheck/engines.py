"""What runs a recurrent layer fast, beside the time loop."""

from __future__ import annotations

from minirnn import engine
from minirnn.gradcheck.arrays import difference
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import Diagnosis
from minirnn.recurrent.recurrent import Recurrent
from minirnn.typing import Array

__all__ = ["beside_the_loop"]

AGREE = 1e-10
"""Relative; engines differ from the loop in the order of sums alone."""


def beside_the_loop(function: CheckedFunction) -> tuple[list[str], list[Diagnosis]]:
    """Run once as the layer runs, once in the time loop, and compare outputs and gradients.

    Returns notes, on what runs each recurrent layer and how far it is from the loop; and a
    diagnosis, if they differ by more than rounding.
    """
    layers = {k: part for k, part in function.parts.items() if isinstance(part, Recurrent)}
    with engine.use("off"):
        slow = {path: layer.engine for path, layer in layers.items()}
    fast = {path: layer.engine for path, layer in layers.items()}
    notes = [f"{path or 'it'} runs in {fast[path]}" for path in layers if fast[path] != slow[path]]
    if all("loop" in words for words in fast.values()):
        return notes, []
    ours = _run(function)
    with engine.use("off"):
        loop = _run(function)
    gaps = {name: difference(ours[name], loop[name]) for name in loop}
    worst = max(gaps, key=lambda name: gaps[name])
    names = tuple(name for name, gap in gaps.items() if gap > AGREE)
    if not names:
        notes.append(f"outputs and gradients are those of the time loop, to {gaps[worst]:.0e}")
        return notes, []
    text = (
        f"looks like an engine that gives other numbers than the time loop, by {gaps[worst]:.2g} "
        f"of {worst}: {notes[0]}. With engine='off' the loop runs; please report it"
    )
    return notes, [Diagnosis("engine", names, text)]


def _run(function: CheckedFunction) -> dict[str, Array]:
    """Return copies of the outputs, and the gradients."""
    outputs = [output.astype(float) for output in function.fresh_outputs()]
    gradients = function.backward(function.weights)
    names = ["output", *(f"new state[{k}]" for k in range(len(outputs) - 1))]
    return dict(zip(names, outputs, strict=True)) | gradients
