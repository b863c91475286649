"""The four tasks of `long_memory.py`: their data, their scores, and what has been published.

Every training batch is drawn anew, but for the Reber grammar, whose 256 training strings are
fixed, as published.

The published results of the first three are PyTorch's: on the adding problem with 64 units, batches
of 50, Adam with 5e-3 and gradients clipped to a norm of 1, which is what we take for the other two
as well; but copying has 8e-3, at which the LSTM learns it sooner. Adam's second beta is 0.99 in
place of 0.999 throughout: with the latter, some seeds do not reach the goal of copying. Those of
the Reber grammar are of 1997, when strings were shown one by one; they count strings, so our
batches there are small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirnn import Loss, MeanSquaredError, SoftmaxCrossEntropy
from minirnn.data import one_hot
from minirnn.tasks import adding_problem, copying_memory, embedded_reber, temporal_order


@dataclass
class Task:
    """The data of a task, its score, and how long a network may train."""

    about: str
    input_size: int
    output_size: int
    loss: Loss
    draw: Callable[[], tuple[Any, ...]]  # -> inputs, targets and, where lengths differ, a mask
    score: Callable[[Callable[..., np.ndarray]], float]  # of a predict function
    score_name: str
    guessing: float
    goal: float
    published: dict[str, str]
    updates: int
    score_every: int
    learning_rate: float
    answer_at_end: bool = False
    hidden_size: int = 64
    batch_size: int = 50

    def solved(self, score: float) -> bool:
        """Tell whether the score is as good as the goal, or better."""
        return score >= self.goal if self.goal > self.guessing else score <= self.goal


def adding(rng: np.random.Generator) -> Task:
    inputs, targets = adding_problem(1000, length=50, rng=rng)
    return Task(
        about="adding problem: the sum of the two marked numbers out of 50",
        input_size=2,
        output_size=1,
        loss=MeanSquaredError(),
        draw=lambda: adding_problem(50, length=50, rng=rng),
        score=lambda predict: float(np.mean((predict(inputs) - targets) ** 2)),
        score_name="mean squared error",
        guessing=1 / 6,
        goal=1e-3,
        published={
            "RNN": "0.173 after 4,000 updates",
            "LSTM": "< 0.001 after 1,400 updates",
            "GRU": "< 0.001 after 800 updates",
        },
        updates=4000,
        score_every=100,
        learning_rate=5e-3,
        answer_at_end=True,
    )


def copying(rng: np.random.Generator) -> Task:
    def draw(count: int = 50) -> tuple[np.ndarray, np.ndarray]:
        tokens, targets = copying_memory(count, delay=20, symbols=8, remember=5, rng=rng)
        return one_hot(tokens, 10), targets

    inputs, targets = draw(1000)
    return Task(
        about="copying memory: 5 symbols of 8, written again after 20 steps",
        input_size=10,
        output_size=9,
        loss=SoftmaxCrossEntropy(),
        draw=draw,
        score=lambda predict: SoftmaxCrossEntropy().forward(predict(inputs), targets),
        score_name="cross-entropy in nats",
        guessing=5 * np.log(8) / 30,
        goal=0.080,
        published={"LSTM": "0.080 after 6,000 updates"},
        updates=6000,
        score_every=200,
        learning_rate=8e-3,
    )


def order(rng: np.random.Generator) -> Task:
    test = temporal_order(1000, lengths=(30, 35), rng=rng)

    def draw() -> tuple[np.ndarray, ...]:
        batch = temporal_order(50, lengths=(30, 35), rng=rng)
        return batch.inputs, batch.targets, batch.mask

    return Task(
        about="temporal order: which two symbols, in which order, out of 30 to 35",
        input_size=8,
        output_size=4,
        loss=SoftmaxCrossEntropy(),
        draw=draw,
        score=lambda predict: float(
            np.mean(predict(test.inputs, mask=test.mask).argmax(axis=1) == test.targets)
        ),
        score_name="share of 1,000 sequences right",
        guessing=1 / 4,
        goal=1.0,
        published={
            "RNN": "0.26 after 200 updates",
            "LSTM": "1.00 after 200 updates",
            "GRU": "1.00 after 200 updates",
        },
        updates=1000,
        score_every=20,
        learning_rate=5e-3,
        answer_at_end=True,
    )


def reber(rng: np.random.Generator) -> Task:
    train = embedded_reber(256, rng=rng)
    test = embedded_reber(256, exclude=train.strings, rng=rng)

    def draw() -> tuple[np.ndarray, ...]:
        pick = rng.choice(256, size=8, replace=False)
        return train.inputs[pick], train.targets[pick], train.mask[pick]

    def score(predict: Callable[..., np.ndarray]) -> float:
        right = [
            strings_right(predict(part.inputs, mask=part.mask), part.legal, part.mask)
            for part in (train, test)
        ]
        return float(np.mean(right))

    return Task(
        about="embedded Reber grammar: every legal next symbol of 256 strings and 256 others",
        input_size=7,
        output_size=7,
        loss=SoftmaxCrossEntropy(),
        draw=draw,
        score=score,
        score_name="share of 512 strings right",
        guessing=0.0,
        goal=1.0,
        published={
            "RNN": "never (Elman nets, 1997)",
            "LSTM": "1.00 after 8,440 strings (1997)",
        },
        updates=3000,
        score_every=20,
        learning_rate=1e-2,
        hidden_size=16,
        batch_size=8,
    )


def strings_right(scores: np.ndarray, legal: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tell which strings are predicted without a fault, the criterion of 1997.

    At every valid step of the string, every symbol that may come next scores higher than every
    symbol that may not. Scores and legal are (strings, time, symbols), the mask (strings, time).
    """
    weakest_legal = np.where(legal, scores, np.inf).min(axis=-1)
    strongest_other = np.where(legal, -np.inf, scores).max(axis=-1)
    return ((weakest_legal > strongest_other) | ~mask).all(axis=1)


TASKS = {"adding": adding, "copying": copying, "order": order, "reber": reber}
