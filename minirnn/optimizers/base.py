"""Optimizer: from gradients to new values, over one flat vector of all parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any, ClassVar, TypeAlias

import numpy as np

from minirnn import checks
from minirnn.engine import current
from minirnn.kernels import one_blas_thread
from minirnn.keywords import KeywordHints
from minirnn.optimizers.buffer import Buffer, Slots, grouped, update_and_check
from minirnn.optimizers.saved import Saved
from minirnn.settings import setting, settings
from minirnn.typing import Array

LearningRate: TypeAlias = float | Callable[[int], float]


def _learning_rate(owner: Any, name: str, rate: Any) -> LearningRate:
    """Return a learning rate, checked."""
    kind = type(owner).__name__
    if isinstance(rate, type):
        raise TypeError(
            f"{kind}: learning_rate is the class {rate.__name__}: write {rate.__name__}(...)"
        )
    if hasattr(rate, "on_epoch_end"):
        raise TypeError(
            f"{kind}: {type(rate).__name__} is a callback: it goes into Trainer(..., "
            f"callbacks=[...]), and learning_rate is a number"
        )
    checked: LearningRate = rate if callable(rate) else checks.positive_float(owner, name, rate)
    return checked


@settings()
class Optimizer(Saved, KeywordHints):
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
        ``model.parameters()``. An object met twice is updated once. A `ParameterGroup` among them
        has a learning rate or a weight decay of its own.
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
        Global norm of the gradient before clipping at the latest step; None before any.

    Raises
    ------
    ValueError
        For an empty list, a learning rate that is not above 0, or a bound that is not above 0.
    TypeError
        If what is given is not parameters.
    FloatingPointError
        From `step`, if the gradient is not finite, or its norm while `clip_norm` is set. Nothing
        changes.
    RuntimeError
        From the first `step` with a gradient, if `update` changed nothing: it has to change its
        argument in place.

    Examples
    --------
    An optimizer of one's own, moving each number by a fixed amount:

    >>> import numpy as np
    >>> from minirnn import Parameter
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

    parameters: Any
    learning_rate: LearningRate = setting(_learning_rate)
    _: KW_ONLY
    weight_decay: float = setting(checks.positive_float, zero=True, default=0.0)
    clip_norm: float | None = setting(checks.positive_float, default=None)
    clip_value: float | None = setting(checks.positive_float, default=None)

    decoupled_weight_decay = False
    """True in a subclass whose weight decay acts on the value, not through the gradient."""

    observer: ClassVar[Any] = None
    """Is told before and after each step: see `minirnn.insight.observers`."""

    def __post_init__(self) -> None:
        self.parameters, self._buffers = grouped(self, self.parameters)
        self.step_count = 0
        self.grad_norm: float | None = None
        self._seen_to_work = False

    def __getattr__(self, name: str) -> Any:
        if name in ("parameters", "learning_rate", "_buffers"):
            raise AttributeError(
                f"{type(self).__name__}: {name} is not there yet; does __init__ call "
                f"super().__init__(parameters, learning_rate)?"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ------------------------------------------------------------ what a subclass writes

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Change `value` in place, as in ``value -= ...``; return nothing.

        With groups, or parameters of different dtypes, it is called once for each kind.

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

    def current_learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        rate = self.learning_rate
        if not callable(rate):
            return rate
        name = "the scheduled learning rate"
        return checks.positive_float(self, name, rate(self.step_count), zero=True)

    def step(self) -> None:
        """Update every parameter from its gradient."""
        if self.observer is not None:
            self.observer.before_step()
        learning_rate = self.current_learning_rate()
        scale = self._norm_scale()
        for buffer in self._buffers:
            decay = self.weight_decay if buffer.weight_decay is None else buffer.weight_decay
            grad = self._effective_gradient(buffer, scale, decay)
            rate = learning_rate * buffer.rate_factor
            if self.decoupled_weight_decay and decay:
                buffer.values[: buffer.decayed] *= 1 - rate * decay
            if not rate and buffer.rate_factor == 0:
                continue
            if self._seen_to_work:
                self.update(buffer.values, grad, rate, buffer.slots)
            else:
                self._seen_to_work = update_and_check(self, buffer, grad, rate)
        self.step_count += 1
        if self.observer is not None:
            self.observer.after_step()

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for grads in self.gradient_vectors():
            grads.fill(0)

    def gradient_vectors(self) -> list[Array]:
        """Return the gradients of all parameters: a vector for each group and dtype, the storage.

        For data-parallel training, which adds them up over several processes.
        """
        vectors = []
        for buffer in self._buffers:
            buffer.gather()
            vectors.append(buffer.grads)
        return vectors

    def gradients_are_finite(self) -> bool:
        """Return whether every number in the gradients is finite."""
        for grads in self.gradient_vectors():
            if not math.isfinite(_sum_of_squares(grads)) and not np.isfinite(grads).all():
                return False
        return True

    def _norm_scale(self) -> float:
        """Return the factor that brings the global norm down to `clip_norm`."""
        norm = math.sqrt(sum(map(_sum_of_squares, self.gradient_vectors())))
        overflow = self.clip_norm is None and norm == math.inf
        if not math.isfinite(norm) and not (overflow and self.gradients_are_finite()):
            raise FloatingPointError(
                f"{type(self).__name__}: the norm of the gradient is {norm}; no parameter was "
                f"changed. A smaller learning rate is the usual cure"
            )
        self.grad_norm = norm
        return 1.0 if self.clip_norm is None or norm <= self.clip_norm else self.clip_norm / norm

    def _effective_gradient(self, buffer: Buffer, scale: float, weight_decay: float) -> Array:
        """Return the gradient after clipping and L2 decay; `buffer.grads` stays as it is."""
        grad = buffer.grads
        if scale != 1.0:
            grad = np.multiply(grad, scale, out=buffer.scratch)
        if self.clip_value is not None:
            grad = np.clip(grad, -self.clip_value, self.clip_value, out=buffer.scratch)
        if weight_decay and not self.decoupled_weight_decay:
            if grad is buffer.grads:
                np.copyto(buffer.scratch, grad)
                grad = buffer.scratch
            decayed = slice(buffer.decayed)
            decay = buffer.slots.scratch[decayed]
            grad[decayed] += np.multiply(buffer.values[decayed], weight_decay, out=decay)
        view = grad[:]
        view.flags.writeable = False
        return view


def _sum_of_squares(vector: Array) -> float:
    squares = None if current.native is None else current.native.squares(vector, current.threads)
    if squares is not None:
        return squares  # type: ignore[no-any-return]
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
        total = float(np.dot(vector, vector))
        if not math.isfinite(total):  # too large for float32 is not yet too large
            wide = vector.astype(np.float64)
            total = float(np.dot(wide, wide))
    return total
