"""Decoding: the labels of a prediction that `CTCLoss` has trained."""

from __future__ import annotations

import math
from heapq import nlargest
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.functions import log_softmax
from minirnn.masks import without_padding
from minirnn.typing import Array, Mask


def ctc_greedy(prediction: Any, mask: Any = None, *, blank: int = 0) -> list[Array]:
    """Return the labels of the most likely path of each sequence.

    The most likely class at each step, repeated ones merged, blanks taken out. The most likely
    path is mostly, not always, one of the most likely labels: see `ctc_beam`.

    Parameters
    ----------
    prediction : array (batch, time, classes)
        Logits or probabilities.
    mask : boolean array (batch, time), optional
        True where the step is valid.
    blank : int
        Index of the blank class.

    Returns
    -------
    list of integer arrays, one a sequence

    Examples
    --------
    >>> import numpy as np
    >>> path = np.array([[0, 2, 2, 0, 2, 1, 1]])
    >>> [labels.tolist() for labels in ctc_greedy(np.eye(3)[path])]
    [[2, 2, 1]]
    """
    prediction, valid = _to_decode("ctc_greedy", prediction, mask, blank)
    results = []
    for classes, steps in zip(prediction.argmax(axis=2), valid, strict=True):
        path = classes[steps]
        merged = path[np.diff(path, prepend=-1) != 0]
        results.append(merged[merged != blank])
    return results


def ctc_beam(
    prediction: Any, mask: Any = None, *, blank: int = 0, width: int = 10
) -> tuple[list[Array], Array]:
    """Return the most likely labels of each sequence, all their paths added up.

    From step to step the `width` most likely prefixes are kept, each with two probabilities: that
    of its paths that end in a blank, and of those that end in its last label, because only after a
    blank can the same label follow. With a width of all possible prefixes the result is exact.

    Parameters
    ----------
    prediction : array (batch, time, classes), logits
    mask : boolean array (batch, time), optional
        True where the step is valid.
    blank : int
        Index of the blank class.
    width : int
        How many prefixes are kept.

    Returns
    -------
    labels : list of integer arrays, one a sequence
    log_probabilities : array (batch,)
        Natural logarithm of the probability of the labels; of the paths that were kept, if the
        width is not enough for all.

    References
    ----------
    Graves and Jaitly, Towards end-to-end speech recognition with recurrent neural networks, ICML
    2014, section 3.2, without a language model.

    Examples
    --------
    The most likely path is all blanks, and yet label 1 is more likely than no label:

    >>> import numpy as np
    >>> y = np.array([[[0.6, 0.4], [0.6, 0.4]]])
    >>> ctc_greedy(y)
    [array([], dtype=int64)]
    >>> labels, log_probabilities = ctc_beam(np.log(y))
    >>> labels, np.exp(log_probabilities).round(2)
    ([array([1])], array([0.64]))
    """
    prediction, valid = _to_decode("ctc_beam", prediction, mask, blank)
    width = checks.positive_int("ctc_beam", "width", width)
    log_y = log_softmax(prediction.astype(np.float64))
    labels, log_probabilities = [], []
    for rows, steps in zip(log_y, valid, strict=True):
        prefixes: _Prefixes = {(): (0.0, -math.inf)}
        for row in rows[steps].tolist():
            longer = _extended(prefixes, row, blank)
            prefixes = dict(nlargest(width, longer.items(), key=_log_probability))
        likeliest = max(prefixes.items(), key=_log_probability)
        labels.append(np.array(likeliest[0], int))
        log_probabilities.append(_log_probability(likeliest))
    return labels, np.array(log_probabilities)


_Prefixes = dict[tuple[int, ...], tuple[float, float]]
"""From labels to two logarithms: of the paths that end in a blank, and in the last label."""


def _extended(prefixes: _Prefixes, log_y: list[float], blank: int) -> _Prefixes:
    """Return the prefixes after one more step."""
    result: _Prefixes = {}
    for labels, (in_blank, in_label) in prefixes.items():
        either = _sum(in_blank, in_label)
        for k, log_p in enumerate(log_y):
            if k == blank:
                _add(result, labels, either + log_p, -math.inf)
            elif labels and labels[-1] == k:
                _add(result, labels, -math.inf, in_label + log_p)
                _add(result, (*labels, k), -math.inf, in_blank + log_p)
            else:
                _add(result, (*labels, k), -math.inf, either + log_p)
    return result


def _add(result: _Prefixes, labels: tuple[int, ...], in_blank: float, in_label: float) -> None:
    before = result.get(labels, (-math.inf, -math.inf))
    result[labels] = _sum(before[0], in_blank), _sum(before[1], in_label)


def _log_probability(prefix: tuple[tuple[int, ...], tuple[float, float]]) -> float:
    return _sum(*prefix[1])


def _sum(a: float, b: float) -> float:
    """Return ``log(exp(a) + exp(b))``."""
    low, high = min(a, b), max(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _to_decode(owner: str, prediction: Any, mask: Any, blank: int) -> tuple[Array, Mask]:
    """Return the prediction and which of its steps are valid; nan is in no order of likelihood."""
    blank = checks.positive_int(owner, "blank", blank, least=0)
    prediction, valid = valid_steps(owner, prediction, mask, blank)
    checks.no_nan(owner, prediction, "the prediction")
    return prediction, valid


def valid_steps(owner: object, prediction: Any, mask: Any, blank: int) -> tuple[Array, Mask]:
    """Return the prediction, zero in the padding, and which of its steps are valid; checked."""
    prediction, mask = checks.sequence(owner, prediction, None, None, mask)
    if not 0 <= blank < prediction.shape[2]:
        raise ValueError(
            f"{checks.name_of(owner)}: blank={blank} is no class of the prediction, which has "
            f"{prediction.shape[2]} in shape {prediction.shape}"
        )
    if mask is None:
        return prediction, np.ones(prediction.shape[:2], bool)
    return without_padding(prediction, mask), mask
