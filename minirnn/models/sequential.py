"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from minirnn import masks
from minirnn.core import Layer, dtype_of
from minirnn.layers.composite import Composite, no_return, refuse_gradient
from minirnn.layers.last_state import connect_last_states
from minirnn.models import chain_checks as chain
from minirnn.models.stream import native_step
from minirnn.restoring import Restored


class Kept(NamedTuple):
    """What is kept of a forward for backward, beside what the layers keep."""

    shapes: list[Any]  # of the input and of each output
    mask: Any  # of the last output, where the last layer takes none
    padding: Any = None  # the mask of the input


class Sequential(Composite):
    """A chain of layers, itself a layer.

    ``y = layer_n(... layer_1(layer_0(x)))``; backward goes through them from last to first.

    Parameters
    ----------
    layers : iterable of Layer
        Models may nest; the same object may not be in the chain twice.

    Attributes
    ----------
    state, grad_state : tuple
        The final state of each layer after the latest `forward` or `step`, and the gradient on each
        layer's initial state after `backward`; None where a layer has no state.

    Notes
    -----
    A mask goes to every layer with ``uses_mask``, until a layer takes the time axis away. What
    stands in the padding of the input is replaced by zeros first, so it may be anything; the
    output is zero there, and no gradient comes in.

    An error inside a layer says which: "LSTM (layer 1 of the model): ...". A refused call leaves
    parameters, gradients, states and what layers keep as they were.

    Raises
    ------
    TypeError
        If something in the list is not a layer.
    ValueError
        If the list is empty or has the same layer twice, or if a layer does not take as many
        features as the one before gives.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import GRU, Dense, LastStep
    >>> model = Sequential([GRU(3, 8, rng=0), LastStep(), Dense(8, 2, rng=1)])
    >>> model.forward(np.ones((4, 7, 3))).shape
    (4, 2)
    >>> len(model), model[1]
    (3, LastStep())
    >>> model.summary()  # doctest: +ELLIPSIS
    layer       output shape  parameters  engine
    ----------------------------------------...
    0 GRU       (4, 7, 8)            296  ...
    1 LastStep  (4, 8)                 0
    2 Dense     (4, 2)                18
    ----------------------------------------...
    total                            314
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__(layers)
        self._latest = Kept([], None)
        self._stream: Any = None

    def _checked(self) -> list[Layer]:
        parts = super()._checked()
        chain.check_sizes(self.layers)
        connect_last_states(flat(self.layers))
        return parts

    # ------------------------------------------------------------ what a layer tells

    @property
    def keeps_time(self) -> bool:  # type: ignore[override]
        """Whether the output of the model still has the time axis of its input."""
        return all(map(attrgetter("keeps_time"), self.layers))

    @property
    def input_size(self) -> int | None:
        """Features that the first layer takes, where that is known."""
        return chain.first_known("input_size", self.layers)

    @property
    def output_size(self) -> int | None:
        """Features that the last layer gives, where that is known."""
        return chain.first_known("output_size", self.layers[::-1])

    @property
    def output_shapes(self) -> list[Any] | None:
        """The shape of each layer's output in the latest `forward`; None before."""
        return self._latest.shapes[1:] or None

    def output_mask(self, mask: Any) -> Any:
        """Return the mask of the output, for that of the input; None where no time axis is left."""
        for layer in self.layers:
            if mask is not None:
                mask = layer.output_mask(mask)
        return mask

    # ------------------------------------------------------------ running

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Any:
        """Return the output of the last layer.

        Parameters
        ----------
        x : array (batch, time, features), or whatever the first layer takes
            If that takes several inputs, a tuple or a dictionary of arrays.
        mask : boolean array (batch, time), optional
            For several inputs, a tuple or a dictionary of masks.
        state : tuple with an entry for each layer, optional
            The initial states, as in the attribute `state`; None where a layer begins at its own.
        """
        states = None if state is None else self._states(state, "state")
        if mask is not None:
            x, mask = masks.checked(self, x, mask)
        with Restored(self._inside()):
            y, self._latest = run_forward(self.layers, x, mask, states)
        return y

    def backward(self, grad: Any, grad_state: Any = None) -> Any:
        """Return the gradient on the input, from that on the output.

        Parameters
        ----------
        grad : array of the output's shape
        grad_state : tuple with an entry for each layer, optional
            Gradients on the final states; None stands for zeros.
        """
        states = None if grad_state is None else self._states(grad_state, "grad_state")
        with Restored(self._inside(), gradients=True):
            return run_backward(self.layers, grad, states, self._latest)

    def backward_parameters(self, grad: Any, grad_state: Any = None) -> None:
        """Add to the parameters' gradients, and stop at the first layer that has any.

        If a layer raises, those after it have added theirs already.
        """
        states = None if grad_state is None else self._states(grad_state, "grad_state")
        for k, layer in enumerate(self.layers):
            if dtype_of(layer) is not None:
                run_backward(self.layers, grad, states, self._latest, until=k)
                return

    def step(self, x_t: Any) -> Any:
        """Return the output (batch, output) of one time step; its state goes to the next call.

        It runs in evaluation mode, whatever the mode: nothing is kept for backward.

        Parameters
        ----------
        x_t : array (batch, features), or tokens (batch,) where the first layer is an Embedding
        """
        y_t = native_step(self, x_t)
        if y_t is not None:
            return y_t
        with Restored(self._inside()):
            return run_step(self.layers, x_t)

    # ------------------------------------------------------------ looking in

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle all but what runs natively."""
        return vars(self) | {"_stream": None}

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, position: int | slice) -> Layer:
        """Return a layer; of a slice, a `Sequential` of the same layers."""
        chosen = self.layers[position]
        return Sequential(chosen) if isinstance(chosen, list) else chosen

    def __repr__(self) -> str:
        inside = "\n".join(f"{layer!r}," for layer in self.layers).replace("\n", "\n    ")
        return f"Sequential([\n    {inside}\n])"


def run_forward(
    layers: list[Layer], x: Any, mask: Any, states: Any, whole: str = "the model"
) -> tuple[Any, Kept]:
    """Go through the layers; the states are one for each layer, or None."""
    shapes, k, padding = [getattr(x, "shape", None)], 0, mask
    try:
        for k, layer in enumerate(layers):
            state = None if states is None else states[k]
            if mask is None and state is None:
                x = layer.forward(x)
            else:
                x, mask = masks.through(layer, x, mask, state)
            if x is None:
                raise TypeError(no_return(layer, "forward", "the output"))
            shapes.append(getattr(x, "shape", None))
    except Exception as error:
        chain.locate(error, k, layers[k], whole)
        raise
    if mask is None or (layers and layers[-1].uses_mask):
        return x, Kept(shapes, None, padding)
    return masks.without_padding(x, mask), Kept(shapes, mask, padding)


def run_backward(
    layers: list[Layer],
    grad: Any,
    states: Any,
    kept: Kept,
    whole: str = "the model",
    *,
    until: int | None = None,
) -> Any:
    """Go back through the layers; with `until`, to that one, whose input needs no gradient."""
    shapes, mask, padding = kept
    if mask is not None and np.shape(grad)[:2] == mask.shape:
        grad = masks.without_padding(np.asarray(grad), mask)
    k = 0
    try:
        for k in range(len(layers) - 1, (until or 0) - 1, -1):
            layer = layers[k]
            backward = layer.backward_parameters if k == until else layer.backward
            state = None if states is None else states[k]
            grad = backward(grad) if state is None else backward(grad, state)
            if k > (until or 0):
                shape = shapes[k] if shapes else None
                known = shape is not None and hasattr(grad, "shape")
                if grad is None or (known and grad.shape != shape):
                    refuse_gradient(layer, grad, shape)
    except Exception as error:
        if isinstance(error, ValueError) and "broadcast" in str(error):
            chain.explain_shapes(error, layers[k])
        chain.locate(error, k, layers[k], whole)
        raise
    arrays = isinstance(padding, np.ndarray) and isinstance(grad, np.ndarray)
    if until is None and arrays and grad.shape[:2] == padding.shape:
        return masks.without_padding(grad, padding)
    return grad


def run_step(layers: list[Layer], x_t: Any, whole: str = "the model") -> Any:
    """Go through the layers with one time step."""
    layer: Any = None
    try:
        for layer in layers:
            x_t = layer.step(x_t)
    except Exception as error:
        chain.locate(error, layers.index(layer), layer, whole)
        raise
    return x_t


def flat(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield the layers of a chain, those of chains inside it in their place."""
    for layer in layers:
        if isinstance(layer, Sequential):
            yield from flat(layer.layers)
        else:
            yield layer
