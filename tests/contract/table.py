"""The one table: every cell, every layer and every loss, in every variant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minirnn as m
from tests.contract.own_cells import MatrixCell, ProjectedCell, SumCell

INPUT = 3


@dataclass(frozen=True)
class Case:
    """A layer to be made as ``make(hidden size, dtype)``, and what it takes.

    `takes` is "sequence" (batch, time, 3), "tokens" (batch, time), "rows" (batch, 3) or "cube"
    (batch, 2, time, 3). `names` are the parameters, in order.
    """

    name: str
    make: Callable[[int, Any], Any]
    names: tuple[str, ...]
    takes: str = "sequence"

    def __str__(self) -> str:
        return self.name

    def input(self, batch: int, time: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        if self.takes == "tokens":
            return rng.integers(0, 7, (batch, time))
        shapes = {
            "sequence": (batch, time, INPUT),
            "rows": (batch, INPUT),
            "cube": (batch, 2, time, INPUT),
        }
        return rng.uniform(-1.5, 1.5, shapes[self.takes])


GATED = ("Wx", "Wh", "b")

CELLS = [
    Case("RNNCell tanh", lambda h, d: m.RNNCell(INPUT, h, dtype=d, rng=1), GATED),
    Case(
        "RNNCell relu", lambda h, d: m.RNNCell(INPUT, h, activation="relu", dtype=d, rng=1), GATED
    ),
    Case(
        "RNNCell sigmoid",
        lambda h, d: m.RNNCell(INPUT, h, activation="sigmoid", dtype=d, rng=1),
        GATED,
    ),
    Case("LSTMCell", lambda h, d: m.LSTMCell(INPUT, h, dtype=d, rng=1), GATED),
    Case("GRUCell reset after", lambda h, d: m.GRUCell(INPUT, h, dtype=d, rng=1), (*GATED, "bn")),
    Case(
        "GRUCell reset before",
        lambda h, d: m.GRUCell(INPUT, h, reset_after=False, dtype=d, rng=1),
        GATED,
    ),
    Case("own SumCell", lambda h, d: SumCell(INPUT, h, d), ("W", "U")),
    Case("own ProjectedCell", lambda h, d: ProjectedCell(INPUT, h, 2, d), ("W", "R", "P")),
    Case("own MatrixCell", lambda h, d: MatrixCell(INPUT, h, d), ("K", "V", "w")),
]


def _over_time(cell: Case, **keywords: Any) -> Case:
    return Case(
        " ".join(["Recurrent", cell.name, *keywords]),
        lambda h, d: m.Recurrent(cell.make(h, d), **keywords),
        tuple(f"cell.{name}" for name in cell.names),
    )


def _cells(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}cell.{name}" for name in names)


RECURRENT = [
    *(_over_time(cell) for cell in CELLS),
    *(_over_time(cell, reverse=True) for cell in CELLS),
    _over_time(CELLS[3], stateful=True),
    Case("RNN", lambda h, d: m.RNN(INPUT, h, dtype=d, rng=1), _cells("", GATED)),
    Case(
        "RNN relu",
        lambda h, d: m.RNN(INPUT, h, activation="relu", dtype=d, rng=1),
        _cells("", GATED),
    ),
    Case(
        "RNN sigmoid reverse",
        lambda h, d: m.RNN(INPUT, h, activation="sigmoid", reverse=True, dtype=d, rng=1),
        _cells("", GATED),
    ),
    Case("LSTM", lambda h, d: m.LSTM(INPUT, h, dtype=d, rng=1), _cells("", GATED)),
    Case(
        "LSTM reverse",
        lambda h, d: m.LSTM(INPUT, h, reverse=True, dtype=d, rng=1),
        _cells("", GATED),
    ),
    Case("GRU", lambda h, d: m.GRU(INPUT, h, dtype=d, rng=1), _cells("", (*GATED, "bn"))),
    Case(
        "GRU reset before reverse",
        lambda h, d: m.GRU(INPUT, h, reset_after=False, reverse=True, dtype=d, rng=1),
        _cells("", GATED),
    ),
    Case(
        "Bidirectional LSTM GRU",
        lambda h, d: m.Bidirectional(
            m.LSTM(INPUT, h, dtype=d, rng=1), m.GRU(INPUT, h + 1, dtype=d, rng=2)
        ),
        _cells("forward_layer.", GATED) + _cells("backward_layer.", (*GATED, "bn")),
    ),
    Case(
        "Bidirectional own",
        lambda h, d: m.Bidirectional(
            m.Recurrent(MatrixCell(INPUT, h, d)), m.Recurrent(ProjectedCell(INPUT, h, 2, d))
        ),
        _cells("forward_layer.", ("K", "V", "w")) + _cells("backward_layer.", ("W", "R", "P")),
    ),
]

ACTIVATIONS = [
    Case(f"{kind.__name__} {takes}", lambda h, d, kind=kind: kind(), (), takes)
    for kind in [m.Softmax, m.Sigmoid, m.Tanh, m.ReLU]
    for takes in ["sequence", "rows"]
] + [
    Case(kind.__name__, lambda h, d, kind=kind: kind(), ())
    for kind in [m.LogSoftmax, m.LeakyReLU, m.ELU, m.Softplus, m.SiLU, m.GELU]
]

SIMPLE = [
    *(
        Case(f"Dense {takes}", lambda h, d: m.Dense(INPUT, h, dtype=d, rng=1), ("W", "b"), takes)
        for takes in ["sequence", "rows", "cube"]
    ),
    Case("Dense without bias", lambda h, d: m.Dense(INPUT, h, bias=False, dtype=d, rng=1), ("W",)),
    *ACTIVATIONS,
    Case("Embedding", lambda h, d: m.Embedding(7, h, dtype=d, rng=1), ("W",), "tokens"),
    Case("LayerNorm", lambda h, d: m.LayerNorm(INPUT, dtype=d), ("gain", "b")),
    Case("LayerNorm rows", lambda h, d: m.LayerNorm(INPUT, dtype=d), ("gain", "b"), "rows"),
    Case("LastStep", lambda h, d: m.LastStep(), ()),
    Case("MeanOverTime", lambda h, d: m.MeanOverTime(), ()),
    Case("MaxOverTime", lambda h, d: m.MaxOverTime(), ()),
    Case("LastState of a layer", lambda h, d: m.LastState().follow(m.RNN(2, INPUT)), ()),
    Case(
        "LastState of a reversed layer",
        lambda h, d: m.LastState().follow(m.RNN(2, INPUT, reverse=True)),
        (),
    ),
    Case("Dropout rate 0", lambda h, d: m.Dropout(0.0, rng=1), ()),
    Case(
        "StateDropout evaluating",
        lambda h, d: m.StateDropout(m.GRU(INPUT, h, dtype=d, rng=1), 0.4, rng=1).eval(),
        _cells("layer.", (*GATED, "bn")),
    ),
    Case("Dropout evaluating", lambda h, d: m.Dropout(0.4, rng=1).eval(), ()),
    Case(
        "Dropout shared over time, evaluating",
        lambda h, d: m.Dropout(0.4, shared_over_time=True, rng=1).eval(),
        (),
    ),
]

BRANCHES = [
    Case(
        "Residual",
        lambda h, d: m.Residual(
            m.Sequential([m.GRU(INPUT, h, dtype=d, rng=1), m.Dense(h, INPUT, dtype=d, rng=2)])
        ),
        (*_cells("layer.layers.0.", (*GATED, "bn")), "layer.layers.1.W", "layer.layers.1.b"),
    ),
    *(
        Case(
            f"Parallel {merge}",
            lambda h, d, merge=merge: m.Parallel(
                [m.RNN(INPUT, h, dtype=d, rng=1), m.Dense(INPUT, h, dtype=d, rng=2)], merge=merge
            ),
            (*_cells("layers.0.", GATED), "layers.1.W", "layers.1.b"),
        )
        for merge in ["concat", "sum", "mean", "product"]
    ),
    *(
        Case(
            f"Bidirectional {merge}",
            lambda h, d, merge=merge: m.Bidirectional(
                m.LSTM(INPUT, h, dtype=d, rng=1), m.GRU(INPUT, h, dtype=d, rng=2), merge=merge
            ),
            _cells("forward_layer.", GATED) + _cells("backward_layer.", (*GATED, "bn")),
        )
        for merge in ["sum", "mean", "product"]
    ),
]

MODELS = [
    Case(
        "tagger",
        lambda h, d: m.Sequential(
            [m.Embedding(7, 2, dtype=d, rng=1), m.LSTM(2, h, dtype=d, rng=2), m.Softmax()]
        ),
        ("layers.0.W", *_cells("layers.1.", GATED)),
        "tokens",
    ),
    Case(
        "nested classifier",
        lambda h, d: m.Sequential(
            [
                m.Sequential([m.Dense(INPUT, 4, dtype=d, rng=1), m.Tanh()]),
                m.Recurrent(SumCell(4, h, d)),
                m.Sequential([m.LastStep(), m.Dense(h, 2, dtype=d, rng=3)]),
            ]
        ),
        (
            *("layers.0.layers.0.W", "layers.0.layers.0.b"),
            *("layers.1.cell.W", "layers.1.cell.U"),
            *("layers.2.layers.1.W", "layers.2.layers.1.b"),
        ),
    ),
    Case(
        "stack",
        lambda h, d: m.Sequential(
            [
                m.Bidirectional(m.RNN(INPUT, h, dtype=d, rng=1), m.RNN(INPUT, 2, dtype=d, rng=2)),
                m.GRU(h + 2, 2, dtype=d, rng=3),
            ]
        ),
        (
            *_cells("layers.0.forward_layer.", GATED),
            *_cells("layers.0.backward_layer.", GATED),
            *_cells("layers.1.", (*GATED, "bn")),
        ),
    ),
    Case(
        "both ends",
        lambda h, d: m.Sequential(
            [
                m.Bidirectional(
                    m.LSTM(INPUT, h, dtype=d, rng=1), m.Recurrent(SumCell(INPUT, 2, d))
                ),
                m.LayerNorm(h + 2, dtype=d),
                m.LastState(),
            ]
        ),
        (
            *_cells("layers.0.forward_layer.", GATED),
            *_cells("layers.0.backward_layer.", ("W", "U")),
            *("layers.1.gain", "layers.1.b"),
        ),
    ),
]

WITHOUT_TIME = {"LastStep", "MeanOverTime", "MaxOverTime", "nested classifier", "both ends"} | {
    "LastState of a layer",
    "LastState of a reversed layer",
}
"""What makes one vector of a sequence has no answer for a sequence without a valid step."""

LAYERS = [*RECURRENT, *SIMPLE, *BRANCHES, *MODELS]
MASKED = [case for case in LAYERS if case.make(2, np.float32).uses_mask]
LEARNED = [case for case in LAYERS if case.names]


def by_name(cases: list[Any]) -> dict[str, Any]:
    """Return the keywords of a parametrize mark over cases."""
    return {"argvalues": cases, "ids": str}
