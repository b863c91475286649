"""The built-in cells over whole sequences, in NumPy alone: for machines without the native engine.

The equations stand here a second time, which is what the engine is there to avoid; so the kernels
do only what pays: no mask, or padding at the ends of the sequences. All else runs in the time loop,
whose numbers they give, and a test holds them to it.

`driver` has what all cells share, `rnn`, `lstm` and `gru` what one step of each is.
"""

from minirnn.kernels.threads import one_blas_thread

__all__ = ["one_blas_thread"]
