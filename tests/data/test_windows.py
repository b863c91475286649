"""Windows over a series, and a scaler with its inverse."""

from __future__ import annotations

import numpy as np
import pytest

from minirnn.data import Scaler, windows

SERIES = np.random.default_rng(0).normal(5, 3, (20, 3))


@pytest.mark.parametrize(("length", "horizon"), [(5, 2), (5, 1), (18, 2), (1, 1)])
@pytest.mark.parametrize("features", [None, 3])
def test_windows_are_the_slices_written_out(length, horizon, features):
    series = SERIES if features else SERIES[:, 0]
    x, y = windows(series, length, horizon)
    starts = range(20 - length - horizon + 1)
    assert len(x) == len(y) == len(starts)
    for k, start in enumerate(starts):
        wide = series if features else series[:, None]
        np.testing.assert_array_equal(x[k], wide[start : start + length])
        np.testing.assert_array_equal(y[k], series[start + length : start + length + horizon])
    assert not x.flags.writeable
    assert x.base is not None


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            (SERIES, 19, 2),
            ValueError,
            "a series of 20 steps is too short for windows of 19 and tar",
        ),
        ((SERIES[None], 3, 1), ValueError, "should be .time,. or .time, features., got shape"),
        ((SERIES, 0, 1), ValueError, "length should be at least 1"),
        ((SERIES, 3, 1.5), TypeError, "horizon should be a whole number"),
        ((["a"] * 9, 3, 1), TypeError, "the series should hold real numbers"),
    ],
)
def test_wrong_windows(arguments, kind, message):
    with pytest.raises(kind, match=f"^windows: .*{message}"):
        windows(*arguments)


@pytest.mark.parametrize("shape", [(60,), (20, 3), (4, 5, 3)])
def test_scaler(shape):
    values = SERIES.reshape(shape)
    scaler = Scaler().fit(values)
    scaled = scaler.transform(values)
    axes = tuple(range(max(values.ndim - 1, 1)))
    np.testing.assert_allclose(scaled.mean(axis=axes), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=axes), 1, rtol=1e-12)
    np.testing.assert_allclose(scaler.inverse(scaled), values, rtol=1e-12)
    assert scaler.transform(values.astype(np.float32)).dtype == np.float32
    again = eval(repr(scaler), {"Scaler": Scaler})
    np.testing.assert_array_equal(again.transform(values), scaled)


def test_scaler_under_a_mask_and_of_one_feature():
    values, mask = SERIES.reshape(4, 5, 3).copy(), np.arange(5) < np.array([5, 2, 3, 1])[:, None]
    values[~mask] = np.nan
    scaler = Scaler().fit(values[mask])
    np.testing.assert_allclose(scaler.mean, SERIES.reshape(4, 5, 3)[mask].mean(axis=0))
    one = Scaler(scaler.mean[2], scaler.scale[2])
    np.testing.assert_allclose(one.inverse(scaler.transform(values)[..., 2]), values[..., 2])


def test_weights_count_as_repetitions_do():
    rows, often = SERIES.reshape(20, 3), np.arange(20) % 4  # some not at all
    weighted, repeated = Scaler().fit(rows, often), Scaler().fit(np.repeat(rows, often, axis=0))
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-12)
    np.testing.assert_allclose(weighted.scale, repeated.scale, rtol=1e-12)
    batch = Scaler().fit(rows.reshape(4, 5, 3), often.reshape(4, 5))
    np.testing.assert_array_equal(batch.mean, weighted.mean)
    one = Scaler().fit([[1.0], [2.0], [2.0]], [0, 1, 3])  # what counts does not change
    assert (one.mean, one.scale) == (2, 1)


def test_a_feature_that_changes_by_rounding_alone():
    scaler = Scaler().fit([[0.3, 3e-20], [0.1 + 0.2, 1e-20]])
    np.testing.assert_allclose(scaler.scale, [1, 1e-20])


def test_a_feature_that_never_changes():
    scaler = Scaler().fit(np.full((4, 2), 7.0))
    np.testing.assert_array_equal(scaler.transform([[7.0, 8.0]]), [[0.0, 1.0]])


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (lambda: Scaler().transform(SERIES), RuntimeError, "call fit with the training data first"),
        (
            lambda: Scaler().fit(SERIES).inverse(SERIES[:, 0]),
            ValueError,
            r"the 3 features that were .*; for one of them take Scaler\(mean",
        ),
        (lambda: Scaler().fit([[np.nan, 1.0]]), ValueError, "has 1 numbers that are not finite"),
        (lambda: Scaler().fit(np.zeros((0, 2))), ValueError, r"fitted has the shape \(0, 2\)"),
        (lambda: Scaler().fit(SERIES, [1.0]), ValueError, r"sample_weight should have shape"),
        (lambda: Scaler().fit([1.0, 2.0], [0, 0]), ValueError, "not all 0"),
        (lambda: Scaler().fit([1.0, 2.0], [2, -1]), ValueError, "sample_weight .* at least 0"),
        (lambda: Scaler(mean=0.0), TypeError, "mean and scale belong together"),
        (lambda: Scaler(0.0, 0.0), ValueError, "scale above 0"),
        (lambda: Scaler([0.0, 1.0], 1.0), ValueError, "of one shape"),
    ],
)
def test_wrong_scalers(act, kind, message):
    with pytest.raises(kind, match=message):
        act()


def test_windows_of_whole_numbers_are_exact():
    x, y = windows(np.arange(2**40, 2**40 + 6), 3)
    assert x[2, :, 0].tolist() == [2**40 + 2, 2**40 + 3, 2**40 + 4]
    assert y[2, 0] == 2**40 + 5


@pytest.mark.parametrize("value", [0.1, 1e8 + 0.1, -1 / 3])
def test_a_feature_that_never_changes_has_the_scale_1(value):
    scaler = Scaler().fit(np.full((100, 1), value))  # its rounded mean leaves a deviation
    assert (scaler.mean, scaler.scale) == (value, 1)


def test_what_a_scaler_cannot_fit():
    with pytest.raises(ValueError, match=r"fitted has the shape \(\)"):
        Scaler().fit(5.0)
    with pytest.raises(ValueError, match=r"fitted has the shape \(4, 0\)"):
        Scaler().fit(np.ones((4, 0)))
