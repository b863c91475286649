"""Which learning rate? A short run in which it grows, and the loss over it."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn import checks
from minirnn.errors import NotFiniteError
from minirnn.plots import axes_for, finish
from minirnn.settings import settings
from minirnn.training.inputs import Batch, as_batch, as_batches
from minirnn.training.inspection import inspect_fit
from minirnn.typing import Array

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer

_SMOOTHING = 0.9
_SETTLED = 10  # steps until the average is one of about as many batches as later on
_DIVERGED = 4.0  # times the smallest smoothed loss


@settings(frozen=True)
class LearningRateCurve:
    """What `find_learning_rate` returns."""

    rates: Array
    """The learning rate of each step, ``(steps,)``."""
    losses: Array
    """The loss of each step's batch, before its update, ``(steps,)``."""
    smoothed: Array
    """Their exponential moving average, without bias, ``(steps,)``."""
    suggestion: float
    """Where the smoothed loss falls most steeply over the logarithm of the rate."""

    def plot(self, path: str | os.PathLike[str] | None = None, *, ax: Any = None) -> Any:
        """Draw the loss over the learning rate, and the suggestion; all else as `History.plot`."""
        all_axes = axes_for(["loss"], ax, size=(6.4, 3.6))
        (axes,) = all_axes
        axes.plot(self.rates, self.losses, ".", color="0.7", label="batches")
        axes.plot(self.rates, self.smoothed, label="smoothed")
        axes.axvline(self.suggestion, linestyle="--", color="0.3", label=f"{self.suggestion:.1e}")
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        low, high = self.smoothed.min(), self.smoothed[: len(self.rates) // 2].max()
        room = 0.2 * (high - low) or 0.5
        axes.set_ylim(low - room, high + 2 * room)
        axes.legend()
        axes.grid(alpha=0.3)
        return finish(all_axes, ax, path)


def find_learning_rate(
    trainer: Trainer,
    inputs: Any,
    targets: Any = None,
    *,
    mask: Any = None,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    batch_size: int = 32,
) -> LearningRateCurve:
    """Train a copy for some steps while the learning rate grows, and look at the loss.

    The rate of step ``k`` is ``lowest * (highest / lowest) ** (k / (steps - 1))``. It ends early
    when the smoothed loss is four times its smallest value, or no longer finite. The trainer stays
    as it is. A good rate for a schedule's peak is where the loss falls steeply, well before it
    rises: the curve's `suggestion`, or a tenth of the rate at the minimum.

    Parameters
    ----------
    trainer : Trainer
        With the model, the loss and the optimizer; its learning rate does not matter.
    inputs, targets, mask
        Arrays, or batches in place of `inputs`, as `Trainer.fit` takes them. They are repeated if
        there are fewer batches than steps.
    lowest, highest : float
    steps : int
        At least 3.
    batch_size : int
        Examples a batch, for arrays.

    Raises
    ------
    ValueError
        If `highest` is not above `lowest`, if the loss is not finite, or explodes, within the
        first two steps, or for what `Trainer.fit` refuses.

    References
    ----------
    Smith, Cyclical learning rates for training neural networks, WACV 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import Adam, Dense, MeanSquaredError, Trainer
    >>> x = np.random.default_rng(0).standard_normal((64, 3))
    >>> model = Dense(3, 1, rng=0)
    >>> trainer = Trainer(model, MeanSquaredError(), Adam(model.parameters(), 1e-3), rng=0)
    >>> curve = find_learning_rate(trainer, x, x.sum(axis=1, keepdims=True))
    >>> 1e-3 < curve.suggestion < 1
    True
    """
    owner = "find_learning_rate"
    steps = checks.positive_int(owner, "steps", steps)
    lowest = checks.positive_float(owner, "lowest", lowest)
    highest = checks.positive_float(owner, "highest", highest)
    if highest <= lowest or steps < 3:
        raise ValueError(
            f"{owner}: there should be at least 3 steps from lowest up to highest, got {steps} "
            f"from {lowest:g} to {highest:g}"
        )
    twin = copy.deepcopy(trainer)
    twin.callbacks = []
    data = Batch(inputs, targets, mask)
    size = None if targets is None else batch_size
    with checks.located(owner):
        batches = as_batches(data, None, batch_size=size, shuffle=True, rng=twin.rng)
        inspect_fit(twin, batches, None, steps)
    if targets is None:
        batches = copy.deepcopy(batches)

    def batches_of_all_epochs() -> Iterator[Any]:
        for _ in range(steps):
            twin.model.reset_state()
            yield from batches

    rates = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    for k, batch in enumerate(islice(batches_of_all_epochs(), steps)):
        twin.optimizer.learning_rate = float(rates[k])
        *first, target_mask, weight = as_batch(batch)
        try:
            loss = twin.train_step(*first, target_mask=target_mask, sample_weight=weight)
        except NotFiniteError:
            break
        losses.append(loss)
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smoothed.append(mean / (1 - _SMOOTHING ** (k + 1)))
        if not smoothed[-1] < _DIVERGED * abs(min(smoothed)) + math.ulp(1.0):
            break
    if len(smoothed) < 3:
        raise ValueError(
            f"{owner}: the loss is not finite, or four times as large, after a step or two at "
            f"the rate {lowest:g}; take a smaller lowest"
        )
    tried = rates[: len(smoothed)]
    slopes = np.gradient(np.array(smoothed), np.log(tried))
    settled = min(_SETTLED, len(tried) // 3)  # a mean of a few batches moves with each of them
    suggestion = float(tried[settled:][slopes[settled:].argmin()])
    return LearningRateCurve(tried, np.array(losses), np.array(smoothed), suggestion)
