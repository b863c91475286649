"""The training loop and what it keeps."""

from minirnn.training.history import History
from minirnn.training.lr_finder import LearningRateCurve, find_learning_rate
from minirnn.training.trainer import Trainer

__all__ = ["History", "LearningRateCurve", "Trainer", "find_learning_rate"]
