"""What happens beside the training loop: stop early, save, log, average, lower the rate."""

from minirnn.callbacks.averaging import AverageWeights
from minirnn.callbacks.base import Callback
from minirnn.callbacks.early_stopping import EarlyStopping
from minirnn.callbacks.plateau import ReduceOnPlateau
from minirnn.callbacks.pruning import OptunaPruning
from minirnn.callbacks.saving import Checkpoint, CSVLogger
from minirnn.callbacks.tensorboard import TensorBoard

__all__ = [
    "AverageWeights",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "OptunaPruning",
    "ReduceOnPlateau",
    "TensorBoard",
]
