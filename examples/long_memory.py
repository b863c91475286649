"""RNN, LSTM and GRU side by side: which of them remembers what it saw fifty steps ago.

Four classic tests. In each, the answer depends on something far back, and nothing in between gives
it away:

--task adding   Two of fifty numbers are marked; give their sum. (Hochreiter and Schmidhuber 1997)
--task copying  Write five symbols down again, twenty steps after the last. (Arjovsky et al. 2016)
--task order    Two of some thirty symbols matter: which, and which came first? (H. and S. 1997)
--task reber    Name every symbol that may come next in strings of the embedded Reber grammar, whose
                last symbol but one repeats the second. (H. and S. 1997)

Run it with ``python examples/long_memory.py --task adding``; a task takes less than a minute. The
tasks and their settings are in `memory_tasks.py`. A network stops as soon as
its score on the test reaches the goal.

The LSTM and the GRU solve all four, and the exit status is 0 if they do. The plain RNN takes part
for comparison, and is better than its name: trained with Adam and the whole gradient it often
solves the last three, later or less surely. On the adding problem, at the published learning rate
of 5e-3, it mostly stays at guessing; with 1e-3 it gets beyond that, and not to the goal.
``--quick`` makes a few updates only, to see that everything runs.
"""

from __future__ import annotations

import sys
import time

import _pictures as pictures
import numpy as np
from _script import counting, parser_for, verdict
from memory_tasks import TASKS, Task

from minirnn import GRU, LSTM, RNN, Adam, Dense, LastStep, Sequential, Trainer

CELLS = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}


def train(
    name: str, task: Task, updates: int, rng: np.random.Generator
) -> tuple[list[int], list[float]]:
    """Train one kind of network until it has solved the task, or for as long as it may.

    Returns after how many updates it was scored, and the scores.
    """
    layers = [CELLS[name](task.input_size, task.hidden_size, rng=rng)]
    if task.answer_at_end:
        layers.append(LastStep())
    layers.append(Dense(task.hidden_size, task.output_size, rng=rng))
    model = Sequential(layers)
    optimizer = Adam(model.parameters(), task.learning_rate, betas=(0.9, 0.99), clip_norm=1.0)
    trainer = Trainer(model, task.loss, optimizer)

    at, scores = [0], [task.score(trainer.predict)]
    for update in counting(updates, name):
        trainer.train_step(*task.draw())
        if update % task.score_every == 0 or update == updates:
            at.append(update)
            scores.append(task.score(trainer.predict))
            if task.solved(scores[-1]):
                break
    return at, scores


def main(argv: list[str] | None = None) -> int:
    parser = parser_for(__doc__, quick="20 updates")
    parser.add_argument("--task", choices=TASKS, default="adding")
    options = parser.parse_args(argv)

    curves, verdicts, solved = {}, [], {}
    for name in CELLS:
        rng = np.random.default_rng(options.seed)  # the same questions for each
        task = TASKS[options.task](rng)
        if not curves:
            print(f"The {task.about}.", flush=True)
        start = time.perf_counter()
        at, scores = train(name, task, 20 if options.quick else task.updates, rng)
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
    pictures.save(pictures.long_memory, task, curves, name=f"long_memory_{options.task}")
    return verdict(options.quick, solved["LSTM"] and solved["GRU"], "LSTM and GRU solve the task")


if __name__ == "__main__":
    sys.exit(main())
