"""Losses: one number from predictions and targets, and its gradient on the predictions."""

from minirnn.losses.base import Loss, check_loss
from minirnn.losses.cross_entropy import SoftmaxCrossEntropy
from minirnn.losses.ctc import CTCLoss
from minirnn.losses.ctc_decoding import ctc_beam, ctc_greedy
from minirnn.losses.probabilities import BinaryCrossEntropy, CrossEntropy, SigmoidCrossEntropy
from minirnn.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError

__all__ = [
    "BinaryCrossEntropy",
    "CTCLoss",
    "CrossEntropy",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "check_loss",
    "ctc_beam",
    "ctc_greedy",
]
