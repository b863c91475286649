"""A running average of the weights, for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.optimizers.buffer import as_parameters
from minirnn.settings import setting, settings
from minirnn.typing import Array


@settings()
class WeightAverage:
    """Average of the weights over the steps of training; it mostly generalizes better.

    After the ``k``-th update, with weights ``w_k``::

        average = (1 - a) * average + a * w_k

    with ``a = 1 / k``, so that all count the same (stochastic weight averaging), or, with a
    `decay`, ``a = 1 - decay`` after the first: an exponential moving average, which reaches back
    about ``1 / (1 - decay)`` steps.

    For training with `Trainer`, see `minirnn.callbacks.AverageWeights`.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``model.parameters()``.
    decay : float, optional
        In [0, 1), such as 0.999; None for a plain mean.

    Attributes
    ----------
    count : int
        How many updates have been averaged.

    References
    ----------
    Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992. Izmailov et
    al., Averaging weights leads to wider optima and better generalization, UAI 2018.

    Examples
    --------
    >>> from minirnn import Parameter
    >>> w = Parameter([0.0])
    >>> average = WeightAverage([w])
    >>> for number in [1.0, 2.0, 6.0]:       # after each optimizer.step()
    ...     w.value = [number]
    ...     average.update()
    >>> with average.applied():              # to evaluate, or to save the model
    ...     print(w.value)
    [3.]
    >>> w.value
    array([6.], dtype=float32)
    """

    parameters: Any
    decay: float | None = setting(checks.fraction, default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.parameters = as_parameters(self, self.parameters)
        self.count = 0
        self._averages: list[Array] = []

    def update(self) -> None:
        """Add the current weights to the average."""
        self.count += 1
        share = 1 / self.count if self.decay is None else 1 - self.decay
        if not self._averages:
            self._averages = [parameter.value.copy() for parameter in self.parameters]
            return
        for average, parameter in zip(self._averages, self.parameters, strict=True):
            average += share * (parameter.value - average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set the parameters to the average inside a ``with`` block."""
        before = [parameter.value.copy() for parameter in self.parameters]
        self.apply()
        try:
            yield
        finally:
            for parameter, value in zip(self.parameters, before, strict=True):
                parameter.value = value

    def apply(self) -> None:
        """Set the parameters to the average."""
        if not self._averages:
            raise RuntimeError(
                "WeightAverage: there is no average before the first update; call update() after "
                "each step of the optimizer"
            )
        for average, parameter in zip(self._averages, self.parameters, strict=True):
            parameter.value = average

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all that the average depends on, but for the parameters."""
        return {"count": self.count, "averages": [average.copy() for average in self._averages]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; everything, or nothing if anything does not fit."""
        count, given = int(state["count"]), list(state["averages"])
        if count < 0 or len(given) != (len(self.parameters) if count else 0):
            raise ValueError(
                f"WeightAverage: the state has {len(given)} averages after {count} updates, and "
                f"there are {len(self.parameters)} parameters"
            )
        averages = []
        for k, (average, parameter) in enumerate(zip(given, self.parameters, strict=False)):
            shape, dtype = parameter.shape, parameter.value.dtype
            average = checks.check_shape(self, average, shape, dtype, f"average {k}")
            averages.append(np.array(average))
        self.count, self._averages = count, averages
