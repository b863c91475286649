"""RNN, LSTM and GRU side by side: which of them remembers what it saw fifty steps ago.

Four classic tests. In each, the answer depends on something far back, and nothing in between gives
it away:

--task adding   Two of fifty numbers are marked; give their sum. (Hochreiter and Schmidhuber 1997)
--task copying  Write five symbols down again, twenty steps after the last. (Arjovsky et al. 2016)
--task order    Two of some thirty symbols matter: which, and which came first? (H. and S. 1997)
--task reber    Name every symbol that may come next in strings of the embedded Reber grammar, whose
                last symbol but one repeats the second. (H. and S. 1997)

Run it with ``python examples/long_memory.py --task adding``; a task takes a minute or so. A network
stops as soon as it has solved its task. The exit status is 0 if both the LSTM and the GRU have
solved it; the plain RNN takes part for comparison. ``--quick`` makes a few updates only, to see
that everything runs, and demands no score.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _pictures import save_picture
from tqdm import tqdm

import minirnn as mr
from minirnn.data.long_memory import adding_problem, copying_memory, temporal_order
from minirnn.data.reber import embedded_reber

CELLS = {"RNN": mr.RNN, "LSTM": mr.LSTM, "GRU": mr.GRU}
COLORS = ("#888888", "#c8372d", "#2c6fbb")


@dataclass
class Task:
    """What is asked, how it is scored, and how long a network may practise."""

    about: str
    input_size: int
    output_size: int
    loss: mr.Loss
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


# ------------------------------------------------------------------------------- the four tasks


def adding(rng: np.random.Generator) -> Task:
    inputs, targets = adding_problem(1000, length=50, rng=rng)
    return Task(
        about="adding problem: the sum of the two marked numbers out of 50",
        input_size=2,
        output_size=1,
        loss=mr.MeanSquaredError(),
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
        return mr.data.one_hot(tokens, 10), targets

    inputs, targets = draw(1000)
    return Task(
        about="copying memory: 5 symbols of 8, written again after 20 steps",
        input_size=10,
        output_size=9,
        loss=mr.SoftmaxCrossEntropy(),
        draw=draw,
        score=lambda predict: mr.SoftmaxCrossEntropy().forward(predict(inputs), targets),
        score_name="cross-entropy in nats",
        guessing=5 * np.log(8) / 30,
        goal=0.080,
        published={"LSTM": "0.080 after 6,000 updates"},
        updates=6000,
        score_every=200,
        learning_rate=5e-3,
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
        loss=mr.SoftmaxCrossEntropy(),
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
        loss=mr.SoftmaxCrossEntropy(),
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

    At every real step of the string, every symbol that may come next scores higher than every
    symbol that may not. Scores and legal are (strings, time, symbols), the mask (strings, time).
    """
    weakest_legal = np.where(legal, scores, np.inf).min(axis=-1)
    strongest_other = np.where(legal, -np.inf, scores).max(axis=-1)
    return ((weakest_legal > strongest_other) | ~mask).all(axis=1)


TASKS = {"adding": adding, "copying": copying, "order": order, "reber": reber}


# ------------------------------------------------------------------------------- the examination


def practise(
    name: str, task: Task, updates: int, rng: np.random.Generator
) -> tuple[list[int], list[float]]:
    """Train one kind of network until it has solved the task, or for as long as it may.

    Returns after how many updates it was scored, and the scores.
    """
    layers = [CELLS[name](task.input_size, task.hidden_size, rng=rng)]
    if task.answer_at_end:
        layers.append(mr.LastStep())
    layers.append(mr.Dense(task.hidden_size, task.output_size, rng=rng))
    model = mr.Sequential(layers)
    optimizer = mr.Adam(model.parameters(), task.learning_rate, clip_norm=1.0)
    trainer = mr.Trainer(model, task.loss, optimizer)

    at, scores = [0], [task.score(trainer.predict)]
    with tqdm(total=updates, desc=f"{name:4}", unit="update", mininterval=1) as bar:
        for update in range(1, updates + 1):
            trainer.train_step(*task.draw())
            bar.update()
            if update % task.score_every == 0 or update == updates:
                at.append(update)
                scores.append(task.score(trainer.predict))
                bar.set_postfix_str(f"score {scores[-1]:.4f}", refresh=False)
                if task.solved(scores[-1]):
                    break
    return at, scores


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="RNN, LSTM and GRU on a test of long memory.")
    parser.add_argument("--task", choices=TASKS, default="adding")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few updates, no score demanded")
    options = parser.parse_args(argv)

    curves, verdicts, solved = {}, [], {}
    for name in CELLS:
        rng = np.random.default_rng(options.seed)
        task = TASKS[options.task](rng)
        start = time.perf_counter()
        at, scores = practise(name, task, 20 if options.quick else task.updates, rng)
        seconds = time.perf_counter() - start
        curves[name] = at, scores
        solved[name] = task.solved(scores[-1])
        verdicts.append(
            f"{name:<5}{scores[-1]:.4f}, {'solved' if solved[name] else 'stopped'} after "
            f"{at[-1]:,} updates ({at[-1] * task.batch_size:,} sequences, {seconds:.0f} s)\n"
            f"     published: {task.published.get(name, 'none')}"
        )

    print(f"\nThe {task.about}.\nScore: {task.score_name}.")
    limit = "more" if task.goal > task.guessing else "less"
    print(f"Guessing: {task.guessing:.4g}. Solved: {task.goal:g} or {limit}.\n")
    print("\n".join(verdicts), "\n")
    save_picture(
        f"long_memory_{options.task}",
        lambda plt: draw_curves(plt, task, curves),
        f"{task.score_name} of each network while it practises",
    )
    if options.quick:
        print("A quick run: no score is demanded.")
        return 0
    missed = [name for name in ("LSTM", "GRU") if not solved[name]]
    print(f"Missed by {' and '.join(missed)}." if missed else "Reached by LSTM and GRU.")
    return 1 if missed else 0


def draw_curves(plt: Any, task: Task, curves: dict[str, tuple[list[int], list[float]]]) -> Any:
    """Draw the scores of the three networks, with guessing and the goal as dotted lines."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for (name, (at, scores)), color in zip(curves.items(), COLORS, strict=True):
        axes.plot(at, scores, color=color, label=name, linewidth=1.8)
        if task.solved(scores[-1]):
            axes.plot(at[-1], scores[-1], "o", color=color, clip_on=False)
    for height, name in [(task.guessing, "guessing"), (task.goal, "goal")]:
        axes.axhline(height, color="#555555", linewidth=1, linestyle=":", zorder=0)
        axes.annotate(f" {name}", (1, height), xycoords=("axes fraction", "data"), va="center")
    if task.goal < task.guessing:
        axes.set_yscale("log")
    axes.set(
        xlabel="updates", ylabel=task.score_name, xlim=(0, max(at[-1] for at, _ in curves.values()))
    )
    axes.set_title(f"The {task.about}", loc="left", fontsize=11)
    axes.legend(frameon=False, loc="center right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    sys.exit(main())
