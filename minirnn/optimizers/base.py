"""Optimizer: from gradients to new values, over one flat vector of all parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from minirnn import checks
from minirnn.core import Layer, Parameter
from minirnn.kernels import one_blas_thread
from minirnn.reprs import as_call
from minirnn.typing import Array

__all__ = ["LearningRate", "Optimizer", "Slots"]

LearningRate: TypeAlias = float | Callable[[int], float]


class Slots(dict[str, Array]):
    """Vectors that an optimizer keeps from step to step, each zero at first.

    ``slots["momentum"]`` is a vector of the length of the values, made of zeros when it is first
    asked for. Change it in place.

    Attributes
    ----------
    scratch : array
        One more such vector to compute in, whose content is nobody's: with it an update needs no
        temporary arrays.
    """

    def __init__(self, like: Array) -> None:
        self._like = like
        self.scratch = np.empty_like(like)

    def __missing__(self, name: str) -> Array:
        self[name] = np.zeros_like(self._like)
        return self[name]


class _Buffer:
    """Parameters of one dtype as one flat vector, those with weight decay first."""

    def __init__(self, parameters: list[Parameter]) -> None:
        self.parameters = sorted(parameters, key=lambda parameter: not parameter.decay)
        size = sum(parameter.size for parameter in parameters)
        dtype = parameters[0].value.dtype
        self.values = np.empty(size, dtype)
        self.grads = np.empty(size, dtype)
        self.scratch = np.empty(size, dtype)
        self.decayed = sum(parameter.size for parameter in parameters if parameter.decay)
        self.slots = Slots(self.values)
        self.gather()

    def gather(self) -> None:
        """Make each parameter a view of this buffer, unless it is one already.

        It no longer is when another optimizer, or a copy of the model, has moved it.
        """
        start = 0
        for parameter in self.parameters:
            if parameter.value.base is not self.values:
                part = slice(start, start + parameter.size)
                parameter.move(
                    self.values[part].reshape(parameter.shape),
                    self.grads[part].reshape(parameter.shape),
                )
            start += parameter.size


class Optimizer:
    """Base of all optimizers: a subclass writes `update` and gets the rest.

    On construction, the parameters move into one contiguous vector of values and one of gradients;
    each `Parameter.value` and `.grad` is from then on a view into them. So whatever the number of
    layers, an update, the global norm and zeroing are one vectorised operation each. (Arrays that
    were taken out of a parameter *before* are no longer its storage. Parameters of different
    dtypes get a vector for each dtype.)

    A step, in this order::

        1.  g = grad
        2.  g = g * min(1, clip_norm / |g|)            |g| over all parameters together
            g = min(max(g, -clip_value), clip_value)   element by element
        3.  g = g + weight_decay * value               L2; AdamW shrinks the value instead
        4.  update(value, g, learning rate, slots)

    Biases (``decay=False``) take part in everything but 3. Gradients are left as they are.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``model.parameters()``. An object met twice is updated once.
    learning_rate : float, or a callable from the step number (0 at first) to a float
    weight_decay : float
    clip_norm : float, optional
        Bound on the Euclidean norm of the gradient over all parameters.
    clip_value : float, optional
        Bound on the size of each element of the gradient.

    Attributes
    ----------
    step_count : int
        Steps taken so far.
    grad_norm : float or None
        Global norm of the gradient before clipping at the latest step; None without `clip_norm`.

    Raises
    ------
    ValueError
        For an empty list, a learning rate that is not above 0, or a bound that is not above 0.
    TypeError
        If what is given is not parameters.
    FloatingPointError
        From `step`, if the gradient's norm is not finite while `clip_norm` is set. Nothing changes.

    Examples
    --------
    An optimizer of one's own, moving each number by a fixed amount:

    >>> import numpy as np
    >>> class SignSGD(Optimizer):
    ...     def update(self, value, grad, learning_rate, slots):
    ...         value -= learning_rate * np.sign(grad)
    >>> w = Parameter(np.array([1.0, 1.0]))
    >>> optimizer = SignSGD([w], learning_rate=0.1)
    >>> w.grad = [5.0, -0.01]
    >>> optimizer.step()
    >>> w.value
    array([0.9, 1.1])
    """

    decoupled_weight_decay = False
    """True in a subclass whose weight decay acts on the value, not through the gradient."""

    observer: Any = None
    """Is told before and after each step: see `minirnn.insight.observers`."""

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        found = self._parameters(parameters)
        self.learning_rate = learning_rate
        self.weight_decay = checks.positive_float(self, "weight_decay", weight_decay, zero=True)
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        for name, bound in [("clip_norm", clip_norm), ("clip_value", clip_value)]:
            if bound is not None:
                checks.positive_float(self, name, bound)
        self.step_count = 0
        self.grad_norm: float | None = None
        self.parameters = found
        by_dtype: dict[Any, list[Parameter]] = {}
        for parameter in found:
            by_dtype.setdefault(parameter.value.dtype, []).append(parameter)
        self._buffers = [_Buffer(group) for group in by_dtype.values()]

    def _parameters(self, given: Any) -> list[Parameter]:
        name = type(self).__name__
        if isinstance(given, Layer):
            raise TypeError(f"{name}: takes parameters, got a layer; write model.parameters()")
        if isinstance(given, Parameter) or not isinstance(given, Iterable):
            hint = "; write model.parameters(), with brackets" if callable(given) else ""
            raise TypeError(f"{name}: takes a list of parameters, got {type(given).__name__}{hint}")
        found: dict[int, Parameter] = {}
        for item in given:
            if not isinstance(item, Parameter):
                hint = ""
                if isinstance(item, tuple):
                    hint = "; parameters() has them without names"
                raise TypeError(f"{name}: takes Parameters, got a {type(item).__name__}{hint}")
            found[id(item)] = item
        if not found:
            raise ValueError(
                f"{name}: the list of parameters is empty, so there is nothing to learn"
            )
        return list(found.values())

    # ------------------------------------------------------------ what a subclass writes

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Change `value` in place.

        Parameters
        ----------
        value : array (n,)
            All parameters as one vector.
        grad : array (n,)
            The gradient, clipped and with L2 decay added; read-only.
        learning_rate : float
            That of this step.
        slots : mapping from names to arrays (n,)
            What is kept from step to step, zero at first.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update method")

    # ------------------------------------------------------------ a step

    @property
    def learning_rate(self) -> LearningRate:
        """A float, or a schedule: a callable from the step number."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: LearningRate) -> None:
        if isinstance(rate, type):
            raise TypeError(
                f"{type(self).__name__}: learning_rate is the class {rate.__name__}: write "
                f"{rate.__name__}(...)"
            )
        if hasattr(rate, "on_epoch_end"):
            raise TypeError(
                f"{type(self).__name__}: {type(rate).__name__} is a callback: it goes into "
                f"Trainer(..., callbacks=[...]), and learning_rate is a number"
            )
        if not callable(rate):
            rate = checks.positive_float(self, "learning_rate", rate)
        self._learning_rate = rate

    def current_learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        if not callable(self._learning_rate):
            return self._learning_rate
        return checks.positive_float(
            self, "the scheduled learning rate", self._learning_rate(self.step_count), zero=True
        )

    def step(self) -> None:
        """Update every parameter from its gradient."""
        if self.observer is not None:
            self.observer.before_step()
        learning_rate = self.current_learning_rate()
        for buffer in self._buffers:
            buffer.gather()
        with one_blas_thread:
            scale = self._norm_scale()
        for buffer in self._buffers:
            grad = self._effective_gradient(buffer, scale)
            if self.decoupled_weight_decay and self.weight_decay:
                buffer.values[: buffer.decayed] *= 1 - learning_rate * self.weight_decay
            self.update(buffer.values, grad, learning_rate, buffer.slots)
        self.step_count += 1
        if self.observer is not None:
            self.observer.after_step()

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for buffer in self._buffers:
            buffer.gather()
            buffer.grads.fill(0)

    def _norm_scale(self) -> float:
        """Return the factor that brings the global norm down to `clip_norm`."""
        if self.clip_norm is None:
            self.grad_norm = None
            return 1.0
        norm = math.sqrt(sum(_sum_of_squares(buffer.grads) for buffer in self._buffers))
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"{type(self).__name__}: the norm of the gradient is {norm}; no parameter was "
                f"changed. A smaller learning rate is the usual cure"
            )
        self.grad_norm = norm
        return min(1.0, self.clip_norm / norm) if norm > 0 else 1.0

    def _effective_gradient(self, buffer: _Buffer, scale: float) -> Array:
        """Return the gradient after clipping and L2 decay; `buffer.grads` stays as it is."""
        grad = buffer.grads
        if scale != 1.0:
            grad = np.multiply(grad, scale, out=buffer.scratch)
        if self.clip_value is not None:
            grad = np.clip(grad, -self.clip_value, self.clip_value, out=buffer.scratch)
        if self.weight_decay and not self.decoupled_weight_decay:
            if grad is buffer.grads:
                np.copyto(buffer.scratch, grad)
                grad = buffer.scratch
            decayed = slice(buffer.decayed)
            decay = buffer.slots.scratch[decayed]
            grad[decayed] += np.multiply(buffer.values[decayed], self.weight_decay, out=decay)
        view = grad[:]
        view.flags.writeable = False
        return view

    # ------------------------------------------------------------ saving

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all that the next step depends on, but for the parameters.

        ``{"optimizer": its class, "step": int, "learning_rate": float, or None for a schedule,
        "sizes": [[int]], "slots": [{name: array}]}``, with one entry of `sizes` and `slots` for
        each dtype.
        """
        rate = self._learning_rate
        return {
            "optimizer": type(self).__name__,
            "step": self.step_count,
            "learning_rate": None if callable(rate) else rate,
            "sizes": self._sizes(),
            "slots": [
                {name: vector.copy() for name, vector in buffer.slots.items()}
                for buffer in self._buffers
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; everything, or nothing if anything does not fit.

        A learning rate that is a schedule here stays one.
        """
        name = type(self).__name__
        if not isinstance(state, Mapping):
            raise TypeError(
                f"{name}: load_state_dict takes the dictionary that state_dict returned, got "
                f"{type(state).__name__}"
            )
        missing = {"optimizer", "step", "learning_rate", "sizes", "slots"} - set(state)
        if missing:
            raise ValueError(f"{name}: the state has no {', '.join(sorted(missing))}")
        if state["optimizer"] != name:
            raise ValueError(f"{name}: the state is that of {state['optimizer']}")
        sizes = [[int(size) for size in group] for group in state["sizes"]]
        if sizes != self._sizes():
            raise ValueError(
                f"{name}: the state belongs to parameters of sizes {sizes}, not {self._sizes()}"
            )
        if len(state["slots"]) != len(self._buffers):
            raise ValueError(
                f"{name}: the state has slots for {len(state['slots'])} dtypes, here there are "
                f"{len(self._buffers)}"
            )
        slots = []
        for buffer, given in zip(self._buffers, state["slots"], strict=True):
            new = Slots(buffer.values)
            for key, vector in given.items():
                shape, dtype = buffer.values.shape, buffer.values.dtype
                new[key] = np.array(checks.check_shape(self, vector, shape, dtype, f"slot {key}"))
            slots.append(new)
        step = int(state["step"])
        if step < 0:
            raise ValueError(f"{name}: the step should be at least 0, got {step}")
        if state["learning_rate"] is not None and not callable(self._learning_rate):
            self.learning_rate = float(state["learning_rate"])
        self.step_count = step
        for buffer, new in zip(self._buffers, slots, strict=True):
            buffer.slots = new

    def _sizes(self) -> list[list[int]]:
        return [[parameter.size for parameter in buffer.parameters] for buffer in self._buffers]

    __repr__ = as_call


def _sum_of_squares(vector: Array) -> float:
    with np.errstate(over="ignore"):
        total = float(np.dot(vector, vector))
    if not math.isfinite(total):  # too large for float32 is not yet too large
        wide = vector.astype(np.float64)
        total = float(np.dot(wide, wide))
    return total
