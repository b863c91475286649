"""From a sequence to one vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.typing import Array

__all__ = ["LastStep"]


class LastStep(Layer):
    """The last step of each sequence, the last *real* one under a mask.

    ``(batch, time, features) -> (batch, features)``. Backward puts the gradient at that step and
    zeros everywhere else. After this layer there is no time axis, so the mask ends here.

    Raises
    ------
    ValueError
        If a sequence has no real step at all.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(6.0).reshape(1, 3, 2)
    >>> LastStep().forward(x)
    array([[4., 5.]])
    >>> LastStep().forward(x, mask=np.array([[True, True, False]]))
    array([[2., 3.]])
    """

    uses_mask = True
    keeps_time = False

    def forward(self, x: Any, mask: Any = None) -> Array:
        """Return the last step ``(batch, features)`` of x ``(batch, time, features)``."""
        x = checks.sequence(self, x, None, None)
        batch, time, _ = x.shape
        last = np.full(batch, time - 1)
        if mask is not None:
            mask = checks.as_mask(self, mask, (batch, time))
            empty = np.flatnonzero(~mask.any(axis=1))
            if empty.size:
                raise ValueError(
                    f"LastStep: sequence {empty[0]} of the batch has no real step in the mask, so "
                    f"it has no last one; leave such a sequence out"
                )
            last -= mask[:, ::-1].argmax(axis=1)
        self._cache = (x.shape, x.dtype, last)
        y: Array = x[np.arange(batch), last]
        return y

    def step(self, x_t: Any) -> Array:
        """Return the step itself: of all so far, it is the last."""
        return checks.step(self, x_t, None, None)

    def backward(self, grad: Any) -> Array:
        """Return the gradient on x ``(batch, time, features)``: zero but at the last steps."""
        (batch, time, features), dtype, last = self._saved()
        grad = checks.check_shape(self, grad, (batch, features), dtype, "the gradient")
        grad_x = np.zeros((batch, time, features), dtype)
        grad_x[np.arange(batch), last] = grad
        return grad_x
