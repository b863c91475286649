"""The final output of a recurrent layer, when it has read the sequence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.layers.pooling import last_valid, valid_sequence
from minirnn.typing import Array

__all__ = ["LastState", "connect_last_states"]


class LastState(Layer):
    """The output of each direction where it has read the whole sequence.

    ``(batch, time, features) -> (batch, features)``. What was read forwards is taken at the last
    valid step, what was read backwards at the first: after a `Bidirectional` layer, its forward
    half at the last valid step and its backward half at the first one, as in Keras'
    ``Bidirectional(LSTM(n))`` and PyTorch's ``h_n``. `LastStep` takes all features from the last
    step, where a backward layer has seen that step only.

    For cells whose output is the state, as in RNN, LSTM and GRU, this is the final ``h``. For
    others it is the output of the final step, not the state itself.

    In a `Sequential` the layer finds the recurrent layer before it by itself; others in between may
    change the numbers (`Dropout`, `LayerNorm`, an activation), but not the features. Elsewhere call
    `follow`. Backward puts the gradient at those steps and zeros everywhere else. After this layer
    there is no time axis, so the mask ends here.

    Raises
    ------
    RuntimeError
        If forward is called and no recurrent layer is known.
    ValueError
        If a sequence has no valid step at all.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import LSTM, Bidirectional, Sequential
    >>> both = Bidirectional(LSTM(3, 4, rng=0), LSTM(3, 4, rng=1))
    >>> y = Sequential([both, LastState()]).forward(np.ones((2, 5, 3)))
    >>> h_forward, _, h_backward, _ = both.state
    >>> np.array_equal(y, np.concatenate([h_forward, h_backward], axis=1))
    True
    """

    uses_mask = True
    keeps_time = False
    keeps_features = True
    directions: tuple[tuple[int, bool], ...] | None = None
    """Features and whether they were read backwards, for each part of the input."""

    def follow(self, layer: Layer) -> Self:
        """Take the directions of a recurrent layer, the one whose output comes in; returns self.

        For models of your own: ``self.last = LastState().follow(self.recurrent)``.
        """
        directions = getattr(layer, "directions", None)
        if directions is None:
            raise TypeError(
                f"LastState: follows a recurrent layer (RNN, LSTM, GRU, Recurrent, Bidirectional), "
                f"got {type(layer).__name__}"
            )
        self.directions = directions
        return self

    def forward(self, x: Any, mask: Any = None) -> Array:
        """Return the last outputs ``(batch, features)`` of x ``(batch, time, features)``."""
        if self.directions is None:
            raise RuntimeError(
                "LastState: does not know in which direction its input was read; put it behind a "
                "recurrent layer in a Sequential, or write LastState().follow(recurrent_layer)"
            )
        x, mask = valid_sequence(self, x, mask)
        batch, time, features = x.shape
        if features != sum(size for size, _ in self.directions):
            raise ValueError(
                f"LastState: axis 2 (features) should be {sum(n for n, _ in self.directions)}, as "
                f"the recurrent layer before gives them, got {features} in shape {x.shape}"
            )
        last = np.broadcast_to(last_valid(mask, time), batch)
        first = np.zeros(batch, int) if mask is None else mask.argmax(axis=1)
        steps = [
            np.tile(first if backwards else last, (size, 1)) for size, backwards in self.directions
        ]
        where = np.concatenate(steps).T[:, None, :]  # the step of each feature
        self._cache = (x.shape, x.dtype, where)
        y: Array = np.take_along_axis(x, where, axis=1)[:, 0]
        return y

    def step(self, x_t: Any) -> Array:
        """Return the step itself: of all so far, it is the last."""
        if any(backwards for _, backwards in self.directions or ()):
            raise ValueError(
                "LastState: what is read backwards ends at the first step of the sequence; it "
                "cannot be run step by step"
            )
        return checks.step(self, x_t, None, None)

    def backward(self, grad: Any) -> Array:
        """Return the gradient on x ``(batch, time, features)``: zero but at those steps."""
        (batch, time, features), dtype, where = self._saved()
        grad = checks.check_shape(self, grad, (batch, features), dtype, "the gradient")
        grad_x = np.zeros((batch, time, features), dtype)
        np.put_along_axis(grad_x, where, grad[:, None, :], axis=1)
        return grad_x


def connect_last_states(chain: Iterable[Layer]) -> None:
    """Let each `LastState` of a chain follow the recurrent layer before it.

    One that stands first may be inside another chain, which is yet to be made.
    """
    before: Layer | None = None
    for k, layer in enumerate(chain):
        if isinstance(layer, LastState) and k > 0:
            if before is None:
                raise ValueError(
                    "LastState: should stand behind a recurrent layer, with nothing but layers "
                    "that keep the features in between; for the last step of other layers take "
                    "LastStep"
                )
            layer.follow(before)
        if getattr(layer, "directions", None) is not None:
            before = layer
        elif not layer.keeps_time or hasattr(layer, "output_size"):
            before = None
