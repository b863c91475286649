"""Padding, masks, one-hot vectors, batches and streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirnn import CTCLoss
from minirnn.data import (
    Batches,
    PaddedBatches,
    StreamBatches,
    lengths_to_mask,
    one_hot,
    pad_sequences,
)


@given(st.lists(st.lists(st.integers(-9, 9), max_size=6), min_size=1).filter(any))
def test_padding_keeps_every_number_and_the_mask_tells_where(sequences):
    padded, mask = pad_sequences(sequences, value=77)
    assert padded.shape == mask.shape == (len(sequences), max(map(len, sequences)))
    for row, real, sequence in zip(padded, mask, sequences, strict=True):
        assert row[real].tolist() == sequence
        assert real.tolist() == sorted(real.tolist(), reverse=True), "padding stands at the end"
        assert (row[~real] == 77).all()


def test_padding_of_feature_vectors_and_to_a_given_length():
    a, b = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    padded, mask = pad_sequences([a, b], length=5)
    assert padded.shape == (2, 5, 3)
    assert padded.dtype == np.float32
    assert mask.sum(axis=1).tolist() == [2, 4]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_one_hot(tokens):
    rows = one_hot(tokens, 5)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows.argmax(axis=-1), tokens)
    np.testing.assert_array_equal(rows.sum(axis=-1), np.ones(len(tokens)))
    np.testing.assert_array_equal(rows, np.eye(5)[tokens])


@given(st.integers(1, 30), st.integers(1, 8), st.booleans(), st.booleans(), st.integers(0, 2**31))
def test_each_pass_has_every_example_once(count, size, shuffle, drop_last, seed):
    if drop_last and count < size:
        return
    x = np.arange(count)
    batches = Batches(x, -x, batch_size=size, shuffle=shuffle, drop_last=drop_last, rng=seed)
    passes = [[(a.tolist(), b.tolist()) for a, b in batches] for _ in range(2)]
    for one in passes:
        assert len(one) == len(batches)
        seen = [k for a, _ in one for k in a]
        kept = count // size * size if drop_last else count
        assert len(seen) == len(set(seen)) == kept
        assert all(b == [-k for k in a] for a, b in one)
        if not shuffle:
            assert seen == list(range(kept))
    again = Batches(x, -x, batch_size=size, shuffle=shuffle, drop_last=drop_last, rng=seed)
    assert [(a.tolist(), b.tolist()) for a, b in again] == passes[0]
    if shuffle and count > 20 and not drop_last:
        assert passes[0] != passes[1]


def test_the_global_generator_has_no_say():
    state = np.random.get_state()[1].copy()
    list(Batches(np.arange(9), batch_size=2, shuffle=True))
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_padded_batches_are_padded_to_their_own_longest():
    words = [np.arange(1, n + 1) for n in (3, 1, 5, 2)]
    shapes = []
    for x, y, mask in PaddedBatches(words, [2 * w for w in words], batch_size=2):
        shapes.append(x.shape)
        np.testing.assert_array_equal(y, 2 * x)
        np.testing.assert_array_equal(mask, x > 0)
    assert shapes == [(2, 3), (2, 5)]


def test_padded_batches_with_one_target_a_sequence():
    """Even where every sequence happens to have as many steps as a target has numbers."""
    words = [np.ones((2, 3)), np.ones((1, 3))]
    for _, y, mask in PaddedBatches(words, [7, 8], batch_size=2):
        assert y.tolist() == [7, 8]
        assert mask.shape == (2, 2)
    for _, y, _ in PaddedBatches(words, np.ones((2, 4)), batch_size=2):
        assert y.shape == (2, 4)


def test_padded_batches_with_targets_of_their_own_length():
    steps, labels = [np.ones((4, 2)), np.ones((3, 2))], [[5], [6, 7]]
    ((x, y, mask, target_mask),) = PaddedBatches(steps, labels, batch_size=2, own_lengths=True)
    assert x.shape == (2, 4, 2)
    assert mask.sum(axis=1).tolist() == [4, 3]
    assert y.tolist() == [[5, 0], [6, 7]]
    assert target_mask.tolist() == [[True, False], [True, True]]
    with pytest.raises(ValueError, match=r"4 steps, .*should be 4; .* write own_lengths=True"):
        PaddedBatches(steps, labels, batch_size=2)
    with pytest.raises(ValueError, match="each target should be a sequence, got a single number"):
        PaddedBatches(steps, [5, 6], batch_size=2, own_lengths=True)


@given(st.integers(2, 200), st.integers(1, 5), st.integers(1, 9))
def test_a_stream_can_be_put_together_again(length, rows, steps):
    if length < rows * steps + 1:
        with pytest.raises(ValueError, match="too few for one batch"):
            StreamBatches(range(length), batch_size=rows, steps=steps)
        return
    stream = StreamBatches(range(length), batch_size=rows, steps=steps)
    pieces = list(stream)
    assert len(pieces) == len(stream)
    inputs = np.concatenate([x for x, _ in pieces], axis=1)
    assert all(x.shape == (rows, steps) for x, _ in pieces)
    for x, y in pieces:
        np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(np.diff(inputs, axis=1), 1)  # each row goes on without a gap
    np.testing.assert_array_equal(inputs[1:, 0], inputs[:-1, -1] + 1)
    assert inputs[0, 0] == 0
    assert length - 1 - inputs.size < rows * steps, "no more is left out than fills no batch"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pad_sequences([]), ValueError, "the list of sequences is empty"),
        (lambda: pad_sequences([[], []]), ValueError, "every sequence is empty"),
        (lambda: pad_sequences([1, 2]), ValueError, "sequence 0 is a single number"),
        (
            lambda: pad_sequences([np.ones((2, 3)), np.ones((2, 4))]),
            ValueError,
            r"sequence 1 has steps of shape \(4,\), sequence 0 of shape \(3,\)",
        ),
        (
            lambda: pad_sequences([[1, 2]], length=1),
            ValueError,
            "has 2 steps, more than",
        ),
        (lambda: lengths_to_mask([1.5]), TypeError, "lengths should be integers"),
        (lambda: lengths_to_mask([[1]]), ValueError, r"integers \(batch,\), got .* \(1, 1\)"),
        (lambda: lengths_to_mask([]), ValueError, "lengths should be integers"),
        (lambda: lengths_to_mask([2, 9], 5), ValueError, "in 0..5, got 9 for sequence 1"),
        (lambda: one_hot([3], 3), ValueError, r"tokens should be in 0\.\.2 .*got 3"),
        (lambda: one_hot([0.0], 3), TypeError, "tokens should be integers"),
        (lambda: Batches(batch_size=2), TypeError, "at least one array"),
        (lambda: Batches([], batch_size=2), ValueError, "there are no examples"),
        (
            lambda: Batches([1, 2], [1], batch_size=2),
            ValueError,
            "of the targets should be",
        ),
        (
            lambda: Batches([1, 2], batch_size=0),
            ValueError,
            "batch_size should be at least 1",
        ),
        (lambda: Batches([1, 2], batch_size=2.0), TypeError, "batch_size should be a whole number"),
        (
            lambda: Batches([1, 2], batch_size=3, drop_last=True),
            ValueError,
            "2 examples do not make one batch of 3",
        ),
        (lambda: pad_sequences(None), TypeError, "should be a list of arrays, got NoneType"),
        (lambda: pad_sequences({(1, 2), (3,)}), TypeError, "should be a list of arrays, got set"),
        (lambda: pad_sequences({"a": [1]}), TypeError, "should be a list of arrays, got dict"),
        (lambda: pad_sequences([[1, 2]], value=0.5), ValueError, "value=0.5 cannot stand among"),
        (lambda: pad_sequences([[1, 2]], value=np.nan), ValueError, "value=nan cannot stand"),
        (lambda: lengths_to_mask([2], 3.5), TypeError, "time should be a whole number, got 3.5"),
        (lambda: Batches(5, batch_size=2), TypeError, "with an axis of examples"),
        (lambda: Batches({}, [1, 2], batch_size=2), TypeError, "with an axis of examples"),
        (lambda: Batches([1, 2], 5, batch_size=2), ValueError, r"targets .*got shape \(\)"),
        (
            lambda: Batches([1, 2], batch_size=2, shuffle="no"),
            TypeError,
            "shuffle should be True or False, got 'no'",
        ),
        (lambda: StreamBatches([[1], [2, 3]], batch_size=1, steps=1), ValueError, "rectangular"),
        (lambda: PaddedBatches([[1]], None, batch_size=1), TypeError, "targets should be a list"),
        (lambda: PaddedBatches([[]], [[]], batch_size=1), ValueError, "sequence 0 is empty"),
        (lambda: PaddedBatches([[1]], [], batch_size=1), ValueError, "1 inputs and 0 targets"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_empty_list_does_not_make_integers_to_floats():
    padded, mask = pad_sequences([[], [3, 4]])
    assert padded.dtype.kind == "i"
    assert mask.tolist() == [[False, False], [True, True]]


def test_batches_of_labels_that_are_empty_or_all_empty():
    words, labels = [[1, 2], [3], [4, 5]], [[], [7, 8], []]
    batches = list(PaddedBatches(words, labels, batch_size=1, own_lengths=True))
    assert [y.dtype.kind for _, y, _, _ in batches] == ["i"] * 3
    assert [target_mask.sum() for *_, target_mask in batches] == [0, 2, 0]
    logits = np.random.default_rng(0).standard_normal((2, 9))
    for x, y, mask, target_mask in batches:
        steps = logits[None, : x.shape[1]]
        target = np.where(target_mask, y, -1)  # as a Trainer writes it
        assert np.isfinite(CTCLoss().forward(steps, target, mask)) == (x[0, 0] != 3)


def test_all_batches_have_one_dtype():
    batches = PaddedBatches([[1, 2], [3.5]], [[1, 0], [1]], batch_size=1)
    assert {x.dtype for x, _, _ in batches} == {np.dtype(float)}
