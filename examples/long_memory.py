"""RNN, LSTM and GRU side by side: which of them remembers what it saw fifty steps ago.

Four classic tests. In each, the answer depends on something far back, and nothing in between gives
it away:

--task adding   Two of fifty numbers are marked; give their sum. (Hochreiter and Schmidhuber 1997)
--task copying  Write five symbols down again, twenty steps after the last. (Arjovsky et al. 2016)
--task order    Two of some thirty symbols matter: which, and which came first? (H. and S. 1997)
--task reber    Name every symbol that may come next in strings of the embedded Reber grammar, whose
                last symbol but one repeats the second. (H. and S. 1997)

Run it with ``python examples/long_memory.py --task adding``; a task takes less than a minute. What
exactly is asked, and with which settings, stands in `memory_tasks.py`. A network stops as soon as
its score on the test reaches the goal.

The LSTM and the GRU solve all four, and the exit status is 0 if they do. The plain RNN takes part
for comparison, and is better than its name: on the adding problem it never gets beyond guessing,
but trained with Adam and the whole gradient it often solves the other three, later or less surely.
``--quick`` makes a few updates only, to see that everything runs, and demands no score.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
from _pictures import save_picture
from memory_tasks import TASKS, Task
from tqdm import tqdm

import minirnn as mr

CELLS = {"RNN": mr.RNN, "LSTM": mr.LSTM, "GRU": mr.GRU}
COLORS = ("#888888", "#c8372d", "#2c6fbb")


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
        rng = np.random.default_rng(options.seed)  # the same questions for each
        task = TASKS[options.task](rng)
        if not curves:
            print(f"The {task.about}.", flush=True)
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

    print(f"\nScore: {task.score_name}.")
    limit = " or less" if task.goal < task.guessing else ""
    print(f"Guessing: {task.guessing:.4g}. Solved: {task.goal:g}{limit}.\n")
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
        axes.annotate(f"   {name}", (1, height), xycoords=("axes fraction", "data"), va="center")
    if task.goal < task.guessing:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set(
        xlabel="updates", ylabel=task.score_name, xlim=(0, max(at[-1] for at, _ in curves.values()))
    )
    axes.set_title(f"The {task.about}", loc="left", fontsize=11)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    sys.exit(main())
