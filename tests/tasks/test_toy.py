"""The toy tasks against integer arithmetic, their papers' rules, and simulated guessing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirnn.tasks.addition import all_binary_additions, binary_addition
from minirnn.tasks.long_memory import (
    TEMPORAL_ORDER_SYMBOLS,
    adding_problem,
    copying_memory,
    temporal_order,
)
from minirnn.tasks.reber import embedded_reber
from minirnn.tasks.toy import sine_waves, spiral

DRAWING = {
    "spiral": spiral,
    "binary_addition": binary_addition,
    "sine_waves": sine_waves,
    "adding_problem": adding_problem,
    "copying_memory": copying_memory,
    "temporal_order": temporal_order,
    "embedded_reber": embedded_reber,
}
FLOATING = {name: task for name, task in DRAWING.items() if name != "copying_memory"}


def arrays_of(result):
    return [part for part in result if isinstance(part, np.ndarray)]


def same(first, second):
    pairs = zip(arrays_of(first), arrays_of(second), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# --- what holds for every task --------------------------------------------------------------------


@pytest.mark.parametrize("task", DRAWING.values(), ids=DRAWING.keys())
def test_rng_none_seed_and_generator(task):
    assert same(task(7, rng=3), task(7, rng=3))
    assert same(task(7, rng=3), task(7, rng=np.random.default_rng(3)))
    assert same(task(7, rng=3), task(7, rng=np.int64(3)))
    assert not same(task(7, rng=3), task(7, rng=4))
    assert not same(task(7), task(7))
    generator = np.random.default_rng(3)
    assert not same(task(7, rng=generator), task(7, rng=generator))


@pytest.mark.parametrize("task", DRAWING.values(), ids=DRAWING.keys())
def test_global_random_state_is_neither_read_nor_changed(task):
    np.random.seed(0)
    before = np.random.get_state()
    first = task(7, rng=1)
    after = np.random.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    np.random.seed(1)
    assert same(first, task(7, rng=1))


@pytest.mark.parametrize("task", FLOATING.values(), ids=FLOATING.keys())
def test_dtype_changes_precision_and_not_the_data(task):
    single, double = task(7, rng=5), task(7, rng=5, dtype=np.float64)
    for a, b in zip(arrays_of(single), arrays_of(double), strict=True):
        if b.dtype == np.float64:
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
        else:
            assert a.dtype == b.dtype
            assert a.dtype in (np.int64, np.bool_)
            np.testing.assert_array_equal(a, b)
    assert single[0].dtype == np.float32
    assert double[0].dtype == np.float64


@pytest.mark.parametrize("task", DRAWING.values(), ids=DRAWING.keys())
def test_returned_arrays_can_be_written_to_without_changing_each_other(task):
    for i, array in enumerate(arrays_of(task(7, rng=0))):
        others = arrays_of(task(7, rng=0))
        kept = [other.copy() for other in others]
        others[i][...] = 1 - array if array.dtype != np.bool_ else ~array
        for j, other in enumerate(others):
            assert j == i or np.array_equal(other, kept[j])


@pytest.mark.parametrize(("name", "task"), DRAWING.items(), ids=DRAWING.keys())
@pytest.mark.parametrize(
    ("error", "count", "keywords", "message"),
    [
        (ValueError, 0, {}, "at least 1, got 0"),
        (ValueError, -2, {}, "at least 1, got -2"),
        (TypeError, 2.0, {}, " should be .*, got 2.0"),
        (TypeError, True, {}, " should be .*, got True"),
        (TypeError, 2, {"rng": "0"}, "rng should be None, an int seed or a numpy.random.Generator"),
        (TypeError, 2, {"rng": np.random}, "rng should be None, an int seed"),
        (TypeError, 2, {"rng": np.random.RandomState(0)}, "rng should be None, an int seed"),
        (ValueError, 2, {"rng": -1}, "rng should be .* got -1"),
    ],
)
def test_wrong_count_or_rng(name, task, error, count, keywords, message):
    with pytest.raises(error, match=message) as caught:
        task(count, **keywords)
    assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize(("name", "task"), FLOATING.items(), ids=FLOATING.keys())
@pytest.mark.parametrize("dtype", [int, None, "floaty", np.float16, np.complex64])
def test_wrong_dtype(name, task, dtype):
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    with pytest.raises(ValueError, match=rf"^{name}: dtype should be float32 or float64"):
        task(2, rng=generator, dtype=dtype)
    assert generator.bit_generator.state == before


@pytest.mark.parametrize(
    ("error", "task", "arguments", "message"),
    [
        (ValueError, spiral, {"classes": 1}, "spiral: classes should be at least 2, got 1"),
        (ValueError, spiral, {"noise": -0.1}, "spiral: noise should be at least 0, got -0.1"),
        (ValueError, spiral, {"noise": math.nan}, "spiral: noise should be finite"),
        (TypeError, spiral, {"noise": "0.2"}, "spiral: noise should be a number, got '0.2'"),
        (ValueError, binary_addition, {"bits": 63}, "bits should be from 1 to 62, got 63"),
        (ValueError, binary_addition, {"bits": 0}, "bits should be at least 1, got 0"),
        (ValueError, adding_problem, {"length": 1}, "length should be at least 2, got 1"),
        (ValueError, copying_memory, {"delay": 0}, "delay should be at least 1, got 0"),
        (ValueError, copying_memory, {"symbols": 1}, "symbols should be at least 2, got 1"),
        (ValueError, copying_memory, {"remember": 0}, "remember should be at least 1, got 0"),
        (TypeError, temporal_order, {"lengths": 30}, "lengths should be a pair .*, got 30"),
        (ValueError, temporal_order, {"lengths": (9, 30)}, r"lengths\[0\] should be at least 10"),
        (ValueError, temporal_order, {"lengths": (30, 29)}, r"lengths\[1\] should be at least 30"),
        (TypeError, temporal_order, {"lengths": (30.0, 35)}, r"lengths\[0\] should be"),
        (ValueError, sine_waves, {"length": 0}, "length should be at least 1, got 0"),
        (TypeError, sine_waves, {"periods": (1, 2, 3)}, "periods should be a pair"),
        (ValueError, sine_waves, {"periods": (1, 20)}, r"periods\[0\] should be at least 2.0"),
        (ValueError, sine_waves, {"periods": (20, 10)}, r"periods\[1\] should be at least 20"),
        (ValueError, sine_waves, {"noise": math.inf}, "noise should be finite"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_drawn(error, task, arguments, message):
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    with pytest.raises(error, match=message):
        task(4, rng=generator, **arguments)
    assert generator.bit_generator.state == before


# --- spiral ---------------------------------------------------------------------------------------


def test_spiral_follows_the_published_program():
    points, labels = spiral(rng=0, dtype=np.float64)
    # The published loop, as it stands, over the same draws.
    generator = np.random.default_rng(0)
    N, K = 100, 3
    X, y = np.zeros((N * K, 2)), np.zeros(N * K, dtype="uint8")
    for j in range(K):
        ix = range(N * j, N * (j + 1))
        r = np.linspace(0.0, 1, N)
        t = np.linspace(j * 4, (j + 1) * 4, N) + generator.standard_normal(N) * 0.2
        X[ix] = np.c_[r * np.sin(t), r * np.cos(t)]
        y[ix] = j
    np.testing.assert_array_equal(points, X)
    np.testing.assert_array_equal(labels, y)


def test_spiral_sizes():
    points, labels = spiral(1, classes=2, noise=0, rng=0)
    assert points.shape == (2, 2)
    assert labels.tolist() == [0, 1]


# --- binary addition ------------------------------------------------------------------------------


def as_integers(bits_lowest_first):
    """Read ``(count, time)`` as Python integers, digit by digit."""
    return [int("".join(str(int(b)) for b in row[::-1]), 2) for row in bits_lowest_first]


def test_all_binary_additions_holds_every_pair_once_with_its_sum():
    inputs, targets = all_binary_additions()
    assert inputs.shape == (65536, 9, 2)
    assert targets.shape == (65536, 9, 1)
    weights = 1 << np.arange(9)
    first, second = (inputs * weights[:, None]).sum(axis=1).astype(int).T
    assert list(zip(first, second, strict=True)) == [(a, b) for a in range(256) for b in range(256)]
    assert np.array_equal(targets[..., 0] @ weights, first + second)
    assert set(np.unique(inputs)) == set(np.unique(targets)) == {0.0, 1.0}
    assert not inputs[:, 8].any()


def test_guessing_scores_of_addition_are_exact():
    _, targets = all_binary_additions(dtype=np.float64)
    ones = targets[..., 0].mean(axis=0)
    assert ones.tolist() == [0.5] * 8 + [0.5 - 2**-9]
    sums = targets[..., 0] @ (1 << np.arange(9))
    likeliest = np.bincount(sums.astype(int)).argmax()
    assert likeliest == 255
    assert np.mean(sums == likeliest) == 1 / 256


def test_all_binary_additions_limits():
    with pytest.raises(ValueError, match="bits should be from 1 to 10, got 11"):
        all_binary_additions(11)
    inputs, targets = all_binary_additions(1)
    assert inputs[:, 0].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert targets[..., 0].tolist() == [[0, 0], [1, 0], [1, 0], [0, 1]]


@settings(max_examples=30, deadline=None)
@given(bits=st.integers(1, 62), seed=st.integers(0, 2**32))
def test_random_additions_are_exact_at_any_width(bits, seed):
    inputs, targets = binary_addition(4, bits=bits, rng=seed)
    assert inputs.shape == (4, bits + 1, 2)
    assert targets.shape == (4, bits + 1, 1)
    first, second = as_integers(inputs[..., 0]), as_integers(inputs[..., 1])
    total = as_integers(targets[..., 0])
    assert total == [a + b for a, b in zip(first, second, strict=True)]
    assert max(first + second) < 2**bits


def test_random_additions_are_uniform_over_the_pairs():
    inputs, _ = binary_addition(16000, bits=2, rng=0)
    first, second = as_integers(inputs[..., 0]), as_integers(inputs[..., 1])
    counts = np.bincount(4 * np.array(first) + np.array(second), minlength=16)
    assert np.abs(counts - 1000).max() < 5 * math.sqrt(1000)


# --- sine waves -----------------------------------------------------------------------------------


def test_sine_waves_obey_the_recurrence_of_a_sine():
    inputs, targets = sine_waves(50, 40, periods=(5, 12), rng=0, dtype=np.float64)
    assert inputs.shape == targets.shape == (50, 40, 1)
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
    wave = np.concatenate([inputs[:, :1], targets], axis=1)[..., 0]
    neighbours, middle = wave[:, 2:] + wave[:, :-2], wave[:, 1:-1]
    cosine = (neighbours * middle).sum(axis=1) / (2 * middle**2).sum(axis=1)
    np.testing.assert_allclose(neighbours, 2 * cosine[:, None] * middle, atol=1e-12)
    period = 2 * np.pi / np.arccos(cosine)
    assert period.min() >= 5
    assert period.max() <= 12
    assert period.max() - period.min() > 5


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_guessing_scores_of_sine_waves(noise):
    inputs, targets = sine_waves(20000, 4, noise=noise, rng=0, dtype=np.float64)
    assert np.mean(targets**2) == pytest.approx(0.5 + noise**2, rel=0.02)
    # E[1 - cos(2 pi / period)], integrated over the uniform period by the midpoint rule.
    period = 10 + 30 * (np.arange(100000) + 0.5) / 100000
    expected = np.mean(1 - np.cos(2 * np.pi / period))
    assert expected == pytest.approx(0.0486, abs=5e-5)
    repeated = np.mean((targets - inputs) ** 2)
    assert repeated == pytest.approx(expected + 2 * noise**2, rel=0.02)


# --- adding problem -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 3, 50])
def test_adding_problem_marks_one_step_in_each_half(length):
    inputs, targets = adding_problem(400, length, rng=0, dtype=np.float64)
    assert inputs.shape == (400, length, 2)
    assert targets.shape == (400, 1)
    values, marker = inputs[..., 0], inputs[..., 1]
    assert values.min() >= 0
    assert values.max() < 1
    assert set(np.unique(marker)) <= {0.0, 1.0}
    assert (marker[:, : length // 2].sum(axis=1) == 1).all()
    assert (marker[:, length // 2 :].sum(axis=1) == 1).all()
    assert (marker.sum(axis=0) > 0).all()  # every step is marked sometimes
    for sequence, target in zip(inputs.tolist(), targets[:, 0].tolist(), strict=True):
        assert target == sum(value for value, marked in sequence if marked == 1)


def test_guessing_scores_of_the_adding_problem():
    inputs, targets = adding_problem(50000, 10, rng=0, dtype=np.float64)
    assert np.mean((targets - 1) ** 2) == pytest.approx(1 / 6, rel=0.02)
    second = (inputs[:, 5:, 0] * inputs[:, 5:, 1]).sum(axis=1)
    assert np.mean((targets[:, 0] - second - 0.5) ** 2) == pytest.approx(1 / 12, rel=0.02)


# --- copying memory -------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    delay=st.integers(1, 30),
    symbols=st.integers(2, 12),
    remember=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_copying_memory_layout(delay, symbols, remember, seed):
    inputs, targets = copying_memory(3, delay, symbols=symbols, remember=remember, rng=seed)
    assert inputs.shape == targets.shape == (3, delay + 2 * remember)
    assert inputs.dtype == targets.dtype == np.int64
    blank, go = symbols, symbols + 1
    for given_row, asked_row in zip(inputs.tolist(), targets.tolist(), strict=True):
        message = given_row[:remember]
        assert all(0 <= symbol < symbols for symbol in message)
        assert given_row == [*message, *[blank] * (delay - 1), go, *[blank] * remember]
        assert asked_row == [*[blank] * (remember + delay), *message]


def test_guessing_score_of_copying_memory():
    _, targets = copying_memory(5000, rng=0)
    # The best that can be done without seeing the inputs: at each step, the frequencies there.
    loss = 0.0
    for step in range(targets.shape[1]):
        frequency = np.bincount(targets[:, step], minlength=9) / len(targets)
        loss -= np.mean(np.log(frequency[targets[:, step]])) / targets.shape[1]
    assert targets.shape[1] == 30
    assert loss == pytest.approx(5 * math.log(8) / 30, rel=1e-3)
    assert 5 * math.log(8) / 30 == pytest.approx(0.3466, abs=5e-5)


# --- temporal order -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "first_range", "second_range"),
    [
        ((30, 35), (3, 6), (15, 18)),
        ((100, 110), (10, 20), (50, 60)),  # the paper's own numbers
        ((10, 10), (1, 2), (5, 6)),
    ],
)
def test_temporal_order_rules(lengths, first_range, second_range):
    task = temporal_order(600, lengths=lengths, rng=0)
    assert task.inputs.shape == (600, lengths[1], 8)
    assert task.targets.shape == (600,)
    assert task.mask.shape == task.tokens.shape == (600, lengths[1])
    places, sizes, distractors = [], [], set()
    for tokens, mask, target in zip(task.tokens, task.mask, task.targets, strict=True):
        size = int(mask.sum())
        assert mask[:size].all()
        assert not tokens[size:].any()
        text = "".join(TEMPORAL_ORDER_SYMBOLS[k] for k in tokens[:size])
        assert text[0] == "E"
        assert text[-1] == "B"
        relevant = [(place, symbol) for place, symbol in enumerate(text) if symbol in "XY"]
        (first, one), (second, other) = relevant
        assert {"XX": 0, "XY": 1, "YX": 2, "YY": 3}[one + other] == target
        inside = [s for k, s in enumerate(text[1:-1], 1) if k not in (first, second)]
        assert set(inside) <= set("abcd")
        places.append((first, second))
        sizes.append(size)
        distractors |= set(inside)
    assert distractors == set("abcd")
    assert set(sizes) == set(range(lengths[0], lengths[1] + 1))
    for seen, (low, high) in zip(
        zip(*places, strict=True), (first_range, second_range), strict=True
    ):
        assert set(seen) == set(range(low, high + 1))


def test_temporal_order_inputs_are_the_tokens_one_hot():
    task = temporal_order(20, rng=0)
    assert np.array_equal(task.inputs.sum(axis=-1), task.mask)
    assert np.array_equal(task.inputs.argmax(axis=-1), task.tokens)
    assert set(np.unique(task.inputs)) == {0.0, 1.0}


def test_guessing_scores_of_temporal_order():
    task = temporal_order(20000, rng=0)
    frequency = np.bincount(task.targets, minlength=4) / 20000
    np.testing.assert_allclose(frequency, 0.25, atol=0.015)
    # Independent of length, and knowing one of the two symbols leaves the other even.
    sizes = task.mask.sum(axis=1)
    table = np.array([np.bincount(task.targets[sizes == n], minlength=4) for n in range(30, 36)])
    np.testing.assert_allclose(table / table.sum(axis=1, keepdims=True), 0.25, atol=0.04)
    assert np.mean(task.targets[task.targets < 2]) == pytest.approx(0.5, abs=0.02)
