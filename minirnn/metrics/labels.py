"""Errors in sequences of labels, for predictions without alignment."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.losses.ctc import as_labels
from minirnn.losses.ctc_decoding import ctc_greedy
from minirnn.metrics.base import Metric
from minirnn.settings import setting, settings
from minirnn.typing import Array


@settings()
class LabelErrorRate(Metric):
    """Edits that turn the decoded labels into the target, for each target label; for `CTCLoss`.

    An edit inserts, deletes or substitutes one label. The smallest number of edits is summed over
    all sequences and divided by the number of target labels. Decoding is that of `ctc_greedy`. 0 is
    without an error; decoding nothing at all gives 1, and more is possible.

    Parameters
    ----------
    blank : int
        As in `CTCLoss`.

    Shapes
    ------
    prediction : (batch, time, classes)
    target : integers (batch, labels), padded at the end with negative numbers; or a list of
        sequences of unequal length
    mask : boolean (batch, time), True where the step of the prediction is valid

    References
    ----------
    Levenshtein, Binary codes capable of correcting deletions, insertions and reversals, Soviet
    Physics Doklady 1966. The rate is that of Graves et al. 2006, taken over all labels together and
    not for each sequence.

    Examples
    --------
    >>> import numpy as np
    >>> path = np.array([[1, 1, 0, 2, 2, 0]])       # decodes to 1 2
    >>> metric = LabelErrorRate()
    >>> metric.update(np.eye(4)[path], np.array([[1, 3, 2, -1]]))
    >>> round(metric.value, 3)                      # one insertion for three labels
    0.333
    """

    name = "label_error_rate"
    higher_is_better = False

    blank: int = setting(checks.positive_int, least=0, default=0)

    def measure(self, prediction: Any, target: Any, mask: Any) -> tuple[int, int]:
        """Return the number of edits and of labels."""
        read = ctc_greedy(prediction, mask, blank=self.blank)
        classes = np.shape(prediction)[-1]
        labels, lengths = as_labels(self, self.blank, target, None, len(read), classes)
        pairs = zip(read, labels, lengths, strict=True)
        return sum(_edits(one, row[:count]) for one, row, count in pairs), int(lengths.sum())


def _edits(read: Array, labels: Array) -> int:
    """Return the fewest edits from one to the other."""
    columns = np.arange(len(labels) + 1)
    row = columns  # from no label read to the first labels of the target
    for count, label in enumerate(read, 1):
        without_insertion = np.minimum(row[1:] + 1, row[:-1] + (labels != label))
        row = np.append(count, without_insertion)
        row = np.minimum.accumulate(row - columns) + columns
    return int(row[-1])
