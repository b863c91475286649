"""Fast arithmetic over whole sequences: plain functions on arrays, which know no class of layers.

`rnn`, `lstm` and `gru` hold three functions each, of one shape:

- ``*_forward`` runs the equations of the cell over all steps,
- ``*_backward`` runs the gradient back through them,
- ``*_step`` is one step without a cache, for streaming.

They give the numbers of the plain loop over the cell; a test holds them to it.
"""

from minirnn.kernels.gru import gru_backward, gru_forward, gru_step
from minirnn.kernels.lstm import lstm_backward, lstm_forward, lstm_step
from minirnn.kernels.rnn import rnn_backward, rnn_forward, rnn_step
from minirnn.kernels.threads import one_blas_thread
from minirnn.kernels.workspace import Workspace

__all__ = [
    "Workspace",
    "gru_backward",
    "gru_forward",
    "gru_step",
    "lstm_backward",
    "lstm_forward",
    "lstm_step",
    "one_blas_thread",
    "rnn_backward",
    "rnn_forward",
    "rnn_step",
]
