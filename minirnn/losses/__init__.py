"""Losses: one number from predictions and targets, and its gradient on the predictions."""

from minirnn.losses.base import Loss, check_loss
from minirnn.losses.binary import BinaryCrossEntropy, SigmoidCrossEntropy
from minirnn.losses.cross_entropy import SoftmaxCrossEntropy
from minirnn.losses.probabilities import CrossEntropy
from minirnn.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "check_loss",
]
