"""Ten years of sunspots, forecast one year at a time with `model.step`.

The number of spots on the sun has been counted since 1700; it rises and falls in about eleven
years, never twice to the same height. A GRU learns to say the next year's number from all the years
before. To forecast, it reads the record year by year with ``model.step``, which keeps its memory
inside; from then on its input is its own answer, ten times. The last ten years, 1999 to 2008, are
held out: no choice and no training has seen them.

Two forecasts need no learning at all and are hard to beat: the last value, ten times over, and the
value eleven years before. Settings were chosen on twenty decades between 1919 and 1993, forecast by
nets that were trained on the years before 1919 or before 1959 only. There the error was 33, against
36 for the value eleven years before and 72 for the last value: one decade is soon told, and the
held-out one is kinder to the net than most.

Data: yearly sunspot numbers, US National Geophysical Data Center, public domain.

    python examples/sunspots.py            # a second or two
    python examples/sunspots.py --quick
"""

from __future__ import annotations

import sys
from pathlib import Path

import _pictures as pictures
import numpy as np
from _script import parser_for, verdict

from minirnn import GRU, Adam, Dense, Layer, MeanSquaredError, Sequential, Trainer
from minirnn.schedules import Cosine

HELD_OUT = 10
WINDOW = 44  # years, four cycles


class Noise(Layer):
    """Blur the input in training, so that the net leans on the course of years, not on one."""

    def __init__(self, size, rng):
        self.size, self.rng = size, rng

    def forward(self, x):
        return x + self.size * self.rng.standard_normal(x.shape) if self.training else x

    def backward(self, grad):
        return grad


def load():
    """Return the years and their sunspot numbers."""
    table = Path(__file__).parent / "data" / "sunspots.csv"
    years, spots = np.loadtxt(table, delimiter=",", skiprows=1).T
    return years.astype(int), spots


def train(series, epochs, rng):
    """Train on all windows of the series, each with the value one year on as target."""
    windows = np.lib.stride_tricks.sliding_window_view(series, WINDOW + 1)
    inputs, targets = windows[:, :-1, None], windows[:, 1:, None]
    model = Sequential([Noise(0.3, rng), GRU(1, 32, rng=rng), Dense(32, 1, rng=rng)])
    updates = epochs * -(-len(inputs) // 32)
    optimizer = Adam(model.parameters(), Cosine(3e-3, steps=updates), clip_norm=1.0)
    trainer = Trainer(model, MeanSquaredError(), optimizer, rng=rng)
    trainer.fit(inputs, targets, epochs=epochs, batch_size=32)
    return model


def forecast(model, past, years):
    """Read the past step by step, then go on from the model's own answers."""
    model.eval()
    model.reset_state()
    for value in past:
        answer = model.step([[value]])
    answers = []
    for _ in range(years):
        answers.append(float(answer[0, 0]))
        answer = model.step(answer)
    return np.array(answers)


def error(guess, truth):
    """Return the root of the mean squared error, in sunspots."""
    return float(np.sqrt(np.mean((guess - truth) ** 2)))


def main(argv=None) -> int:
    options = parser_for(__doc__, quick="5 epochs").parse_args(argv)

    years, spots = load()
    past, truth = spots[:-HELD_OUT], spots[-HELD_OUT:]
    mean, spread = past.mean(), past.std()
    epochs = 5 if options.quick else 30
    model = train((past - mean) / spread, epochs, np.random.default_rng(options.seed))
    answers = forecast(model, (past - mean) / spread, HELD_OUT)

    guesses = {
        "GRU": np.maximum(answers * spread + mean, 0),
        "eleven years before": past[-11 : -11 + HELD_OUT],
        "last value": np.full(HELD_OUT, past[-1]),
    }
    print(f"\n{'year':<8}{'counted':>8}" + "".join(f"{name:>22}" for name in guesses))
    for k, year in enumerate(years[-HELD_OUT:]):
        row = "".join(f"{guess[k]:>22.1f}" for guess in guesses.values())
        print(f"{year:<8}{truth[k]:>8.1f}{row}")
    errors = {name: error(guess, truth) for name, guess in guesses.items()}
    print(f"{'error':<16}" + "".join(f"{e:>22.1f}" for e in errors.values()))
    print("(root of the mean squared error over the ten years, in sunspots)\n")
    pictures.save(pictures.sunspots, years, spots, guesses, HELD_OUT)
    best = min(errors, key=errors.get)
    return verdict(options.quick, best == "GRU", "the GRU is the best of the three")


if __name__ == "__main__":
    sys.exit(main())
