"""Draw every schedule into schedules.png: `python docs/pictures/draw_schedules.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from minirnn import Dense, MeanSquaredError, Metric, Trainer
from minirnn.callbacks import Callback, ReduceOnPlateau
from minirnn.optimizers import SGD
from minirnn.schedules import (
    Constant,
    Cosine,
    Exponential,
    Join,
    OneCycle,
    Piecewise,
    Polynomial,
    Product,
    StepDecay,
    WarmRestarts,
    Warmup,
)

STEPS = np.arange(121)
LINE, WATCHED = "#1f5fa8", "#b0722a"

SCHEDULES = {
    "Constant(1.0)": Constant(1.0),
    "StepDecay(1.0, every=30, factor=0.5)": StepDecay(1.0, every=30, factor=0.5),
    "Exponential(1.0, steps=60, factor=0.1)": Exponential(1.0, steps=60, factor=0.1),
    "Cosine(1.0, steps=100)": Cosine(1.0, steps=100),
    "Warmup(Constant(1.0), steps=30)": Warmup(Constant(1.0), steps=30),
    "Warmup(Cosine(1.0, steps=80), steps=20)": Warmup(Cosine(1.0, steps=80), steps=20),
    "OneCycle(1.0, steps=100)": OneCycle(1.0, steps=100),
    "Polynomial(1.0, steps=100, power=2.0)": Polynomial(1.0, steps=100, power=2.0),
    "WarmRestarts(1.0, steps=20, growth=2)": WarmRestarts(1.0, steps=20, growth=2),
    "Product([WarmRestarts(1.0, 30),\nExponential(1.0, 60)])": Product(
        [WarmRestarts(1.0, 30), Exponential(1.0, 60)]
    ),
    "Join([Piecewise([1.0, 0.5], [20]),\nPolynomial(0.5, 60)], [40])": Join(
        [Piecewise([1.0, 0.5], [20]), Polynomial(0.5, 60)], [40]
    ),
}


class Falling(Metric):
    """An error that falls in three spurts, one value an epoch."""

    name = "error"
    higher_is_better = False
    epoch = -2  # a trainer resets its metrics when it is made, and at every epoch

    def reset(self) -> None:
        """Go on to the next value."""
        self.epoch += 1

    def update(self, prediction: object, target: object, mask: object = None) -> None:
        """Look at nothing."""

    @property
    def value(self) -> float:
        """The value of this epoch."""
        return max(0.15, 0.45 * (self.epoch < 19), 0.25 * (self.epoch < 29), 1 - 0.09 * self.epoch)


class Rates(Callback):
    """The rate with which each epoch was trained."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Note the rate."""
        self.rates.append(trainer.optimizer.current_learning_rate())


def plateau() -> tuple[list[float], list[float]]:
    """Return the rate and the watched error of 40 epochs."""
    layer, rates = Dense(1, 1, rng=0), Rates()
    trainer = Trainer(
        layer,
        MeanSquaredError(),
        SGD(layer.parameters(), 1.0),
        metrics=[Falling()],
        callbacks=[ReduceOnPlateau("error", patience=5), rates],
    )
    history = trainer.fit(np.zeros((1, 1)), np.zeros((1, 1)), epochs=40, progress=False)
    return rates.rates, history["error"]


def main() -> None:
    """Draw and write the picture."""
    figure = Figure(figsize=(11, 6.9), layout="constrained")
    panels = figure.subplots(3, 4, sharey=True)
    for axes, (title, schedule) in zip(panels.flat, SCHEDULES.items(), strict=False):
        rates = [schedule(int(step)) for step in STEPS]
        style = "steps-post" if isinstance(schedule, StepDecay) else "default"
        axes.plot(STEPS, rates, color=LINE, linewidth=2, drawstyle=style)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
    rates, watched = plateau()
    axes = panels.flat[-1]
    epochs = np.arange(1, len(rates) + 1)
    axes.step(epochs, rates, where="mid", color=LINE, linewidth=2, label="rate")
    axes.plot(epochs, watched, color=WATCHED, linewidth=1, marker=".", label="watched error")
    axes.set_title('ReduceOnPlateau("error", patience=5)', fontsize=9)
    axes.set_xlabel("epoch", fontsize=8)
    axes.legend(fontsize=8, frameon=False)
    for axes in panels.flat:
        axes.set_ylim(-0.05, 1.1)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("learning rate", fontsize=8)
    path = Path(__file__).with_name("schedules.png")
    figure.savefig(path, dpi=100)
    Image.open(path).convert("RGB").quantize(32).save(path, optimize=True)


if __name__ == "__main__":
    main()
