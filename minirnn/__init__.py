"""minirnn: recurrent networks in NumPy, to read, to check and to train."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and checkers of types read
    from minirnn import callbacks, course, data, engine, insight, schedules, tasks, testing
    from minirnn.cells import *
    from minirnn.core import Layer as Layer
    from minirnn.core import Parameter as Parameter
    from minirnn.errors import CheckpointError as CheckpointError
    from minirnn.errors import NotFiniteError as NotFiniteError
    from minirnn.gradcheck import GradientError as GradientError
    from minirnn.gradcheck import GradientReport as GradientReport
    from minirnn.gradcheck import check_gradients as check_gradients
    from minirnn.layers import *
    from minirnn.losses import *
    from minirnn.metrics import *
    from minirnn.models import *
    from minirnn.models.files import load as load
    from minirnn.models.files import save as save
    from minirnn.models.generate import generate as generate
    from minirnn.optimizers import *
    from minirnn.recurrent import *
    from minirnn.training import History as History
    from minirnn.training import Trainer as Trainer

__version__ = "0.1.0"

# The public names by the module that has them. It is read when one is first asked for, so that the
# import stays short.
_NAMES = {
    "cells": "Cell GRUCell LSTMCell RNNCell",
    "core": "Layer Parameter",
    "errors": "CheckpointError NotFiniteError",
    "gradcheck": "GradientError GradientReport check_gradients",
    "layers": "Attention Dense Dropout ELU Embedding GELU LastState LastStep LayerNorm LeakyReLU "
    "LogSoftmax MaxOverTime MeanOverTime Parallel ReLU Residual SiLU Sigmoid Softmax Softplus Tanh",
    "losses": "BinaryCrossEntropy CTCLoss CrossEntropy Huber Loss MeanAbsoluteError "
    "MeanSquaredError SigmoidCrossEntropy SoftmaxCrossEntropy ctc_beam ctc_greedy",
    "metrics": "Accuracy BinaryAccuracy ConfusionMatrix F1 FunctionMetric LabelErrorRate LogLoss "
    "MAE Metric Perplexity Precision R2 RMSE Recall TopKAccuracy",
    "models": "EncoderDecoder Sequential",
    "models.files": "load save",
    "models.generate": "generate",
    "optimizers": "Adagrad Adam AdamW Nadam Optimizer ParameterGroup RMSProp SGD WeightAverage",
    "recurrent": "Bidirectional GRU LSTM RNN Recurrent StateDropout",
    "training": "History Trainer",
}
_MODULES = "callbacks course data insight losses metrics optimizers schedules tasks testing"
_PLACES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(["__version__", *_PLACES, *_MODULES.split()])


def __getattr__(name: str) -> Any:
    """Return a public name, or a module of the package."""
    if name in _PLACES:
        value = getattr(import_module(f"minirnn.{_PLACES[name]}"), name)
    else:
        try:
            value = import_module(f"minirnn.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"minirnn.{name}":
                raise
            raise AttributeError(f"module 'minirnn' has no attribute {name!r}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "engine", "interop", "training", "__doc__", "__file__", "__path__"})
