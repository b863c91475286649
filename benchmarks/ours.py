"""minirnn's side: the model, and the calls that are timed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from benchmarks.ladder import Calls, Data, Rung
from minirnn import GRU, LSTM, RNN, Adam, Dense, Sequential, SoftmaxCrossEntropy, Trainer

__all__ = ["CLIP_NORM", "LEARNING_RATE", "calls", "model_of", "train_call"]

LEARNING_RATE, CLIP_NORM = 1e-3, 1.0

_LAYERS: dict[str, Any] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


def model_of(cell: str, rung: Rung) -> Sequential:
    """Return a recurrent layer with a Dense on every step, float32."""
    return Sequential(
        [
            _LAYERS[cell](rung.inputs, rung.hidden, rng=0),
            Dense(rung.hidden, rung.outputs, rng=1),
        ]
    )


def calls(model: Sequential, measures: tuple[str, ...], data: Data) -> Calls:
    """Return what is timed: the calls that a user of minirnn writes.

    Training changes the weights, so every measure works on a copy of the model.
    """
    return {measure: _CALLS[measure](copy.deepcopy(model), data) for measure in measures}


def train_call(model: Sequential, data: Data) -> Callable[[], float]:
    """Return a training step of this very model."""
    optimizer = Adam(model.parameters(), LEARNING_RATE, clip_norm=CLIP_NORM)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer)
    return lambda: trainer.train_step(data.x, data.targets)


def _forward(model: Sequential, data: Data) -> Any:
    model.eval()
    return lambda: model.forward(data.x)


def _step(model: Sequential, data: Data) -> Any:
    recurrent: Any = model.eval().layers[0]
    x_t = data.x[:, 0]
    return lambda: recurrent.step(x_t)


def _model_step(model: Sequential, data: Data) -> Any:
    model.eval()
    x_t = data.x[:, 0]
    return lambda: model.step(x_t)


_CALLS = {"train": train_call, "forward": _forward, "step": _step, "model step": _model_step}
