"""Models that several libraries have a counterpart to."""

import numpy as np

import minirnn as mr
from minirnn import LayerNorm, MeanOverTime


def disturb(model, seed=0):
    """Give every parameter random numbers: zeros would hide a bias in the wrong place."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.value = 0.5 * rng.standard_normal(parameter.shape)
    return model


def everywhere(dtype):
    """Return what PyTorch, Keras and ONNX have."""
    kw = {"dtype": dtype}
    return {
        "rnn": mr.RNN(3, 4, **kw),
        "relu": mr.RNN(3, 4, activation="relu", **kw),
        "lstm": mr.LSTM(3, 4, **kw),
        "gru": mr.GRU(3, 4, **kw),
        "recurrent": mr.Recurrent(mr.GRUCell(2, 3, **kw)),
        "bidirectional": mr.Bidirectional(mr.LSTM(3, 4, **kw), mr.LSTM(3, 4, **kw)),
        "classifier": mr.Sequential(
            [
                mr.Dense(3, 4, **kw),
                mr.Tanh(),
                mr.RNN(4, 5, **kw),
                mr.LastStep(),
                mr.ReLU(),
                mr.Dense(5, 1, **kw),
                mr.Sigmoid(),
            ]
        ),
    }


def not_in_torch(dtype):
    """Return what Keras and ONNX have, and PyTorch does not."""
    return {
        "sigmoid": mr.RNN(3, 4, activation="sigmoid", dtype=dtype),
        "gru as first published": mr.GRU(3, 4, reset_after=False, dtype=dtype),
    }


def not_in_keras(dtype):
    """Return what PyTorch and ONNX have, and Keras does not."""
    kw = {"dtype": dtype}
    return {
        "reverse": mr.LSTM(3, 4, reverse=True, **kw),
        "dense": mr.Dense(3, 2, **kw),
        "no bias": mr.Dense(3, 2, bias=False, **kw),
        "embedding": mr.Embedding(7, 3, **kw),
        "tagger": mr.Sequential(
            [
                mr.Embedding(9, 3, **kw),
                mr.Dropout(0.5, rng=0),
                mr.Sequential(
                    [
                        mr.Bidirectional(mr.GRU(3, 4, **kw), mr.GRU(3, 4, **kw)),
                        mr.LSTM(8, 5, reverse=True, **kw),
                    ]
                ),
                LayerNorm(5, **kw),
                mr.Dense(5, 2, **kw),
                mr.Softmax(),
            ]
        ),
    }


def branching(dtype):
    """Return models with several paths, for PyTorch and ONNX."""
    kw = {"dtype": dtype}
    return {
        "unequal": mr.Bidirectional(mr.LSTM(3, 4, **kw), mr.GRU(3, 5, **kw)),
        "residual": mr.Sequential(
            [
                mr.Residual(mr.Sequential([LayerNorm(3, **kw), mr.GRU(3, 3, **kw)])),
                mr.Dense(3, 2, **kw),
            ]
        ),
        "branches": mr.Sequential(
            [
                mr.Parallel([mr.LSTM(3, 4, **kw), mr.Dense(3, 4, **kw)], merge="product"),
                mr.Parallel([mr.Sequential([mr.RNN(4, 5, **kw), mr.LastStep()]), MeanOverTime()]),
            ]
        ),
        "merged": mr.Sequential(
            [
                mr.Bidirectional(mr.LSTM(3, 4, **kw), mr.LSTM(3, 4, **kw), merge="mean"),
                mr.Bidirectional(mr.GRU(4, 2, **kw), mr.RNN(4, 2, **kw), merge="sum"),
            ]
        ),
    }
