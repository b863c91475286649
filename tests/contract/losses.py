"""The table of losses: each with integer and with soft targets, with and without a time axis."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import minirnn as m

CLASSES = 5


@dataclass(frozen=True)
class LossCase:
    """A loss, and how to draw predictions and targets for it, given the positions' shape."""

    name: str
    make: Callable[[], m.Loss]
    prediction: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    target: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

    def __str__(self) -> str:
        return self.name

    def draw(self, shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        return self.prediction(rng, shape), self.target(rng, shape)


def _logits(rng, shape):
    return rng.normal(0, 2, (*shape, CLASSES))


def _probabilities(rng, shape):
    p = rng.uniform(0.1, 1, (*shape, CLASSES))
    return p / p.sum(axis=-1, keepdims=True)


def _classes(rng, shape):
    return rng.integers(0, CLASSES, shape)


def _weights(rng, shape):
    return rng.uniform(0, 1, (*shape, CLASSES))  # sums other than 1: the general formula


def _some_ignored(rng, shape):
    return np.where(rng.random(shape) < 0.3, -1, rng.integers(0, CLASSES, shape))


def _single_probabilities(rng, shape):
    return rng.uniform(0.1, 0.9, (*shape, CLASSES))


def _far_apart(rng, shape):
    """Targets at a distance from any prediction at which no loss has a corner."""
    return rng.choice([-9.0, 9.0], (*shape, CLASSES))


BY_CLASS = {"class_weight": [0.5, 2.0, 1.0, 0.0, 3.0]}

LOSSES = [
    LossCase("softmax classes", m.SoftmaxCrossEntropy, _logits, _classes),
    LossCase("softmax soft", m.SoftmaxCrossEntropy, _logits, _probabilities),
    LossCase("softmax weights", m.SoftmaxCrossEntropy, _logits, _weights),
    LossCase("probabilities classes", m.CrossEntropy, _probabilities, _classes),
    LossCase("probabilities soft", m.CrossEntropy, _probabilities, _probabilities),
    LossCase("sigmoid", m.SigmoidCrossEntropy, _logits, _weights),
    LossCase("squares", m.MeanSquaredError, _logits, _logits),
    LossCase("absolute", m.MeanAbsoluteError, _logits, _far_apart),
    LossCase("huber", lambda: m.Huber(0.8), _logits, _logits),
    LossCase("binary", m.BinaryCrossEntropy, _single_probabilities, _weights),
    LossCase("class weights", lambda: m.SoftmaxCrossEntropy(**BY_CLASS), _logits, _classes),
    LossCase("class weights soft", lambda: m.SoftmaxCrossEntropy(**BY_CLASS), _logits, _weights),
    LossCase("smoothed", lambda: m.SoftmaxCrossEntropy(label_smoothing=0.2), _logits, _classes),
    LossCase(
        "smoothed class weights",
        lambda: m.SoftmaxCrossEntropy(label_smoothing=0.2, **BY_CLASS),
        _logits,
        _classes,
    ),
    LossCase("ignored", lambda: m.SoftmaxCrossEntropy(ignore_class=-1), _logits, _some_ignored),
    LossCase(
        "ignored smoothed class weights",
        lambda: m.SoftmaxCrossEntropy(ignore_class=-1, label_smoothing=0.2, **BY_CLASS),
        _logits,
        _some_ignored,
    ),
]
