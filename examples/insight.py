"""Why does an LSTM remember what a plain RNN forgets? A look inside both.

Both are given two symbols and are to write them down again sixty steps later (the copying task).
In between they read blanks. Whatever they learn about the symbols they have to learn from the error
at the very end, and so from a gradient that finds its way back over sixty steps. Before and after
training, a recorder looks how much of it arrives, which gates are open when, and how the values are
spread.

    python examples/insight.py           some 2 x 1200 updates, under a minute, and three pictures
    python examples/insight.py --quick   20 updates, to see that it runs
"""

from __future__ import annotations

import sys
import time

import _pictures as pictures
import numpy as np
from _script import counting, parser_for

from minirnn import LSTM, RNN, Adam, Dense, Sequential, SoftmaxCrossEntropy, Trainer
from minirnn.data import one_hot
from minirnn.insight import Recorder
from minirnn.tasks import copying_memory

SYMBOLS, REMEMBER, DELAY = 4, 2, 60
ALPHABET = "abcd·?"  # four symbols, blank, and the signal to write them down


def draw(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs, targets, and a mask of the steps at which the symbols are due.

    The loss counts only these, so that all gradient comes in at the end, and what is seen of it
    further back has come all the way.
    """
    tokens, targets = copying_memory(count, DELAY, symbols=SYMBOLS, remember=REMEMBER, rng=rng)
    due = np.zeros(targets.shape, bool)
    due[:, -REMEMBER:] = True
    return one_hot(tokens, SYMBOLS + 2), targets, due


def train(trainer: Trainer, name: str, updates: int, rng: np.random.Generator) -> None:
    """Update the parameters so many times, each from 32 new sequences."""
    for _ in counting(updates, name):
        inputs, targets, due = draw(32, rng)
        trainer.train_step(inputs, targets, target_mask=due)


def look(trainer: Trainer, test: tuple[np.ndarray, ...]) -> Recorder:
    """Record one forward and backward over the test sequences, and no update."""
    model, loss, (inputs, targets, due) = trainer.model, trainer.loss, test
    with Recorder(model) as record:
        loss.forward(model.forward(inputs), targets, due)
        model.backward(loss.backward())
    return record


def main(argv: list[str] | None = None) -> int:
    """Look, train, look again."""
    options = parser_for(__doc__, quick="20 updates").parse_args(argv)
    updates, hidden_size = (20, 8) if options.quick else (1200, 32)
    started = time.perf_counter()

    rng = np.random.default_rng(options.seed)
    test = draw(100, rng)
    # The LSTM begins with its forget gates open, as is usual where memory has to be long.
    layers = {
        "RNN": RNN(SYMBOLS + 2, hidden_size, rng=rng),
        "LSTM": LSTM(SYMBOLS + 2, hidden_size, forget_bias=4.0, rng=rng),
    }
    seen: dict[str, dict[str, Recorder]] = {}
    for name, layer in layers.items():
        model = Sequential([layer, Dense(hidden_size, SYMBOLS + 1, rng=rng)])
        optimizer = Adam(model.parameters(), learning_rate=0.01, clip_norm=1.0)
        trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer)
        before = look(trainer, test)
        train(trainer, name, updates, rng)
        after = look(trainer, test)
        seen[name] = {"before training": before, f"after {updates} updates": after}
        inputs, targets, due = test
        right = 100 * np.mean((model.predict(inputs).argmax(axis=-1) == targets)[due])
        print(f"\n{name}, {right:.0f} % of the symbols right (guessing: {100 / SYMBOLS:.0f} %)")
        for when, record in seen[name].items():
            print(f"  {when}:")
            print("    " + record.report().replace("\n", "\n    "))
        print()

    lstm = {when: record["layers.0"] for when, record in seen["LSTM"].items()}
    pictures.save(pictures.insight_gradients, seen)
    text = "".join(ALPHABET[symbol] for symbol in test[0][0].argmax(axis=-1))
    pictures.save(pictures.insight_gates, list(lstm.values())[-1], text)
    pictures.save(pictures.insight_histograms, lstm)
    print(f"{time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
