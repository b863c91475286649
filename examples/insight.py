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

import argparse
import sys
import time

import numpy as np
from _pictures import save_picture
from tqdm import tqdm

import minirnn as mr
from minirnn.insight import Recorder, plot_gates, plot_gradients, plot_histograms
from minirnn.tasks.long_memory import copying_memory

SYMBOLS, REMEMBER, DELAY = 4, 2, 60
ALPHABET = "abcd·?"  # four symbols, blank, and the signal to write them down


class Pupil:
    """A network, and how it practises.

    The loss counts only the steps at which the symbols are due, so that all gradient comes in at
    the end, and what is seen of it further back has come all the way.
    """

    def __init__(self, layer: mr.Recurrent, rng: np.random.Generator) -> None:
        self.model = mr.Sequential([layer, mr.Dense(layer.output_size, SYMBOLS + 1, rng=rng)])
        self.loss = mr.SoftmaxCrossEntropy()
        self.optimizer = mr.Adam(self.model.parameters(), learning_rate=0.01, clip_norm=1.0)

    def gradients(self, tokens: np.ndarray, targets: np.ndarray) -> float:
        """Run forward and backward; return the loss."""
        due = np.zeros(targets.shape, bool)
        due[:, -REMEMBER:] = True
        prediction = self.model.forward(mr.data.one_hot(tokens, SYMBOLS + 2))
        loss = self.loss.forward(prediction, targets, due)
        self.optimizer.zero_grad()
        self.model.backward_parameters(self.loss.backward())
        return loss

    def practise(self, name: str, updates: int, rng: np.random.Generator) -> None:
        """Update the parameters so many times, each from 32 new sequences."""
        bar = tqdm(range(updates), desc=f"{name:4}", unit="update")
        for update in bar:
            loss = self.gradients(*draw(32, rng))
            self.optimizer.step()
            if update % 50 == 0:
                bar.set_postfix_str(f"loss {loss:.3f}")

    def share_right(self, tokens: np.ndarray, targets: np.ndarray) -> float:
        """Return which share of the symbols it writes down right."""
        written = self.model.predict(mr.data.one_hot(tokens, SYMBOLS + 2)).argmax(axis=-1)
        return float(np.mean(written[:, -REMEMBER:] == targets[:, -REMEMBER:]))


def draw(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return copying_memory(count, DELAY, symbols=SYMBOLS, remember=REMEMBER, rng=rng)


def look(pupil: Pupil, test: tuple[np.ndarray, np.ndarray]) -> Recorder:
    """Record one forward and backward over the test sequences, and no update."""
    with Recorder(pupil.model) as record:
        pupil.gradients(*test)
    return record


def main(argv: list[str] | None = None) -> int:
    """Look, train, look again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="20 updates, to see that it runs")
    options = parser.parse_args(argv)
    updates, hidden_size = (20, 8) if options.quick else (1200, 32)
    started = time.perf_counter()

    rng = np.random.default_rng(options.seed)
    test = draw(100, rng)
    # The LSTM begins with its forget gates open, as is usual where memory has to be long.
    layers = {
        "RNN": mr.RNN(SYMBOLS + 2, hidden_size, rng=rng),
        "LSTM": mr.LSTM(SYMBOLS + 2, hidden_size, forget_bias=4.0, rng=rng),
    }
    seen: dict[str, dict[str, Recorder]] = {}
    for name, layer in layers.items():
        pupil = Pupil(layer, rng)
        before = look(pupil, test)
        pupil.practise(name, updates, rng)
        after = look(pupil, test)
        seen[name] = {"before training": before, f"after {updates} updates": after}
        right = 100 * pupil.share_right(*test)
        print(f"\n{name}, {right:.0f} % of the symbols right (guessing: {100 / SYMBOLS:.0f} %)")
        for when, record in seen[name].items():
            print(f"  {when}:")
            print("    " + record.report().replace("\n", "\n    "))
        print()

    after = seen["LSTM"][f"after {updates} updates"]
    text = "".join(ALPHABET[token] for token in test[0][0])
    save_picture(
        "insight_gradients",
        lambda plt: plot_gradients(seen),
        "the norm of the gradient on the state at each time step",
    )
    save_picture(
        "insight_gates",
        lambda plt: plot_gates(
            after["layers.0"],
            text=text,
            units=range(min(16, hidden_size)),
            title="An LSTM copies two symbols over sixty steps: the gates of some of its units",
        ),
        "the LSTM's gates while it reads one sequence",
    )
    save_picture(
        "insight_histograms",
        lambda plt: plot_histograms(
            {label: record["layers.0"] for label, record in seen["LSTM"].items()}
        ),
        "how the LSTM's gates and states are spread, before and after",
    )
    print(f"{time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
