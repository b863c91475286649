"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

import numpy as np

from minirnn import masks
from minirnn.copies import Restored, put_back
from minirnn.core import Layer, dtype_of
from minirnn.layers.last_state import connect_last_states
from minirnn.models import chain_checks as chain

__all__ = ["Sequential", "flat"]


class Sequential(Layer):
    """A chain of layers, itself a layer.

    ``y = layer_n(... layer_1(layer_0(x)))``; backward goes through them from last to first.

    Parameters
    ----------
    layers : iterable of Layer
        Models may nest; the same object may not be in the chain twice.

    Attributes
    ----------
    state : tuple
        The final state of each layer after the latest `forward` or `step`; None where a layer has
        no state.
    grad_state : tuple
        After `backward`, the gradient on each layer's initial state, None where it has none.

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

    uses_mask = True
    uses_state = True

    def __init__(self, layers: Iterable[Layer]) -> None:
        if isinstance(layers, Layer) or not isinstance(layers, Iterable):
            raise TypeError(
                f"Sequential: takes a list of layers, got {type(layers).__name__}; "
                f"write Sequential([...])"
            )
        self.layers = list(layers)
        if not self.layers:
            raise ValueError("Sequential: the list of layers is empty")
        # Of the latest forward: shapes of the input and of each output, and the mask of the last
        # output, where the last layer takes none.
        self._latest: tuple[list[Any], Any] = [], None
        self._parts = chain.check_layers(self.layers)  # all layers, those inside others too
        chain.check_sizes(self.layers)
        connect_last_states(flat(self.layers))

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
        return self._latest[0][1:] or None

    @property
    def state(self) -> tuple[Any, ...]:
        """The final state of each layer, None where there is none."""
        return tuple([layer.state if layer.uses_state else None for layer in self.layers])

    @property
    def grad_state(self) -> tuple[Any, ...]:
        """The gradient on the initial state of each layer, None where there is none."""
        return tuple([layer.grad_state if layer.uses_state else None for layer in self.layers])

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
        states = [None] * len(self.layers)
        if state is not None:
            states = chain.check_states(state, len(self.layers), "state")
        if mask is not None:
            x, mask = masks.checked(self, x, mask)
        shapes = [getattr(x, "shape", None)]
        with Restored(self._parts):
            k = 0
            try:
                for k, layer in enumerate(self.layers):
                    if mask is None and states[k] is None:
                        x = layer.forward(x)
                    else:
                        x, mask = masks.through(layer, x, mask, states[k])
                    if x is None:
                        raise TypeError(chain.no_return(layer, "forward", "the output"))
                    shapes.append(getattr(x, "shape", None))
            except Exception as error:
                chain.locate(error, k, self.layers[k])
                raise
        valid = None
        if mask is not None and not self.layers[-1].uses_mask:
            valid = mask.reshape(mask.shape + (1,) * (x.ndim - 2))
            x = np.where(valid, x, x.dtype.type(0))
        self._latest = shapes, valid
        return x

    def backward(self, grad: Any, grad_state: Any = None) -> Any:
        """Return the gradient on the input, from that on the output.

        Parameters
        ----------
        grad : array of the output's shape
        grad_state : tuple with an entry for each layer, optional
            Gradients on the final states; None stands for zeros.
        """
        with Restored(self._parts, gradients=True):
            return self._backward(grad, grad_state, 0, need_grad_x=True)

    def backward_parameters(self, grad: Any, grad_state: Any = None) -> None:
        """Add to the parameters' gradients, and stop at the first layer that has any.

        If a layer raises, those after it have added theirs already.
        """
        for k, layer in enumerate(self.layers):
            if dtype_of(layer) is not None:
                self._backward(grad, grad_state, k, need_grad_x=False)
                return

    def _backward(self, grad: Any, grad_state: Any, first: int, *, need_grad_x: bool) -> Any:
        """Go back from the last layer to `first`."""
        states = [None] * len(self.layers)
        if grad_state is not None:
            states = chain.check_states(grad_state, len(self.layers), "grad_state")
        shapes, valid = self._latest
        if valid is not None and np.shape(grad)[:2] == valid.shape[:2]:
            grad = np.where(valid, grad, np.zeros_like(grad, shape=()))
        k = 0
        try:
            for k in range(len(self.layers) - 1, first - 1, -1):
                layer = self.layers[k]
                backward = layer.backward
                if k == first and not need_grad_x:
                    backward = layer.backward_parameters
                grad = backward(grad) if states[k] is None else backward(grad, states[k])
                if k > first:
                    shape = shapes[k] if shapes else None
                    known = shape is not None and hasattr(grad, "shape")
                    if grad is None or (known and grad.shape != shape):
                        chain.refuse_gradient(layer, grad, shape)
        except Exception as error:
            if isinstance(error, ValueError) and "broadcast" in str(error):
                chain.explain_shapes(error, self.layers[k])
            chain.locate(error, k, self.layers[k])
            raise
        return grad

    def step(self, x_t: Any) -> Any:
        """Run one time step and carry the state to the next call, until `reset_state`.

        Parameters
        ----------
        x_t : array (batch, features), or tokens (batch,) where the first layer is an Embedding

        Returns
        -------
        array (batch, output)
            In evaluation mode, whatever the mode: nothing is kept for backward.
        """
        before = [(part, part.__dict__.copy()) for part in self._parts]
        layer = self.layers[0]
        try:
            for layer in self.layers:
                x_t = layer.step(x_t)
        except BaseException as error:
            put_back(before)
            if isinstance(error, Exception):
                chain.locate(error, self.layers.index(layer), layer)
            raise
        return x_t

    # ------------------------------------------------------------ looking in

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, position: int) -> Layer:
        return self.layers[position]

    def __repr__(self) -> str:
        inside = "\n".join(f"{layer!r}," for layer in self.layers).replace("\n", "\n    ")
        return f"Sequential([\n    {inside}\n])"


def flat(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield the layers of a chain, those of chains inside it in their place."""
    for layer in layers:
        if isinstance(layer, Sequential):
            yield from flat(layer.layers)
        else:
            yield layer
