"""What happens beside the training loop: stop early, save, log, average, lower the rate."""

from minirnn.callbacks.averaging import AverageWeights
from minirnn.callbacks.base import Callback
from minirnn.callbacks.monitoring import EarlyStopping, ReduceOnPlateau
from minirnn.callbacks.saving import Checkpoint, CSVLogger
from minirnn.callbacks.tools import OptunaPruning, TensorBoard

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
