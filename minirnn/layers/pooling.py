"""From a sequence to one vector: its last step, the mean or the largest of its steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.masks import without_padding
from minirnn.typing import Array, Mask


class Pooling(Layer):
    """Base of layers that make one vector of a sequence; `_so_far` is what `step` carries."""

    uses_mask = True
    keeps_time = False
    keeps_features = True
    _so_far: Any = None

    def reset_state(self) -> None:
        """Forget the steps so far."""
        self._so_far = None

    def _next(self, x_t: Any, before: Array | None) -> Array:
        """Return a step, checked; it is of the same sequences as what was kept of those before."""
        x_t = checks.step(self, x_t, None, None)
        if before is not None and before.shape != x_t.shape:
            raise ValueError(
                f"{type(self).__name__}: a step should be {before.shape} (batch, features) as "
                f"those before, got {x_t.shape}; call reset_state() before other sequences"
            )
        return x_t  # type: ignore[no-any-return]


class PickedStep(Pooling):
    """Base of layers that take each feature of a sequence from one of its steps.

    A subclass writes `_picked`; backward puts the gradient at those steps, zeros everywhere else.
    """

    def _picked(self, x: Array, mask: Mask | None) -> tuple[Any, ...]:
        """Return the index in x ``(batch, time, features)`` that gives ``(batch, features)``."""
        raise NotImplementedError

    def forward(self, x: Any, mask: Any = None) -> Array:
        """Return the steps picked ``(batch, features)`` of x ``(batch, time, features)``."""
        x, mask = valid_sequence(self, x, mask)
        index = self._picked(x, mask)
        y: Array = x[index]
        self._cache = x.shape, y.shape, y.dtype, index
        return y

    def step(self, x_t: Any) -> Array:
        """Return the step itself: of all so far, it is the last."""
        return checks.step(self, x_t, None, None)

    def backward(self, grad: Any) -> Array:
        """Return the gradient on x ``(batch, time, features)``: zero but at the steps picked."""
        shape, y_shape, dtype, index = self._saved()
        grad_x = np.zeros(shape, dtype)
        grad_x[index] = checks.check_shape(self, grad, y_shape, dtype, "the gradient")
        return grad_x


class LastStep(PickedStep):
    """The last step of each sequence, the last *valid* one under a mask.

    ``(batch, time, features) -> (batch, features)``. Backward puts the gradient at that step and
    zeros everywhere else. After this layer there is no time axis, so the mask ends here.

    Raises
    ------
    ValueError
        If a sequence has no valid step at all.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(6.0).reshape(1, 3, 2)
    >>> LastStep().forward(x)
    array([[4., 5.]])
    >>> LastStep().forward(x, mask=np.array([[True, True, False]]))
    array([[2., 3.]])
    """

    def _picked(self, x: Array, mask: Mask | None) -> tuple[Any, ...]:
        return np.arange(len(x)), last_valid(mask, x.shape[1])


class MeanOverTime(Pooling):
    """The mean of the steps of each sequence, of the *valid* ones under a mask.

    ``(batch, time, features) -> (batch, features)``, with ``T`` valid steps::

        y = 1/T sum_t x_t            grad_x_t = grad_y / T        in the padding: 0

    After this layer there is no time axis, so the mask ends here. `step` returns the mean of all
    steps since `reset_state`.

    Raises
    ------
    ValueError
        If a sequence has no valid step at all.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(6.0).reshape(1, 3, 2)
    >>> MeanOverTime().forward(x)
    array([[2., 3.]])
    >>> MeanOverTime().forward(x, mask=np.array([[True, True, False]]))
    array([[1., 2.]])
    """

    def forward(self, x: Any, mask: Any = None) -> Array:
        """Return the means ``(batch, features)`` of x ``(batch, time, features)``."""
        x, mask = valid_sequence(self, x, mask)
        shares = np.full(x.shape[:2], x.dtype.type(1 / x.shape[1]))
        if mask is not None:
            x = without_padding(x, mask)  # nan in the padding stays nan else
            shares = (mask / mask.sum(axis=1, keepdims=True)).astype(x.dtype)
        self._cache = shares
        y: Array = np.einsum("btf,bt->bf", x, shares)
        self._features = y.shape
        return y

    def step(self, x_t: Any) -> Array:
        """Return the mean of all steps so far."""
        total, count = self._so_far or (None, 0)
        x_t = self._next(x_t, total)
        total = x_t + (0 if total is None else total)
        self._so_far = total, count + 1
        y_t: Array = total / x_t.dtype.type(count + 1)
        return y_t

    def backward(self, grad: Any) -> Array:
        """Return the gradient on x ``(batch, time, features)``: a share for each valid step."""
        shares = self._saved()
        grad = checks.check_shape(self, grad, self._features, shares.dtype, "the gradient")
        grad_x: Array = shares[:, :, None] * grad[:, None, :]
        return grad_x


class MaxOverTime(PickedStep):
    """The largest value of each feature over the steps, over the *valid* ones under a mask.

    ``(batch, time, features) -> (batch, features)``: ``y_f = max_t x_tf``. Backward puts the
    gradient at the step that had the maximum, at the first of several, and zeros everywhere else.

    After this layer there is no time axis, so the mask ends here. `step` returns the maximum of all
    steps since `reset_state`.

    Raises
    ------
    ValueError
        If a sequence has no valid step at all.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[1.0, 6.0], [3.0, 2.0], [9.0, 9.0]]])
    >>> MaxOverTime().forward(x, mask=np.array([[True, True, False]]))
    array([[3., 6.]])
    """

    def _picked(self, x: Array, mask: Mask | None) -> tuple[Any, ...]:
        if mask is None:
            return one_step_a_feature(x.argmax(axis=1))
        steps = np.where(mask[..., None], x, x.dtype.type(-np.inf)).argmax(axis=1)
        valid = np.take_along_axis(mask, steps, axis=1)  # not so where nothing is above -inf
        return one_step_a_feature(np.where(valid, steps, mask.argmax(axis=1)[:, None]))

    def step(self, x_t: Any) -> Array:
        """Return the maximum of all steps so far."""
        x_t = self._next(x_t, self._so_far)
        y_t: Array = x_t.copy() if self._so_far is None else np.maximum(self._so_far, x_t)
        self._so_far = y_t
        return y_t.copy()


def one_step_a_feature(steps: Array) -> tuple[Array, Array, Array]:
    """Return the index of one step for each sequence and feature, given as (batch, features)."""
    batch, features = steps.shape
    return np.arange(batch)[:, None], steps, np.arange(features)


def last_valid(mask: Mask | None, time: int) -> Any:
    """Return the last valid step of each sequence: integers (batch,), or one for all."""
    return time - 1 if mask is None else time - 1 - mask[:, ::-1].argmax(axis=1)


def valid_sequence(layer: Layer, x: Any, mask: Any) -> tuple[Array, Mask | None]:
    """Return x and the mask, checked; each sequence has a valid step."""
    x, mask = checks.sequence(layer, x, None, None, mask)
    if mask is None:
        return x, None
    empty = np.flatnonzero(~mask.any(axis=1))
    if empty.size:
        raise ValueError(
            f"{type(layer).__name__}: sequence {empty[0]} of the batch has no valid step in the "
            f"mask, so there is nothing to make one vector of; leave such a sequence out"
        )
    return x, mask
