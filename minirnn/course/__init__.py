"""Recurrent networks in the notation of a well-known course: columns instead of rows.

The first assignment of the fifth course of the Deep Learning Specialization (A. Ng,
deeplearning.ai, 2018) has the learner write these functions. Here they are with the same arguments,
dictionaries, caches and return values, computed by minirnn's own cells in float64: compare them
with your own, or turn your parameters into a minirnn model, and back.

======== ======================================= ==================================
symbol   meaning                                 elsewhere in minirnn
======== ======================================= ==================================
n_x      inputs                                  input_size
n_a      hidden units                            hidden_size
n_y      outputs                                 output_size of a `Dense`
m        examples                                batch
T_x      time steps                              time
x        array (n_x, m, T_x)                     array (batch, time, features)
======== ======================================= ==================================
"""

from minirnn.course.activations import sigmoid, softmax
from minirnn.course.lstm import (
    lstm_backward,
    lstm_cell_backward,
    lstm_cell_forward,
    lstm_forward,
)
from minirnn.course.rnn import rnn_backward, rnn_cell_backward, rnn_cell_forward, rnn_forward
from minirnn.course.weights import (
    lstm_cell_from_course,
    lstm_cell_to_course,
    rnn_cell_from_course,
    rnn_cell_to_course,
)

__all__ = [
    "lstm_backward",
    "lstm_cell_backward",
    "lstm_cell_forward",
    "lstm_cell_from_course",
    "lstm_cell_to_course",
    "lstm_forward",
    "rnn_backward",
    "rnn_cell_backward",
    "rnn_cell_forward",
    "rnn_cell_from_course",
    "rnn_cell_to_course",
    "rnn_forward",
    "sigmoid",
    "softmax",
]
