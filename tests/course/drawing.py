"""The arrays behind the published numbers, drawn in the published order."""

import json
from pathlib import Path

import numpy as np

GOLDENS = json.loads((Path(__file__).parent / "goldens.json").read_text())

N_X, N_A, N_Y, M = 3, 5, 2, 10


def generator() -> np.random.RandomState:
    """Return a private generator with the numbers of ``numpy.random.seed(1)``."""
    return np.random.RandomState(1)


def rnn_parameters(r, order="Waa Wax Wya ba by", n_x=N_X, n_a=N_A, n_y=N_Y):
    shapes = {
        "Waa": (n_a, n_a),
        "Wax": (n_a, n_x),
        "Wya": (n_y, n_a),
        "ba": (n_a, 1),
        "by": (n_y, 1),
    }
    return {name: r.randn(*shapes[name]) for name in order.split()}


def lstm_parameters(r, n_x=N_X, n_a=N_A, n_y=N_Y, *, zero_output=False):
    parameters = {}
    for gate in "fioc":
        parameters[f"W{gate}"] = r.randn(n_a, n_a + n_x)
        parameters[f"b{gate}"] = r.randn(n_a, 1)
    if zero_output:
        return parameters | {"Wy": np.zeros((n_y, n_a)), "by": np.zeros((n_y, 1))}
    return parameters | {"Wy": r.randn(n_y, n_a), "by": r.randn(n_y, 1)}
