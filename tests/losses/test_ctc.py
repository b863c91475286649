"""CTC: against every path written out, at its edges, and the reading of labels."""

import itertools

import numpy as np
import pytest

import minirnn as m
from minirnn.functions import softmax
from tests.contract import helpers
from tests.differences import central_differences


def logits(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1.5, shape)


def collapsed(path, blank=0):
    merged = [k for i, k in enumerate(path) if i == 0 or k != path[i - 1]]
    return tuple(k for k in merged if k != blank)


def by_paths(x, blank=0):
    """Return the probability of each possible labelling, by going through all paths."""
    y, found = softmax(x), {}
    for path in itertools.product(range(x.shape[1]), repeat=len(x)):
        labels = collapsed(path, blank)
        found[labels] = found.get(labels, 0.0) + np.prod(y[np.arange(len(x)), path])
    return found


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_every_target_has_the_probability_of_its_paths(blank):
    x = logits(4, 3)
    found = by_paths(x, blank)
    assert sum(found.values()) == pytest.approx(1)
    batch = np.broadcast_to(x, (len(found), *x.shape))
    loss = m.CTCLoss(blank, per_label=False)
    value = loss.forward(batch, list(found))
    assert value == pytest.approx(-np.mean(np.log(list(found.values()))), rel=1e-13)
    for labels, p in found.items():
        assert loss.forward(x[None], [labels]) == pytest.approx(-np.log(p), rel=1e-12)


TARGETS = [[1, 1], [], [2, 1, 2], [3]]
MASK = np.array([[1, 1, 1, 0, 1, 1], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0]])


@pytest.mark.parametrize("per_label", [True, False])
@pytest.mark.parametrize("mask", [None, MASK.astype(bool)])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.5, 0.0]])
def test_gradient(per_label, mask, weight):
    loss = m.CTCLoss(per_label=per_label)
    x = logits(4, 6, 4)
    loss.forward(x, TARGETS, mask, weight)
    grad = loss.backward()
    numeric = central_differences(lambda: loss.forward(x, TARGETS, mask, weight), x)
    helpers.assert_gradient("prediction", grad, numeric)
    if mask is not None:
        assert np.all(grad[~mask] == 0)


def test_a_mask_is_the_same_as_leaving_steps_out():
    x = logits(1, 6, 4)
    mask = np.array([[True, False, True, True, False, True]])
    loss = m.CTCLoss()
    value = loss.forward(helpers.with_padding(x, mask, np.nan), [[2, 1]], mask)
    grad = loss.backward()
    assert loss.forward(x[:, mask[0]], [[2, 1]]) == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(grad[:, mask[0]], loss.backward(), rtol=1e-12)


def test_all_ways_of_writing_the_targets_are_the_same():
    x = logits(3, 6, 4)
    loss = m.CTCLoss()
    expected = loss.forward(x, [[1, 2, 2], [3], []])
    padded = np.array([[1, 2, 2], [3, -1, -1], [-1, -1, -1]])
    assert loss.forward(x, padded) == expected
    mask = padded >= 0
    assert loss.forward(x, np.where(mask, padded, 99), target_mask=mask) == expected
    assert loss.forward(x, np.where(mask, padded, 0), target_mask=mask) == expected
    assert loss.forward(x, [np.array(one, int) for one in [[1, 2, 2], [3], []]]) == expected


def test_targets_without_any_label():
    x = logits(2, 3, 4)
    expected = -np.log(softmax(x)[:, :, 0]).sum(axis=1)
    for target in ([[], []], np.zeros((2, 0), int), [[-1], [-1]]):
        assert m.CTCLoss().forward(x, target) == pytest.approx(expected.mean(), rel=1e-14)


@pytest.mark.parametrize("target", [[1, 1, 2], [1, 2, 3, 1], [1, 1, 1]])
def test_what_no_path_stands_for(target):
    x = logits(2, 3, 4)
    targets = [target, [3]]
    loss = m.CTCLoss(per_label=False)
    assert loss.forward(x, targets) == np.inf
    grad = loss.backward()
    assert np.isnan(grad[0]).all()
    possible = m.CTCLoss(per_label=False)
    value = possible.forward(x[1:], [[3]])
    np.testing.assert_allclose(grad[1], possible.backward()[0] / 2, rtol=1e-13)

    lenient = m.CTCLoss(per_label=False, zero_infinity=True)
    assert lenient.forward(x, targets) == pytest.approx(value / 2, rel=1e-14)
    grad = lenient.backward()
    assert np.all(grad[0] == 0)
    np.testing.assert_allclose(grad[1], possible.backward()[0] / 2, rtol=1e-13)
    assert m.CTCLoss().forward(logits(1, 4, 4), [[1, 1, 2]]) < np.inf  # one step more is enough


def test_long_sequences_neither_underflow_nor_overflow():
    x = 30 * logits(2, 700, 5).astype(np.float32)
    target = np.random.default_rng(0).integers(1, 5, (2, 200))
    loss = m.CTCLoss(per_label=False)
    value = loss.forward(x, target)
    assert 1000 < value < np.inf  # exp(-1000) is no float64
    grad = loss.backward()
    assert grad.dtype == np.float32
    assert np.isfinite(grad).all()
    np.testing.assert_allclose(grad.sum(axis=2), 0, atol=1e-5)


def test_wrong_calls():
    loss, x = m.CTCLoss(), logits(2, 5, 4)
    with pytest.raises(RuntimeError, match="CTCLoss: backward was called before forward"):
        loss.backward()
    with pytest.raises(ValueError, match=r"CTCLoss: target 1 has the blank 0 at position 0"):
        loss.forward(x, [[1, 2], [0, 1]])
    with pytest.raises(ValueError, match=r"target labels should be in 0..3 .*got 4"):
        loss.forward(x, [[1, 4], [1, 1]])
    with pytest.raises(ValueError, match=r"list of 2 sequences, got shape \(3, 1\)"):
        loss.forward(x, [[1], [1], [1]])
    with pytest.raises(ValueError, match=r"blank=4 is no class of the prediction, which has 4"):
        m.CTCLoss(4).forward(x, [[1], [1]])
    with pytest.raises(ValueError, match=r"CTCLoss: the input should be \(batch, time, features\)"):
        loss.forward(x[:, 0], [[1], [1]])
    with pytest.raises(TypeError, match="target labels should be integers"):
        loss.forward(x, [[1.5], [1.0]])
    with pytest.raises(ValueError, match=r"mask should have shape \(2, 5\)"):
        loss.forward(x, [[1], [1]], np.ones((5, 2), bool))


@pytest.mark.parametrize("form", ["target_mask", "minus one"])
def test_a_trainer_hands_over_both_masks(form):
    x, mask = logits(3, 8, 4), np.arange(8) < np.array([[8], [5], [6]])
    padded = np.array([[1, 2, 2], [3, 0, 0], [3, 1, 0]])
    target_mask = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0]], bool)
    target = padded if form == "target_mask" else np.where(target_mask, padded, -1)
    options = {"target_mask": target_mask} if form == "target_mask" else {}

    def build():
        model = m.Sequential([m.GRU(4, 3, rng=0, dtype=np.float64), m.Dense(3, 4, rng=1)])
        return m.Trainer(model, m.CTCLoss(), m.SGD(model.parameters(), 0.1))

    trainer, loss = build(), m.CTCLoss()
    expected = loss.forward(trainer.model.forward(x, mask), padded, mask, target_mask=target_mask)
    assert trainer.evaluate(x, target, mask=mask, **options)["loss"] == pytest.approx(expected)
    assert trainer.train_step(x, target, mask, **options) == pytest.approx(expected)
    assert trainer.train_step(x, target, mask, **options) < expected
    history = build().fit(x, target, mask=mask, epochs=1, batch_size=3, progress=False, **options)
    assert history["loss"][0] == pytest.approx(expected)


def test_many_labels_with_gaps_keep_their_order():
    rng = np.random.default_rng(0)
    labels, mask = rng.integers(1, 9, (1, 100)), rng.random((1, 100)) < 0.5
    x, loss = logits(1, 120, 9), m.CTCLoss()
    expected = loss.forward(x, labels[mask][None])
    assert loss.forward(x, labels, target_mask=mask) == expected
    assert loss.forward(x, np.where(mask, labels, -1)) == expected


def test_labels_in_the_smallest_integers():
    x, labels = logits(2, 6, 300), np.array([[1, 2], [3, 200]])
    mask = np.array([[True, True], [True, False]])
    loss = m.CTCLoss(blank=299)
    expected = loss.forward(x, labels, target_mask=mask)
    assert loss.forward(x, labels.astype(np.uint8), target_mask=mask) == expected
    model = m.Dense(300, 300, dtype=np.float64)
    trainer = m.Trainer(model, loss, m.SGD(model.parameters(), 0.1))
    options = {"target_mask": mask, "batch_size": 2}
    found = trainer.evaluate(x, labels.astype(np.uint8), **options)
    assert found == trainer.evaluate(x, labels, **options)
    with pytest.raises(ValueError, match=r"target_mask.* shape \(2, 2\)"):
        trainer.train_step(x, labels, target_mask=mask[:, :1])
    with pytest.raises(ValueError, match="the target is not a rectangular array"):
        trainer.train_step(x, [[1, 2], [3]], target_mask=mask)


def test_a_trainer_says_which_target_no_path_stands_for():
    x = logits(3, 5, 4)
    model = m.Sequential([m.GRU(4, 3, rng=0), m.Dense(3, 4, rng=1)])
    trainer = m.Trainer(model, m.CTCLoss(), m.SGD(model.parameters(), 0.1))
    targets = np.array([[1, 2, 3, -1], [1, 1, 2, 2], [3, -1, -1, -1]])
    with pytest.raises(
        m.NotFiniteError,
        match=r"target 1 of the batch has 4 labels .* between 2 pairs .*6 steps in all, .*5 val",
    ):
        trainer.train_step(x, targets)
    loss = m.CTCLoss()
    assert loss.why_not_finite() == ""
    loss.forward(x, targets[[0, 2, 2]])
    assert loss.why_not_finite() == ""


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("blank", [0, 2])
def test_a_beam_wide_enough_finds_the_most_likely_labels(seed, blank):
    x = 0.4 * logits(1, 5, 3, seed=seed)
    found = by_paths(x[0], blank)
    best = max(found, key=found.get)
    labels, log_probabilities = m.ctc_beam(x, blank=blank, width=100)
    assert tuple(labels[0]) == best
    assert log_probabilities[0] == pytest.approx(np.log(found[best]), rel=1e-12)
    value = m.CTCLoss(blank, per_label=False).forward(x, labels)
    assert value == pytest.approx(-log_probabilities[0], rel=1e-12)


def test_greedy_reads_the_most_likely_path():
    x = logits(20, 7, 3)
    mask = np.random.default_rng(1).random((20, 7)) < 0.7
    for labels, row, real in zip(m.ctc_greedy(x, mask), x, mask, strict=True):
        assert tuple(labels) == collapsed(row[real].argmax(axis=1))


def test_padding_is_not_read():
    x = logits(2, 6, 4)
    mask = np.arange(6) < np.array([[4], [0]])
    dirty = helpers.with_padding(x, mask, np.nan)
    labels, log_probabilities = m.ctc_beam(dirty, mask)
    alone, expected = m.ctc_beam(x[:1, :4])
    np.testing.assert_array_equal(labels[0], alone[0])
    assert log_probabilities[0] == expected[0]
    assert (len(labels[1]), log_probabilities[1]) == (0, 0.0)
    assert [len(one) for one in m.ctc_greedy(dirty, mask)][1] == 0


def test_reading_refuses_wrong_arguments():
    for read in (m.ctc_greedy, m.ctc_beam):
        with pytest.raises(ValueError, match=rf"{read.__name__}: blank=4 is no class"):
            read(np.zeros((1, 2, 4)), blank=4)
    with pytest.raises(ValueError, match="ctc_beam: width should be at least 1"):
        m.ctc_beam(np.zeros((1, 2, 4)), width=0)


@pytest.mark.parametrize("make", [m.CTCLoss, m.LabelErrorRate])
def test_a_negative_blank_is_refused_where_it_is_given(make):
    with pytest.raises(ValueError, match=f"{make.__name__}: blank should be at least 0, got -1"):
        make(blank=-1)


@pytest.mark.parametrize("decode", [m.losses.ctc_greedy, m.losses.ctc_beam])
def test_decoding_refuses_what_it_cannot_order(decode):
    x = logits(2, 4, 3)
    for blank, kind in [(0.5, TypeError), (True, TypeError), (None, TypeError), (3, ValueError)]:
        with pytest.raises(kind, match="blank"):
            decode(x, blank=blank)
    x[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"prediction is nan at position \(1, 2, 0\)"):
        decode(x)


@pytest.mark.parametrize("padding", [np.nan, np.inf, -np.inf])
def test_what_stands_in_the_padding_is_not_decoded(padding):
    x, mask = logits(2, 4, 3), np.array([[True, False, True, True], [True, True, False, False]])
    labels, scores = m.losses.ctc_beam(x, mask)
    x[~mask] = padding
    again, same = m.losses.ctc_beam(x, mask)
    assert [one.tolist() for one in again] == [one.tolist() for one in labels]
    np.testing.assert_array_equal(same, scores)
