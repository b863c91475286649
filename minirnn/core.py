"""Parameter and Layer: the contract that everything in minirnn keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from minirnn import checks, masks
from minirnn.keywords import KeywordHints
from minirnn.reprs import html_text
from minirnn.restoring import evaluation_copy
from minirnn.summary import Table, summary_of
from minirnn.typing import Array

_Member = TypeVar("_Member", "Parameter", "Layer")
_KEPT = {"_cache", "_parts"}  # attributes with layers that are found elsewhere, or are no more
_NUMBERS = {np.ndarray, list, int, float, np.float32, np.float64}


class Parameter:
    """An array that is learned, and the gradient of the loss with respect to it.

    Parameters
    ----------
    value : array of any shape
        Copied. float32 and float64 arrays keep their dtype; lists, numbers and integer arrays
        become float32.
    decay : bool
        False for what an optimizer's weight decay should skip, as biases usually are.

    Notes
    -----
    `value` and `grad` always have the same shape and dtype. Assigning to either copies *into* the
    existing storage, which may be a view of the one flat vector that an optimizer works on.

    Raises
    ------
    TypeError
        If the value does not hold real numbers.
    ValueError
        If an assigned array has another shape: nothing is broadcast.

    Examples
    --------
    >>> W = Parameter([[1.0, 2.0]])
    >>> W.shape, W.size, W.value.dtype
    ((1, 2), 2, dtype('float32'))
    >>> W.grad += 3
    >>> W.grad
    array([[3., 3.]], dtype=float32)
    >>> W.zero_grad()
    >>> W.grad
    array([[0., 0.]], dtype=float32)
    """

    __slots__ = ("_grad", "_value", "decay")

    def __init__(self, value: Any, *, decay: bool = True) -> None:
        dtype = None if isinstance(value, np.ndarray | np.generic) else np.float32
        array = checks.as_floats(self, value, dtype, "the value")
        self._value: Array = np.array(array, order="C")
        self._grad: Array = np.zeros_like(self._value)
        self.decay = checks.flag(self, "decay", decay)

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        for name, value in state[1].items():
            setattr(self, name, writeable(value) if name != "decay" else value)

    def _set_value(self, new: Any) -> None:
        if new is not self._value:
            self._copy_into(self._value, new, "the value")

    def _set_grad(self, new: Any) -> None:
        if new is not self._grad:  # `p.grad += x` has already written where it belongs
            self._copy_into(self._grad, new, "the gradient")

    # Read very often: an attrgetter takes a quarter of the time of a method written out.
    value = property(attrgetter("_value"), _set_value, doc="The array; assigning copies into it.")
    grad = property(attrgetter("_grad"), _set_grad, doc="The gradient; assigning copies into it.")
    shape = property(attrgetter("_value.shape"), doc="Shape of the value and of the gradient.")
    size = property(attrgetter("_value.size"), doc="Number of elements.")
    dtype = property(attrgetter("_value.dtype"), doc="float32 or float64, of value and gradient.")

    def _copy_into(self, storage: Array, new: Any, what: str) -> None:
        storage[...] = checks.check_shape(self, new, self.shape, storage.dtype, what)

    def move(self, value: Array, grad: Array) -> None:
        """Take new storage for value and gradient, keeping the numbers in both.

        For optimizers: this is how every parameter becomes a view of one flat vector.
        """
        value[...] = self._value
        grad[...] = self._grad
        self._value, self._grad = value, grad

    def zero_grad(self) -> None:
        """Set the gradient to zero."""
        self._grad.fill(0)

    def __array__(self, *args: Any, **keywords: Any) -> Any:
        """Refuse to be an array: ``x @ layer.W`` should be ``x @ layer.W.value``."""
        raise TypeError(
            f"Parameter of shape {self.shape}: not an array itself; write .value for its numbers, "
            f".grad for its gradient"
        )

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self._value.dtype}, decay={self.decay})"


def writeable(array: Array) -> Array:
    """Return the array, or a copy of one that is read-only: joblib hands on maps of a file."""
    return array if array.flags.writeable else np.array(array)


masks.LEAVES.add(Parameter)


class Layer(KeywordHints):
    """Anything with a forward and a backward method, and parameters between them.

    A layer of your own sets `Parameter` objects as plain attributes and writes two methods::

        y = layer.forward(x)
        grad_x = layer.backward(grad_y)

    The contract that ``backward`` relies on and keeps:

    - it belongs to the **latest** ``forward``, and uses what that call stored on ``self``;
    - `grad_y` is the gradient of the loss with respect to ``y``, in ``y``'s shape; the result is
      that with respect to ``x``, in ``x``'s shape;
    - it **adds** to each ``Parameter.grad``; only `zero_grad` clears;
    - it changes neither `grad_y` nor anything that ``forward`` was given or returned.

    No ``super().__init__()`` is needed. Parameters, sublayers, and lists, tuples or dictionaries of
    either are found by looking through the attributes in the order in which they were set.

    Attributes
    ----------
    training : bool
        True at first; `train` and `eval` set it, here and in all sublayers. Dropout reads it.
    uses_mask : bool
        Set it to True in a layer whose method is ``forward(x, mask=None)``.
    uses_state : bool
        Set it to True in a layer whose method is ``forward(x, mask=None, state=None)``, whose
        `state` is the final one after it and whose `grad_state` the gradient on the initial one
        after ``backward(grad, grad_state=None)``.
    keeps_time : bool
        Set it to False in a layer that takes ``(batch, time, features)`` and returns no time axis:
        the mask ends there, and reaches neither later layers nor the loss.
    keeps_features : bool
        Set it to True in a layer whose output has as many features as its input.

    Examples
    --------
    >>> import numpy as np
    >>> class Scale(Layer):
    ...     def __init__(self, size):
    ...         self.w = Parameter(np.ones(size))
    ...
    ...     def forward(self, x):
    ...         self.x = x
    ...         return x * self.w.value
    ...
    ...     def backward(self, grad):
    ...         self.w.grad += (grad * self.x).sum(axis=0)
    ...         return grad * self.w.value
    >>> layer = Scale(2)
    >>> layer.forward(np.array([[3.0, 4.0]]))
    array([[3., 4.]])
    >>> layer.backward(np.array([[1.0, 10.0]]))
    array([[ 1., 10.]])
    >>> dict(layer.named_parameters())["w"].grad
    array([ 3., 40.])
    """

    training: bool = True
    uses_mask: bool = False
    uses_state: bool = False
    state: Any  # only where there is one
    grad_state: Any
    keeps_time: bool = True
    keeps_features: bool = False
    _cache: Any = None

    # ------------------------------------------------------------ what a subclass writes

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output ``y`` for the input ``x``, and keep what `backward` will need."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what `forward` returns: ``layer(x)`` is ``layer.forward(x)``."""
        return self.forward(*args, **kwargs)

    def backward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the gradient on ``x`` from that on ``y``; add to each parameter's gradient."""
        raise NotImplementedError(f"{type(self).__name__} has no backward method")

    def backward_parameters(self, grad: Any, grad_state: Any = None) -> None:
        """Do what `backward` does, where the gradient on the input is not needed.

        A training loop calls this on the whole model. A layer that can save the work takes
        ``backward(grad, *, need_grad_x=True)``.
        """
        given = (grad,) if grad_state is None else (grad, grad_state)
        if "need_grad_x" in (getattr(self.backward, "__kwdefaults__", None) or ()):
            self.backward(*given, need_grad_x=False)
        else:
            self.backward(*given)

    def output_mask(self, mask: Any) -> Any:
        """Return the mask of the output, for that of the input; None where no time axis is left.

        A layer with several inputs is given a tuple or a dictionary of masks, and overrides this.
        """
        if isinstance(mask, tuple | dict) and self.keeps_time:
            raise TypeError(
                f"{type(self).__name__}: has several masks, one for each input, and does not say "
                f"which is that of its output; write output_mask(self, mask), or give a Trainer "
                f"the target_mask"
            )
        return mask if self.keeps_time else None

    # ------------------------------------------------------------ running

    def predict(self, x: Any, mask: Any = None) -> Any:
        """Return the output in evaluation mode; nothing is kept and nothing changes.

        A carried state is neither read nor moved, and a `backward` to come still belongs to the
        latest `forward`. Several threads may predict with one layer.

        Parameters
        ----------
        x : whatever `forward` takes
        mask : boolean array (batch, time), optional
        """
        return masks.apply(self.evaluation_copy(), x, mask)

    def evaluation_copy(self) -> Self:
        """Return this layer once more, in evaluation mode and without carried states.

        The copy shares the parameters; whatever it keeps is its own. So it may run without
        disturbing this layer, which another thread may be training.
        """
        copied: Self = evaluation_copy(self, Layer, {})
        copied.reset_state()
        return copied

    def step(self, x_t: Any) -> Any:
        """Return the output for one time step ``(batch, features)`` of a stream.

        It runs in evaluation mode, and nothing is kept for `backward`. A layer without state just
        applies itself to the step; recurrent layers override this and carry their state to the next
        call.
        """
        for name, layer in self.named_layers():
            if name and layer.uses_mask:
                raise NotImplementedError(
                    f"{type(self).__name__}: cannot be run step by step: it holds {name}, a "
                    f"{type(layer).__name__} that reads whole sequences, and has no step of its "
                    f"own; write step(self, x_t) with the step of each layer inside"
                )
        return self.evaluation_copy().forward(x_t)

    def reset_state(self) -> None:
        """Forget the state carried between calls, here and in all sublayers."""
        for _, layer in self._members(Layer, "", set()):
            if type(layer).reset_state is not Layer.reset_state:
                layer.reset_state()

    def summary(self, x: Any = None, mask: Any = None) -> Table:
        """Return a table of the layers inside: output shapes, parameters, and what runs cells.

        A parameter used in several places is counted once; the other places say ``tied``.

        Parameters
        ----------
        x : whatever `forward` takes, optional
            Shapes are those of a prediction for it. Without, those of the latest `forward`, as far
            as a `Sequential` has kept them, and names of axes in place of unknown sizes.
        mask : boolean array (batch, time), optional
        """
        return summary_of(self, x, mask)

    _saved = checks.saved

    # ------------------------------------------------------------ parameters

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield ``(dotted name, Parameter)`` in declaration order, each object once."""
        yield from self._members(Parameter, "", set())

    def named_layers(self) -> Iterator[tuple[str, Layer]]:
        """Yield ``(dotted name, Layer)`` for this layer, named ``""``, and all below it."""
        yield "", self
        yield from self._members(Layer, "", {id(self)})

    def _members(
        self, kind: type[_Member], prefix: str, seen: set[int]
    ) -> Iterator[tuple[str, _Member]]:
        seen.add(id(self))
        for name, value in vars(self).items():
            if name not in _KEPT:
                yield from _find(kind, value, f"{prefix}{name}", seen)

    def parameters(self) -> list[Parameter]:
        """Return all parameters, sublayers' included, each object once."""
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def parameter_count(self) -> int:
        """Number of learned numbers; a parameter used in two places counts once."""
        return sum(parameter.size for parameter in self.parameters())

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to zero."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def state_dict(self) -> dict[str, Array]:
        """Return a copy of every parameter's value under its dotted name."""
        return {name: parameter.value.copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy values into the parameters; all of them, or none if anything does not fit.

        Parameters
        ----------
        state : mapping from dotted names to arrays
            As `state_dict` returns it.

        Raises
        ------
        ValueError
            That lists every missing name, unexpected name and misshapen array.
        """
        own = dict(self.named_parameters())
        for name, array in checks.weights(self, state, own).items():
            own[name].value = array

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the parameters to a safetensors file, under their dotted names.

        The file is complete or absent: an old one is replaced only when the new one is on disk.
        Other frameworks read it too.
        """
        from minirnn.files.safetensors import WEIGHTS, write_safetensors

        write_safetensors(path, self.state_dict(), {"format": WEIGHTS})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Read the parameters from a safetensors file: all of them, or none if any does not fit.

        Raises
        ------
        CheckpointError
            If the file is truncated, corrupted, something else, or has other numbers than float32
            and float64.
        ValueError
            That lists every missing name, unexpected name and misshapen array.
        """
        from minirnn.files.safetensors import read_safetensors

        self.load_state_dict(read_safetensors(path)[0])

    # ------------------------------------------------------------ modes

    def train(self) -> Self:
        """Switch to training mode, sublayers included; returns the layer."""
        return self._set_training(True)

    def eval(self) -> Self:
        """Switch to evaluation mode, sublayers included; returns the layer."""
        return self._set_training(False)

    def _set_training(self, training: bool) -> Self:
        for _, layer in self.named_layers():
            layer.training = training
        return self

    if not TYPE_CHECKING:  # a checker of types would take any attribute for a known one

        def __setattr__(self, name: str, value: Any) -> None:
            """Set an attribute; a parameter is not replaced by an array in silence."""
            if type(value) in _NUMBERS and isinstance(vars(self).get(name), Parameter):
                raise TypeError(
                    f"{type(self).__name__}: {name} is a Parameter; to give it other numbers write "
                    f".{name}.value = ..., for another Parameter .{name} = Parameter(...)"
                )
            object.__setattr__(self, name, value)

    def _repr_html_(self) -> str:
        return html_text(f"{self!r}\n{self.parameter_count:,} parameters")


def _find(
    kind: type[_Member], value: object, name: str, seen: set[int]
) -> Iterator[tuple[str, _Member]]:
    """Yield what `value` holds of `kind`, looking through layers, lists, tuples and dicts."""
    if isinstance(value, Parameter | Layer):
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, kind):
            yield name, value
        if isinstance(value, Layer):
            yield from value._members(kind, f"{name}.", seen)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _find(kind, item, f"{name}.{position}", seen)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _find(kind, item, f"{name}.{key}", seen)


def dtype_of(layer: Layer) -> np.dtype[Any] | None:
    """Return the dtype of a layer's first parameter; None where it has none."""
    for value in vars(layer).values():  # mostly it is near: no need to walk about
        for one in vars(value).values() if isinstance(value, Layer) else (value,):
            if isinstance(one, Parameter):
                return one.dtype  # type: ignore[no-any-return]
    for _, parameter in layer.named_parameters():
        return parameter.dtype  # type: ignore[no-any-return]
    return None
