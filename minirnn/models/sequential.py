"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.core import Layer, UnchangedOnError, dtype_of
from minirnn.kernels import one_blas_thread
from minirnn.layers.last_state import connect_last_states
from minirnn.reprs import html_text
from minirnn.typing import Array, Mask

__all__ = ["Sequential", "flat"]


class Sequential(Layer):
    """A chain of layers, itself a layer.

    ``y = layer_n(... layer_1(layer_0(x)))``; backward goes through them from last to first.

    Parameters
    ----------
    layers : iterable of Layer
        Models may nest; the same object may not stand in the chain twice.

    Notes
    -----
    A mask goes to every layer with ``uses_mask``, until a layer takes the time axis away. What
    stands in the padding of the input is replaced by zeros first, so it may be anything.

    An error inside a layer says which: "LSTM (layer 1 of the model): ...".

    Raises
    ------
    TypeError
        If something in the list is not a layer.
    ValueError
        If the list is empty or has the same layer twice.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import GRU, Dense, LastStep
    >>> model = Sequential([GRU(3, 8, rng=0), LastStep(), Dense(8, 2, rng=1)])
    >>> model.forward(np.ones((4, 7, 3))).shape
    (4, 2)
    >>> len(model), model[1]
    (3, LastStep())
    >>> model.summary()
    layer       output shape  parameters
    ------------------------------------
    0 GRU       (4, 7, 8)            296
    1 LastStep  (4, 8)                 0
    2 Dense     (4, 2)                18
    ------------------------------------
    total                            314
    """

    uses_mask = True

    def __init__(self, layers: Iterable[Layer], *others: Layer) -> None:
        if others or isinstance(layers, Layer) or not isinstance(layers, Iterable):
            raise TypeError(
                f"Sequential: takes a list of layers, got {type(layers).__name__}; "
                f"write Sequential([...])"
            )
        self.layers = list(layers)
        self._output_shapes: list[tuple[int, ...]] | None = None
        if not self.layers:
            raise ValueError("Sequential: the list of layers is empty")
        self._parts: list[Layer] = []  # all layers, those inside others too
        seen: dict[int, int] = {}
        for k, layer in enumerate(self.layers):
            checks.instance(self, f"layer {k}", layer, Layer)
            if isinstance(layer, Cell):
                raise TypeError(
                    f"Sequential: layer {k} is a {type(layer).__name__}, one time step; to run it "
                    f"over time, write Recurrent({type(layer).__name__}(...))"
                )
            for _, part in layer.named_layers():
                if id(part) in seen:
                    raise ValueError(
                        f"Sequential: layers {seen[id(part)]} and {k} hold the same "
                        f"{type(part).__name__} object: its backward belongs to one forward, so "
                        f"each place needs an object of its own; to share weights, let two layers "
                        f"share the Parameter"
                    )
                seen[id(part)] = k
                self._parts.append(part)
        connect_last_states(flat(self.layers))

    @property
    def keeps_time(self) -> bool:  # type: ignore[override]
        """Whether the output of the model still has the time axis of its input."""
        return all(layer.keeps_time for layer in self.layers)

    # ------------------------------------------------------------ running

    def forward(self, x: Any, mask: Any = None) -> Array:
        """Return the output of the last layer.

        Parameters
        ----------
        x : array (batch, time, features), or whatever the first layer takes
        mask : boolean array (batch, time), optional
        """
        if mask is not None:
            x, mask = self._without_padding(x, mask)
        shapes = []
        with one_blas_thread(), UnchangedOnError(self._parts):
            for k, layer in enumerate(self.layers):
                if mask is not None and layer.uses_mask:
                    x = self._run(k, layer.forward, x, mask)
                else:
                    x = self._run(k, layer.forward, x)
                shapes.append(np.shape(x))
                mask = self._mask_after(k, x, mask)
        self._output_shapes = shapes
        return x  # type: ignore[no-any-return]

    def backward(self, grad: Any) -> Any:
        """Return the gradient on the input, from that on the output."""
        with one_blas_thread():
            for k in reversed(range(len(self.layers))):
                grad = self._run(k, self.layers[k].backward, grad)
        return grad

    def backward_parameters(self, grad: Any) -> None:
        """Add to the parameters' gradients, and stop at the first layer that has any."""
        first = next((k for k, layer in enumerate(self.layers) if dtype_of(layer)), None)
        if first is None:
            return
        with one_blas_thread():
            for k in reversed(range(first + 1, len(self.layers))):
                grad = self._run(k, self.layers[k].backward, grad)
            self._run(first, self.layers[first].backward_parameters, grad)

    def predict(self, x: Any, mask: Any = None) -> Array:
        """Return the output in evaluation mode, and restore each layer's mode after."""
        modes = [(layer, layer.training) for _, layer in self.named_layers()]
        self.eval()
        try:
            return self.forward(x, mask)
        finally:
            for layer, training in modes:
                layer.training = training

    def step(self, x_t: Any) -> Array:
        """Run one time step and carry the state to the next call, until `reset_state`.

        Parameters
        ----------
        x_t : array (batch, features), or tokens (batch,) where the first layer is an Embedding

        Returns
        -------
        array (batch, output)
            In evaluation mode, whatever the mode: nothing is kept for backward.
        """
        with one_blas_thread(), UnchangedOnError(self._parts):
            for k, layer in enumerate(self.layers):
                x_t = self._run(k, layer.step, x_t)
        return x_t  # type: ignore[no-any-return]

    def _run(self, k: int, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except Exception as error:
            self._locate(error, k)
            raise

    def _locate(self, error: Exception, k: int) -> None:
        """Put the position of the layer into the error's message."""
        if not (error.args and isinstance(error.args[0], str)):
            error.add_note(f"in layer {k} of the model ({type(self.layers[k]).__name__})")
            return
        message, name = error.args[0], type(self.layers[k]).__name__
        if "of the model)" in message:  # from a model inside this one
            message = message.replace("of the model)", f"of layer {k} of the model)", 1)
        elif message.startswith(f"{name}:"):
            message = f"{name} (layer {k} of the model){message[len(name) :]}"
        else:
            message = f"{name} (layer {k} of the model): {message}"
        error.args = (message, *error.args[1:])

    # ------------------------------------------------------------ masks

    def _without_padding(self, x: Any, mask: Any) -> tuple[Array, Mask]:
        x = np.asarray(x)
        if x.ndim < 2:
            raise ValueError(
                f"Sequential: with a mask, the input should have the axes batch and time, got "
                f"shape {x.shape}"
            )
        mask = checks.as_mask(self, mask, x.shape[:2])
        return np.where(mask.reshape(mask.shape + (1,) * (x.ndim - 2)), x, x.dtype.type(0)), mask

    def _mask_after(self, k: int, y: Array, mask: Mask | None) -> Mask | None:
        if mask is None or not self.layers[k].keeps_time or np.ndim(y) < 3:
            return None
        if y.shape[:2] != mask.shape:
            raise ValueError(
                f"{type(self.layers[k]).__name__} (layer {k} of the model): its output {y.shape} "
                f"no longer has the (batch, time) = {mask.shape} of the mask; a layer that takes "
                f"the time axis away says so with keeps_time = False"
            )
        return mask

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

    def summary(self) -> Table:
        """Return a table of the layers: output shape of the latest forward, parameters.

        Before the first forward, sizes that no layer has seen yet stand as words.
        """
        shapes: list[tuple[Any, ...]] = list(self._output_shapes or _expected_shapes(self.layers))
        rows = [("layer", "output shape", "parameters")]
        for k, (layer, shape) in enumerate(zip(self.layers, shapes, strict=True)):
            text = f"({', '.join(map(str, shape))})" if shape else "?"
            rows.append((f"{k} {type(layer).__name__}", text, f"{layer.parameter_count:,}"))
        rows.append(("total", "", f"{self.parameter_count:,}"))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows
        ]
        rule = "-" * (sum(widths) + 4)
        return Table("\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]]))


def flat(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield the layers of a chain, those of chains inside it in their place."""
    for layer in layers:
        if isinstance(layer, Sequential):
            yield from flat(layer.layers)
        else:
            yield layer


class Table(str):
    """Text that an interactive session shows with its line breaks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_text(self)


def _expected_shapes(layers: list[Layer]) -> list[tuple[Any, ...]]:
    """Return the output shapes as far as they are known without running anything."""
    shapes: list[tuple[Any, ...]] = []
    shape: tuple[Any, ...] = ()
    for layer in layers:
        size = getattr(layer, "output_size", None)
        if isinstance(layer, Sequential):
            shape = _expected_shapes(layer.layers)[-1]
        elif size is not None:
            leading = ("batch", "time") if layer.uses_mask else shape[:-1] or ("...",)
            shape = (*leading, size)
        elif not layer.keeps_time and shape:
            shape = ("batch", shape[-1])
        shapes.append(shape)
    return shapes
