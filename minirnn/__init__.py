"""minirnn: recurrent networks in NumPy, to read, to check and to train."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minirnn.cells import Cell, GRUCell, LSTMCell, RNNCell
from minirnn.core import Layer, Parameter
from minirnn.errors import CheckpointError, NotFiniteError
from minirnn.layers import (
    Dense,
    Dropout,
    Embedding,
    LastState,
    LastStep,
    LogSoftmax,
    MaxOverTime,
    MeanOverTime,
    Parallel,
    ReLU,
    Residual,
    Sigmoid,
    Softmax,
    Tanh,
)
from minirnn.models.sequential import Sequential
from minirnn.recurrent import GRU, LSTM, RNN, Bidirectional, Recurrent

if TYPE_CHECKING:
    from minirnn import (
        callbacks,
        course,
        data,
        insight,
        losses,
        metrics,
        optimizers,
        schedules,
        tasks,
        testing,
    )
    from minirnn.gradcheck import GradientError, GradientReport, check_gradients
    from minirnn.layers.attention import Attention
    from minirnn.layers.normalization import LayerNorm
    from minirnn.layers.rectifiers import ELU, GELU, LeakyReLU, SiLU, Softplus
    from minirnn.losses import (
        BinaryCrossEntropy,
        CrossEntropy,
        Huber,
        Loss,
        MeanAbsoluteError,
        MeanSquaredError,
        SigmoidCrossEntropy,
        SoftmaxCrossEntropy,
    )
    from minirnn.losses.ctc import CTCLoss
    from minirnn.losses.ctc_decoding import ctc_beam, ctc_greedy
    from minirnn.metrics import (
        F1,
        MAE,
        R2,
        RMSE,
        Accuracy,
        BinaryAccuracy,
        ConfusionMatrix,
        FunctionMetric,
        LabelErrorRate,
        LogLoss,
        Metric,
        Perplexity,
        Precision,
        Recall,
        TopKAccuracy,
    )
    from minirnn.models.encoder_decoder import EncoderDecoder
    from minirnn.models.files import load, save
    from minirnn.models.generate import generate
    from minirnn.optimizers import (
        SGD,
        Adagrad,
        Adam,
        AdamW,
        Nadam,
        Optimizer,
        ParameterGroup,
        RMSProp,
        WeightAverage,
    )
    from minirnn.recurrent.state_dropout import StateDropout
    from minirnn.training import History, Trainer

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "F1",
    "GELU",
    "GRU",
    "LSTM",
    "MAE",
    "R2",
    "RMSE",
    "RNN",
    "SGD",
    "Accuracy",
    "Adagrad",
    "Adam",
    "AdamW",
    "Attention",
    "Bidirectional",
    "BinaryAccuracy",
    "BinaryCrossEntropy",
    "CTCLoss",
    "Cell",
    "CheckpointError",
    "ConfusionMatrix",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "Embedding",
    "EncoderDecoder",
    "FunctionMetric",
    "GRUCell",
    "GradientError",
    "GradientReport",
    "History",
    "Huber",
    "LSTMCell",
    "LabelErrorRate",
    "LastState",
    "LastStep",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LogLoss",
    "LogSoftmax",
    "Loss",
    "MaxOverTime",
    "MeanAbsoluteError",
    "MeanOverTime",
    "MeanSquaredError",
    "Metric",
    "Nadam",
    "NotFiniteError",
    "Optimizer",
    "Parallel",
    "Parameter",
    "ParameterGroup",
    "Perplexity",
    "Precision",
    "RMSProp",
    "RNNCell",
    "ReLU",
    "Recall",
    "Recurrent",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "StateDropout",
    "Tanh",
    "TopKAccuracy",
    "Trainer",
    "WeightAverage",
    "__version__",
    "callbacks",
    "check_gradients",
    "course",
    "ctc_beam",
    "ctc_greedy",
    "data",
    "generate",
    "insight",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "save",
    "schedules",
    "tasks",
    "testing",
]

# What a program may not need is read when it is first asked for, so that the import stays short.
_LATER = {
    "load": "minirnn.models.files",
    "save": "minirnn.models.files",
    "Accuracy": "minirnn.metrics",
    "Adagrad": "minirnn.optimizers",
    "Adam": "minirnn.optimizers",
    "AdamW": "minirnn.optimizers",
    "Attention": "minirnn.layers.attention",
    "BinaryAccuracy": "minirnn.metrics",
    "BinaryCrossEntropy": "minirnn.losses",
    "CTCLoss": "minirnn.losses.ctc",
    "ConfusionMatrix": "minirnn.metrics",
    "CrossEntropy": "minirnn.losses",
    "ELU": "minirnn.layers.rectifiers",
    "EncoderDecoder": "minirnn.models.encoder_decoder",
    "F1": "minirnn.metrics",
    "FunctionMetric": "minirnn.metrics",
    "GELU": "minirnn.layers.rectifiers",
    "GradientError": "minirnn.gradcheck",
    "GradientReport": "minirnn.gradcheck",
    "History": "minirnn.training",
    "Huber": "minirnn.losses",
    "LayerNorm": "minirnn.layers.normalization",
    "LeakyReLU": "minirnn.layers.rectifiers",
    "LabelErrorRate": "minirnn.metrics",
    "LogLoss": "minirnn.metrics",
    "Loss": "minirnn.losses",
    "MAE": "minirnn.metrics",
    "MeanAbsoluteError": "minirnn.losses",
    "MeanSquaredError": "minirnn.losses",
    "Metric": "minirnn.metrics",
    "Nadam": "minirnn.optimizers",
    "Optimizer": "minirnn.optimizers",
    "ParameterGroup": "minirnn.optimizers",
    "Perplexity": "minirnn.metrics",
    "Precision": "minirnn.metrics",
    "R2": "minirnn.metrics",
    "RMSE": "minirnn.metrics",
    "RMSProp": "minirnn.optimizers",
    "Recall": "minirnn.metrics",
    "SGD": "minirnn.optimizers",
    "SiLU": "minirnn.layers.rectifiers",
    "SigmoidCrossEntropy": "minirnn.losses",
    "SoftmaxCrossEntropy": "minirnn.losses",
    "Softplus": "minirnn.layers.rectifiers",
    "StateDropout": "minirnn.recurrent.state_dropout",
    "TopKAccuracy": "minirnn.metrics",
    "Trainer": "minirnn.training",
    "WeightAverage": "minirnn.optimizers",
    "callbacks": "minirnn.callbacks",
    "check_gradients": "minirnn.gradcheck",
    "course": "minirnn.course",
    "ctc_beam": "minirnn.losses.ctc_decoding",
    "ctc_greedy": "minirnn.losses.ctc_decoding",
    "data": "minirnn.data",
    "generate": "minirnn.models.generate",
    "insight": "minirnn.insight",
    "losses": "minirnn.losses",
    "metrics": "minirnn.metrics",
    "optimizers": "minirnn.optimizers",
    "schedules": "minirnn.schedules",
    "tasks": "minirnn.tasks",
    "testing": "minirnn.testing",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'minirnn' has no attribute {name!r}")
    module = import_module(_LATER[name])
    value = module if module.__name__ == f"minirnn.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
