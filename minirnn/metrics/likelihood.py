"""How likely the targets were to the model."""

from __future__ import annotations

import math
from typing import Any

from minirnn import checks
from minirnn.losses import CrossEntropy, SoftmaxCrossEntropy
from minirnn.metrics.base import Metric
from minirnn.settings import setting, settings


@settings(kw_only=True)
class LogLoss(Metric):
    """Mean cross-entropy in nats, for a model that is trained with another loss.

    Without class weights and smoothing, whatever the loss has: `SoftmaxCrossEntropy` on logits, or
    `CrossEntropy` on probabilities.

    Parameters
    ----------
    from_logits : bool
        False for a model that ends in `Softmax`.
    ignore_class : int, optional
        Positions with this target do not count, as in `SoftmaxCrossEntropy`.

    Examples
    --------
    >>> import numpy as np
    >>> metric = LogLoss(from_logits=False)
    >>> metric.update(np.array([[0.5, 0.5], [0.75, 0.25]]), np.array([0, 1]))
    >>> round(metric.value, 4)      # (log 2 + log 4) / 2
    1.0397
    """

    name = "log_loss"
    higher_is_better = False

    from_logits: bool = setting(checks.flag, default=True)
    ignore_class: int | None = setting(checks.integer, default=None)

    def measure(
        self, prediction: Any, target: Any, mask: Any, sample_weight: Any = None
    ) -> tuple[float, float]:
        """Return the cross-entropy in nats, summed, and the number of positions."""
        loss = SoftmaxCrossEntropy() if self.from_logits else CrossEntropy()
        loss.ignore_class = self.ignore_class
        mean = loss.forward(prediction, target, mask, sample_weight)
        count = loss.batch_weight or 0.0
        return mean * count, count


class Perplexity(LogLoss):
    """``exp`` of the mean cross-entropy: as uncertain as a choice among so many equal tokens.

    1 is certainty; the size of the vocabulary is a blind guess.

    Parameters
    ----------
    from_logits, ignore_class
        As in `LogLoss`.

    Examples
    --------
    >>> import numpy as np
    >>> perplexity = Perplexity()
    >>> perplexity.update(np.zeros((2, 3, 10)), np.zeros((2, 3), int))
    >>> round(perplexity.value, 6)
    10.0
    """

    name = "perplexity"

    @property
    def value(self) -> float:
        """The perplexity of everything since the last reset; inf where it overflows."""
        try:
            return math.exp(self.mean())
        except OverflowError:
            return math.inf
