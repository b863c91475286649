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

from minirnn import LSTM, RNN, Adam, Dense, Recurrent, Sequential, SoftmaxCrossEntropy
from minirnn.data import one_hot
from minirnn.insight import Recorder
from minirnn.tasks import copying_memory

SYMBOLS, REMEMBER, DELAY = 4, 2, 60
ALPHABET = "abcd·?"  # four symbols, blank, and the signal to write them down


class Learner:
    """A network, and how it is trained.

    The loss counts only the steps at which the symbols are due, so that all gradient comes in at
    the end, and what is seen of it further back has come all the way.
    """

    def __init__(self, layer: Recurrent, rng: np.random.Generator) -> None:
        self.model = Sequential([layer, Dense(layer.output_size, SYMBOLS + 1, rng=rng)])
        self.loss = SoftmaxCrossEntropy()
        self.optimizer = Adam(self.model.parameters(), learning_rate=0.01, clip_norm=1.0)

    def gradients(self, tokens: np.ndarray, targets: np.ndarray) -> None:
        """Run forward and backward."""
        due = np.zeros(targets.shape, bool)
        due[:, -REMEMBER:] = True
        prediction = self.model.forward(one_hot(tokens, SYMBOLS + 2))
        self.loss.forward(prediction, targets, due)
        self.optimizer.zero_grad()
        self.model.backward(self.loss.backward())

    def train(self, name: str, updates: int, rng: np.random.Generator) -> None:
        """Update the parameters so many times, each from 32 new sequences."""
        for _ in counting(updates, name):
            self.gradients(*draw(32, rng))
            self.optimizer.step()

    def share_right(self, tokens: np.ndarray, targets: np.ndarray) -> float:
        """Return which share of the symbols it writes down right."""
        written = self.model.predict(one_hot(tokens, SYMBOLS + 2)).argmax(axis=-1)
        return float(np.mean(written[:, -REMEMBER:] == targets[:, -REMEMBER:]))


def draw(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return copying_memory(count, DELAY, symbols=SYMBOLS, remember=REMEMBER, rng=rng)


def look(learner: Learner, test: tuple[np.ndarray, np.ndarray]) -> Recorder:
    """Record one forward and backward over the test sequences, and no update."""
    with Recorder(learner.model) as record:
        learner.gradients(*test)
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
        learner = Learner(layer, rng)
        before = look(learner, test)
        learner.train(name, updates, rng)
        after = look(learner, test)
        seen[name] = {"before training": before, f"after {updates} updates": after}
        right = 100 * learner.share_right(*test)
        print(f"\n{name}, {right:.0f} % of the symbols right (guessing: {100 / SYMBOLS:.0f} %)")
        for when, record in seen[name].items():
            print(f"  {when}:")
            print("    " + record.report().replace("\n", "\n    "))
        print()

    lstm = {when: record["layers.0"] for when, record in seen["LSTM"].items()}
    pictures.save(pictures.insight_gradients, seen)
    text = "".join(ALPHABET[token] for token in test[0][0])
    pictures.save(pictures.insight_gates, list(lstm.values())[-1], text)
    pictures.save(pictures.insight_histograms, lstm)
    print(f"{time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
