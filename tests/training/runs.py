"""Small runs to be interrupted and resumed, here or in another process.

``python -m tests.training.runs resume NAME PATH OUT`` resumes the run NAME from PATH, finishes it
and writes all that it is then to OUT; ``... kill NAME BATCH`` runs it and dies, with no farewell,
when so many batches are done.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minirnn import (
    GRU,
    LSTM,
    SGD,
    Accuracy,
    Adam,
    AdamW,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    LastStep,
    Perplexity,
    Recurrent,
    RMSProp,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from minirnn.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping, ReduceOnPlateau
from minirnn.data import PaddedBatches, StreamBatches
from minirnn.files import write_tree
from minirnn.schedules import Cosine, Warmup
from minirnn.training import state
from tests.contract.own_cells import SumCell

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Run:
    """A trainer and the arguments of its fit."""

    trainer: Trainer
    inputs: Any
    targets: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    def fit(self) -> Trainer:
        self.trainer.fit(self.inputs, self.targets, progress=False, **self.options)
        return self.trainer


class Count(Callback):
    """A callback of a user's own, with a generator and something to remember."""

    def __init__(self):
        self.rng = np.random.default_rng(5)
        self.drawn = []

    def on_batch_end(self, trainer):
        self.drawn.append(self.rng.random())

    def state_dict(self):
        return {"drawn": self.drawn, "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state):
        self.drawn = list(state["drawn"])
        self.rng.bit_generator.state = state["rng"]


def _checkpoints() -> list[Checkpoint]:
    """After every batch and after every epoch, each to a file of its own in this folder."""
    return [
        Checkpoint("{epoch}-{batch}.safetensors", every_batches=1),
        Checkpoint("{epoch}-end.safetensors"),
    ]


def _tokens(*shape: int) -> Any:
    return np.random.default_rng(1).integers(0, 6, shape)


def shuffled_arrays() -> Run:
    """Arrays shuffled by the trainer's generator, each layer of Dropout with its own."""
    model = Sequential(
        [
            Embedding(6, 3, rng=0),
            Dropout(0.3, rng=1),
            LSTM(3, 4, rng=2),
            LastStep(),
            Dropout(0.2, rng=np.random.Generator(np.random.MT19937(3))),
            Dense(4, 2, rng=4),
        ]
    )
    optimizer = Adam(model.parameters(), Warmup(Cosine(0.1, steps=8), steps=2), clip_norm=0.5)
    x = _tokens(7, 5)
    y = x[:, 0] % 2
    trainer = Trainer(
        model,
        SoftmaxCrossEntropy(),
        optimizer,
        metrics=[Accuracy(), Perplexity()],
        callbacks=[Count(), EarlyStopping(patience=9), CSVLogger("log.csv"), *_checkpoints()],
        rng=0,
    )
    return Run(trainer, x, y, {"epochs": 3, "batch_size": 3, "validation": (x[:4], y[:4])})


def padded_batches() -> Run:
    """Sequences of unequal length, shuffled by the batches' own generator; falling rate."""
    model = Sequential([Bidirectional(GRU(2, 3, rng=0), LSTM(2, 3, rng=1)), Dense(6, 3, rng=2)])
    rng = np.random.default_rng(1)
    inputs = [rng.standard_normal((length, 2)) for length in (2, 5, 3, 4, 1, 6, 2)]
    targets = [rng.integers(0, 3, len(x)) for x in inputs]
    batches = PaddedBatches(inputs, targets, batch_size=2, shuffle=True, rng=7)
    trainer = Trainer(
        model,
        SoftmaxCrossEntropy(),
        RMSProp(model.parameters(), 0.05),
        metrics=[Accuracy()],
        callbacks=[
            ReduceOnPlateau("loss", patience=1, minimum_improvement=0.3, factor=0.5),
            *_checkpoints(),
        ],
        rng=0,
    )
    return Run(trainer, batches, None, {"epochs": 4})


def stream() -> Run:
    """One long text for layers that carry their state from batch to batch."""
    model = Sequential(
        [
            Embedding(6, 3, rng=0),
            LSTM(3, 4, stateful=True, rng=1),
            Dropout(0.4, rng=2),
            Recurrent(SumCell(4, 4), stateful=True),  # whose initial state is float64
            Dense(4, 6, rng=4),
        ]
    )
    batches = StreamBatches(_tokens(41), batch_size=2, steps=4)
    trainer = Trainer(
        model,
        SoftmaxCrossEntropy(),
        SGD(model.parameters(), 0.3, momentum=0.9, nesterov=True, clip_value=0.2),
        metrics=[Perplexity()],
        callbacks=_checkpoints(),
        rng=0,
    )
    return Run(trainer, batches, None, {"epochs": 2, "validation": batches})


def one_generator() -> Run:
    """One generator for weights, Dropout, shuffling, the batches: and a run that stops early."""
    rng = np.random.Generator(np.random.SFC64(3))
    model = Sequential(
        [GRU(2, 3, rng=rng, dtype=np.float64), Dropout(0.5, rng=rng), LastStep(), Dense(3, 2)]
    )
    model[3].W.value = np.linspace(-1, 1, 6).reshape(3, 2)
    inputs = [rng.standard_normal((length, 2)) for length in (2, 5, 3, 4, 1)]
    batches = PaddedBatches(inputs, [0, 1, 0, 1, 1], batch_size=2, shuffle=True, rng=rng)
    trainer = Trainer(
        model,
        SoftmaxCrossEntropy(),
        AdamW(model.parameters(), Cosine(0.5, steps=12), weight_decay=0.1),
        callbacks=[*_checkpoints(), EarlyStopping("loss", patience=1), Count()],
        rng=rng,
    )
    return Run(trainer, batches, None, {"epochs": 6})


RUNS: dict[str, Callable[[], Run]] = {
    function.__name__: function
    for function in (shuffled_arrays, padded_batches, stream, one_generator)
}


def everything(trainer: Trainer) -> dict[str, Any]:
    """Return all that there is in a trainer, for comparison."""
    return state.state_dict(trainer)


def difference(one: Any, two: Any, place: str = "") -> str | None:
    """Return the first place where two trees differ in kind, dtype or any bit; None if nowhere."""
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        alike = (one.dtype, one.shape, one.tobytes()) == (two.dtype, two.shape, two.tobytes())
        return None if alike else f"{place} is another array"
    if isinstance(one, dict) and isinstance(two, dict) and list(one) == list(two):
        pairs = [(key, one[key], two[key]) for key in one]
    elif isinstance(one, list | tuple) and isinstance(two, list | tuple) and len(one) == len(two):
        pairs = [(k, *pair) for k, pair in enumerate(zip(one, two, strict=True))]
    else:
        return None if repr(one) == repr(two) else f"{place}: {one!r} is not {two!r}"
    found = (difference(a, b, f"{place}/{key}") for key, a, b in pairs)
    return next(filter(None, found), None)


def assert_same(one: Any, two: Any, what: str = "") -> None:
    found = difference(one, two)
    if found is not None:
        raise AssertionError(f"{what}: {found}")


def in_new_process(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run this file's program with the arguments."""
    command = [sys.executable, "-W", "error", "-m", __name__, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, **options
    )


def _die_in_backward(loss: Any, batches: int) -> None:
    """Make the process end without a farewell in the batch after so many."""
    backward, calls = loss.backward, iter(range(batches))

    def backward_or_die():
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return backward()

    loss.backward = backward_or_die


def main(task: str, name: str, *arguments: str) -> None:
    run = RUNS[name]()
    if task == "resume":
        path, out = arguments
        run.trainer.resume(path)
        write_tree(out, everything(run.fit()))
    elif task == "kill":
        _die_in_backward(run.trainer.loss, int(arguments[0]))
        run.fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
