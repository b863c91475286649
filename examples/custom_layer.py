"""A layer of your own: layer normalisation, with its backward, checked and put to work.

A layer sets its parameters as plain attributes and writes two methods, `forward` and `backward`.
This one makes the features of each example have mean 0 and variance 1, then stretches and shifts
them by a learned gain and bias (Ba, Kiros and Hinton, "Layer normalization", 2016,
arXiv:1607.06450). `check_gradients` compares its backward with central differences, and shows what
it says of a backward with a term forgotten.

What normalisation is good for: a stack of eight sigmoid layers stands still for a long time,
because the gradient shrinks at each of them on its way back. The script trains such a stack on
three spiral arms twice, as it is and with the new layer before every sigmoid. There is no published
score for this net; guessing gets one point in three right.

    python examples/custom_layer.py            # 5 to 10 seconds
    python examples/custom_layer.py --quick    # a taste, in a second or two
"""

from __future__ import annotations

import math
import sys

import _pictures as pictures
import numpy as np
from _script import parser_for, verdict

from minirnn import (
    Accuracy,
    Adam,
    Dense,
    GradientError,
    Layer,
    Parameter,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Trainer,
    check_gradients,
)
from minirnn.schedules import Cosine
from minirnn.tasks import spiral

DEPTH, UNITS, BATCH = 8, 32, 50


class LayerNorm(Layer):
    """Normalise the last axis: ``y = gain * (x - mean) / sqrt(variance + epsilon) + bias``.

    Mean and variance are those of each example's own features, at each time step by itself; so
    ``x`` may be (batch, features) or (batch, time, features).
    """

    def __init__(self, size, *, epsilon=1e-5):
        self.epsilon = epsilon
        self.gain = Parameter(np.ones(size, np.float32), decay=False)
        self.bias = Parameter(np.zeros(size, np.float32), decay=False)

    def forward(self, x):
        """Return y, of the shape of x, and keep what backward needs."""
        centred = x - x.mean(axis=-1, keepdims=True)
        self.deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.epsilon)
        self.normal = centred / self.deviation
        return self.gain.value * self.normal + self.bias.value

    def backward(self, grad):
        """Return the gradient on x for that on y; add to those on gain and bias."""
        examples = tuple(range(grad.ndim - 1))  # every axis but the features
        self.gain.grad += (grad * self.normal).sum(axis=examples)
        self.bias.grad += grad.sum(axis=examples)
        # Moving one feature also moves the mean and the variance, hence the two other terms.
        g = grad * self.gain.value
        through_mean = g.mean(axis=-1, keepdims=True)
        through_variance = self.normal * (g * self.normal).mean(axis=-1, keepdims=True)
        return (g - through_mean - through_variance) / self.deviation


class ForgetfulNorm(LayerNorm):
    """The likely mistake: mean and variance taken for constants on the way back."""

    def backward(self, grad):
        """Return a wrong gradient on x."""
        super().backward(grad)
        return grad * self.gain.value / self.deviation


def check(rng):
    """Hold both layers to central differences; return whether the right one passes."""
    x = rng.standard_normal((2, 3, 5))  # batch, time, features
    layer = LayerNorm(5)
    layer.gain.value = rng.standard_normal(5)  # at the initial gain of 1, a mistake could hide
    report = check_gradients(layer, x)
    print(report)
    try:
        check_gradients(ForgetfulNorm(5), x)
    except GradientError as error:
        print(f"\nWith two terms forgotten:\n{error}\n")
        return report.passed
    return False


def build(normalised, rng):
    """Return 2 inputs, `DEPTH` sigmoid layers of `UNITS`, and 3 outputs."""
    layers, size = [], 2
    for _ in range(DEPTH):
        layers.append(Dense(size, UNITS, rng=rng))
        if normalised:
            layers.append(LayerNorm(UNITS))
        layers.append(Sigmoid())
        size = UNITS
    return Sequential([*layers, Dense(UNITS, 3, rng=rng)])


def main(argv=None) -> int:
    options = parser_for(__doc__, quick="20 epochs").parse_args(argv)
    rng = np.random.default_rng(options.seed)
    checked = check(rng)

    points, labels = spiral(rng=rng)
    epochs = 20 if options.quick else 400
    histories, scores = {}, {}
    for name in ["without", "with layer normalisation"]:
        model = build(name != "without", rng)
        # A falling rate: with a constant one the net ends wherever its last steps throw it.
        schedule = Cosine(3e-3, epochs * math.ceil(len(points) / BATCH))
        optimizer = Adam(model.parameters(), schedule)
        trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()], rng=rng)
        histories[name] = trainer.fit(points, labels, epochs=epochs, batch_size=BATCH)
        scores[name] = trainer.evaluate(points, labels)

    print(f"\n{DEPTH} sigmoid layers on three spiral arms{'loss':>16}{'accuracy':>10}")
    print(f"  {'guessing':<38}{np.log(3):>11.3f}{1 / 3:>10.3f}")
    for name, score in scores.items():
        print(f"  {name:<38}{score['loss']:>11.3f}{score['accuracy']:>10.3f}")
    pictures.save(pictures.custom_layer, histories)
    reached = scores["with layer normalisation"]["accuracy"] >= 0.95
    return verdict(options.quick and checked, checked and reached, "95 % of the points are right")


if __name__ == "__main__":
    sys.exit(main())
