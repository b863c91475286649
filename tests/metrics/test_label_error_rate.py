"""The label error rate: the fewest edits, counted in another way."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minirnn as m
from minirnn.data import PaddedBatches

LABELS = st.lists(st.integers(1, 3), max_size=6)


def fewest_edits(one, other):
    """The definition, written as a recursion over the last labels."""

    @cache
    def edits(i, j):
        if i == 0 or j == 0:
            return i + j
        changed = edits(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(edits(i - 1, j) + 1, edits(i, j - 1) + 1, changed)

    return edits(len(one), len(other))


def path_of(labels):
    """Logits whose most likely path reads the labels, a blank behind each, and the mask."""
    path = [k for label in labels for k in (label, 0)]
    logits = np.eye(4)[path + [3] * (13 - len(path))]
    return logits, np.arange(13) < max(len(path), 1)


@given(st.lists(st.tuples(LABELS.filter(len), LABELS.filter(len)), min_size=1, max_size=4))
def test_it_counts_the_fewest_edits(pairs):
    metric = m.LabelErrorRate()
    for read, labels in pairs:
        logits, mask = path_of(read)
        target = np.full((1, 8), -1)
        target[0, : len(labels)] = labels
        metric.update(logits[None], target, mask[None])
    edits = sum(fewest_edits(*pair) for pair in pairs)
    assert metric.value == pytest.approx(edits / sum(len(labels) for _, labels in pairs))


def test_a_trainer_shows_it_for_targets_with_a_mask_of_their_own():
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((count, 3)) for count in (7, 5, 9)]
    labels = [[1, 2, 2], [3], [1, 1]]
    model = m.Sequential([m.GRU(3, 4, rng=0), m.Dense(4, 5, rng=1)])
    optimizer = m.SGD(model.parameters(), 1e-3)
    trainer = m.Trainer(model, m.CTCLoss(), optimizer, metrics=[m.LabelErrorRate()])
    batches = PaddedBatches(inputs, labels, batch_size=2, own_lengths=True)
    history = trainer.fit(batches, epochs=1, validation=batches, progress=False)
    read = [m.ctc_greedy(model.predict(x[None]))[0].tolist() for x in inputs]
    edits = sum(fewest_edits(*pair) for pair in zip(read, labels, strict=True))
    assert history["val_label_error_rate"] == [pytest.approx(edits / 6)]


@pytest.mark.parametrize("target", [[[1, 2], [3, 1, 3]], np.array([[1, 2, -1], [3, 1, 3]])])
def test_targets_are_those_of_the_loss(target):
    (one, one_mask), (other, other_mask) = path_of([1, 2]), path_of([3])
    metric = m.LabelErrorRate()
    metric.update(np.stack([one, other]), target, np.stack([one_mask, other_mask]))
    assert metric.value == pytest.approx(2 / 5)  # 1 and 3 are missing


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.zeros((3, 2), int), ValueError, r"with batch 2, .* got shape \(3, 2\)"),
        (np.ones((2, 2)), TypeError, "target labels should be integers.*float64"),
        (
            np.array([[1, 2], [1, 0]]),
            ValueError,
            "target 1 has the blank 0 at position 1.*write -1",
        ),
        (np.array([[1, 3], [1, -1]]), ValueError, r"target labels .* 0\.\.2"),
    ],
)
def test_wrong_targets(target, error, message):
    with pytest.raises(error, match=message):
        m.LabelErrorRate().update(np.zeros((2, 5, 3)), target)
