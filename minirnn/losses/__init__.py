"""Losses: one number from predictions and targets, and its gradient on the predictions."""

from typing import TYPE_CHECKING

from minirnn.lazy import lazy
from minirnn.losses.base import Loss, check_loss
from minirnn.losses.cross_entropy import SoftmaxCrossEntropy
from minirnn.losses.probabilities import BinaryCrossEntropy, CrossEntropy, SigmoidCrossEntropy
from minirnn.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError

if TYPE_CHECKING:
    from minirnn.losses.ctc import CTCLoss
    from minirnn.losses.ctc_decoding import ctc_beam, ctc_greedy

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

__getattr__ = lazy(
    __name__,
    {
        "CTCLoss": "minirnn.losses.ctc",
        "ctc_beam": "minirnn.losses.ctc_decoding",
        "ctc_greedy": "minirnn.losses.ctc_decoding",
    },
)
