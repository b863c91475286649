"""The final output of a recurrent layer, in its direction of reading."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from minirnn.core import Layer
from minirnn.layers.pooling import LastStep, PickedStep, last_valid, one_step_a_feature
from minirnn.typing import Array, Mask


class LastState(PickedStep):
    """The final output of each direction, where it has read the whole sequence.

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

    def _picked(self, x: Array, mask: Mask | None) -> tuple[Any, ...]:
        if self.directions is None:
            raise RuntimeError(
                "LastState: does not know in which direction its input was read; put it behind a "
                "recurrent layer in a Sequential, or write LastState().follow(recurrent_layer)"
            )
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
        return one_step_a_feature(np.concatenate(steps).T)

    def step(self, x_t: Any) -> Array:
        """Return the step itself: of all so far, it is the last."""
        if any(backwards for _, backwards in self.directions or ()):
            raise ValueError(
                "LastState: what is read backwards ends at the first step of the sequence; it "
                "cannot be run step by step"
            )
        return super().step(x_t)


def connect_last_states(chain: Iterable[Layer]) -> None:
    """Let each `LastState` of a chain follow the recurrent layer before it.

    One that stands first may be inside another chain, which is yet to be made; and a part of a
    chain may begin behind the recurrent layer that it follows already.
    """
    before: Layer | None = None
    begun = False  # with a layer that says what the features are
    for k, layer in enumerate(chain):
        if isinstance(layer, LastState) and k > 0:
            if before is None and (begun or layer.directions is None):
                raise ValueError(
                    "LastState: should stand behind a recurrent layer, with nothing but layers "
                    "that keep the features in between; for the last step of other layers take "
                    "LastStep"
                )
            if before is not None:
                layer.follow(before)
        backwards = any(back for _, back in getattr(before, "directions", ()))
        if isinstance(layer, LastStep) and backwards:
            warnings.warn(
                f"Sequential: LastStep behind {type(before).__name__}: at the last step, the "
                f"backward direction has seen that one step only. LastState() takes each direction "
                f"where it has read the whole sequence, as Keras and PyTorch's h_n do",
                stacklevel=6,
            )
        if getattr(layer, "directions", None) is not None:
            before = layer
        elif not layer.keeps_time or hasattr(layer, "output_size") or _turns(before, layer):
            before, begun = None, True


def _turns(before: Layer | None, layer: Layer) -> bool:
    """Whether something inside a layer reads in another direction than the layer before it.

    So with a `Residual`: at the step where the one has read everything, the other has not.
    """
    inside = [part for _, part in layer.named_layers() if part.uses_state]
    ways = [getattr(part, "directions", None) or () for part in (before, *inside)]
    return len({backwards for way in ways for _, backwards in way}) > 1 and bool(inside)
