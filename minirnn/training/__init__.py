"""The training loop and what it keeps."""

from minirnn.training.history import History
from minirnn.training.trainer import Trainer

__all__ = ["History", "Trainer"]
