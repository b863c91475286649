"""minirnn: recurrent networks in NumPy, to read, to check and to train."""

from minirnn import callbacks, course, data, schedules
from minirnn.core import Layer, Parameter
from minirnn.files import CheckpointError
from minirnn.gradcheck import GradientError, GradientReport, check_gradients
from minirnn.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Cell,
    Dense,
    Dropout,
    Embedding,
    GRUCell,
    LastStep,
    LSTMCell,
    Recurrent,
    ReLU,
    RNNCell,
    Sigmoid,
    Softmax,
    Tanh,
)
from minirnn.losses import (
    CrossEntropy,
    Loss,
    MeanSquaredError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from minirnn.metrics import Accuracy, Metric, Perplexity
from minirnn.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSProp
from minirnn.sequential import Sequential
from minirnn.training import History, NotFiniteError, Trainer

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Accuracy",
    "Adagrad",
    "Adam",
    "AdamW",
    "Bidirectional",
    "Cell",
    "CheckpointError",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "Embedding",
    "GRUCell",
    "GradientError",
    "GradientReport",
    "History",
    "LSTMCell",
    "LastStep",
    "Layer",
    "Loss",
    "MeanSquaredError",
    "Metric",
    "NotFiniteError",
    "Optimizer",
    "Parameter",
    "Perplexity",
    "RMSProp",
    "RNNCell",
    "ReLU",
    "Recurrent",
    "Sequential",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Tanh",
    "Trainer",
    "__version__",
    "callbacks",
    "check_gradients",
    "course",
    "data",
    "schedules",
]
