"""The limit: the matrix products alone, which no implementation on this BLAS can leave out.

For a training step, with ``G`` gates::

    forward     x Wx       all steps at once        (batch * steps, inputs) (inputs, G hidden)
                h Wh       step by step             (batch, hidden) (hidden, G hidden)
                y W        all steps at once        (batch * steps, hidden) (hidden, outputs)
    backward    dy W^T, y^T dy                      of the Dense, all steps at once
                da Wh^T    step by step             (batch, G hidden) (G hidden, hidden)
                x^T da, h^T da                      all steps at once

The gradient on the input of the model is not among them: nobody reads it. Forward alone and one
step of a stream have the products of the forward part. All matrices are contiguous, all results
written into memory that is there already, and the products are called one by one as NumPy has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from benchmarks.ladder import Calls, Rung

__all__ = ["calls", "pairs"]

_GATES = {"rnn": 1, "lstm": 4, "gru": 3}


Pairs: TypeAlias = list[tuple[np.ndarray, np.ndarray]]


def pairs(cell: str, rung: Rung) -> dict[str, Pairs]:
    """Return for each measure the matrices to multiply, in their order."""
    gates, rows = _GATES[cell] * rung.hidden, rung.batch * rung.steps
    rng = np.random.default_rng(0)

    def matrix(*shape: int) -> np.ndarray:
        return 0.1 * rng.standard_normal(shape, dtype=np.float32)

    x, y, a = matrix(rows, rung.inputs), matrix(rows, rung.hidden), matrix(rows, gates)
    Wx, Wh, W = (
        matrix(rung.inputs, gates),
        matrix(rung.hidden, gates),
        matrix(rung.hidden, rung.outputs),
    )
    prediction = matrix(rows, rung.outputs)
    h, da = matrix(rung.batch, rung.hidden), matrix(rung.batch, gates)
    WhT, WT, xT, yT = (np.ascontiguousarray(array.T) for array in (Wh, W, x, y))
    recurrent = [(x, Wx), *[(h, Wh)] * rung.steps]
    forward = [*recurrent, (y, W)]
    backward = [(prediction, WT), (yT, prediction), *[(da, WhT)] * rung.steps, (xT, a), (yT, a)]
    return {
        "train": forward + backward,
        "forward": forward,
        "step": recurrent,
        "model step": forward,
    }


def calls(cell: str, rung: Rung, measures: tuple[str, ...]) -> Calls:
    """Return the products of each measure as one function."""
    every = pairs(cell, rung)
    return {measure: _all(every[measure]) for measure in measures}


def _all(matrices: Pairs) -> Callable[[], None]:
    shapes = {(len(a), b.shape[1]) for a, b in matrices}
    results = {shape: np.empty(shape, np.float32) for shape in shapes}
    products = [(a, b, results[len(a), b.shape[1]]) for a, b in matrices]

    def run() -> None:
        for a, b, out in products:
            np.dot(a, b, out)

    return run
