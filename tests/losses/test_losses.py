"""Losses: by hand, under masks, at the ends of the number range, and with wrong targets."""

import math

import numpy as np
import pytest

import minirnn as m
from tests.contract import helpers
from tests.contract.losses import LOSSES

CASES = pytest.mark.parametrize("case", LOSSES, ids=str)
CROSS_ENTROPIES = pytest.mark.parametrize("kind", [m.SoftmaxCrossEntropy, m.CrossEntropy])


def _log_softmax(row):
    total = sum(math.exp(v) for v in row)
    return [v - math.log(total) for v in row]


# ---------------------------------------------------------------- by hand

LOGITS = [[0.5, -1.0, 2.0], [3.0, 0.0, -2.0]]
CLASSES = [2, 1]
SOFT = [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]


def _softmax_loss(target):
    rows = [_log_softmax(row) for row in LOGITS]
    return -sum(t * lp for ts, lps in zip(target, rows, strict=True) for t, lp in zip(ts, lps)) / 2  # noqa: B905


def test_softmax_cross_entropy_by_hand():
    loss = m.SoftmaxCrossEntropy()
    expected = -(_log_softmax(LOGITS[0])[2] + _log_softmax(LOGITS[1])[1]) / 2
    assert loss.forward(np.array(LOGITS), CLASSES) == pytest.approx(expected, rel=1e-14)
    grad = [[math.exp(v) / 2 for v in _log_softmax(row)] for row in LOGITS]
    grad[0][2] -= 0.5
    grad[1][1] -= 0.5
    np.testing.assert_allclose(loss.backward(), grad, rtol=1e-13)


def test_soft_targets_by_hand():
    loss = m.SoftmaxCrossEntropy()
    assert loss.forward(np.array(LOGITS), SOFT) == pytest.approx(_softmax_loss(SOFT), rel=1e-14)
    one_hot = m.data.one_hot(CLASSES, 3)
    soft = loss.forward(np.array(LOGITS), one_hot)
    assert soft == pytest.approx(loss.forward(np.array(LOGITS), CLASSES), rel=1e-14)


NUMBERS = np.array([0.5, 0.25, 0.125])
RIGHT = np.array([1.0, 0.0, 0.5])


@pytest.mark.parametrize(
    "loss",
    [
        m.MeanSquaredError(),
        m.MeanAbsoluteError(),
        m.Huber(0.3),
        m.SigmoidCrossEntropy(),
        m.BinaryCrossEntropy(),
    ],
    ids=lambda loss: type(loss).__name__,
)
@pytest.mark.parametrize("mask", [None, np.array([True, False, True])], ids=["all", "some"])
@pytest.mark.parametrize("weight", [None, [3.0, 2.0, 1.0]], ids=["alike", "weighted"])
def test_one_number_a_sequence_is_one_feature(loss, mask, weight):
    value = loss.forward(NUMBERS, RIGHT, mask, weight)
    grad, counted = loss.backward(), loss.batch_weight
    assert value == loss.forward(NUMBERS[:, None], RIGHT[:, None], mask, weight)
    assert counted == loss.batch_weight
    np.testing.assert_array_equal(grad, loss.backward()[:, 0])


def test_squared_error_of_one_number_a_sequence_by_hand():
    loss = m.MeanSquaredError()
    assert loss.forward([3.0, 1.0], [1.0, 1.0]) == 2.0
    np.testing.assert_array_equal(loss.backward(), [2.0, 0.0])


@CROSS_ENTROPIES
def test_classes_have_an_axis(kind):
    with pytest.raises(ValueError, match=r"should be \(batch, outputs\) or .*, got shape \(2,\)"):
        kind().forward(np.array([0.5, 0.5]), np.array([0.0, 1.0]))


def test_cross_entropy_by_hand():
    p = np.array([[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]])
    loss = m.CrossEntropy()
    expected = -(math.log(0.3) + math.log(0.05)) / 2
    assert loss.forward(p, CLASSES) == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(loss.backward(), [[0, 0, -0.5 / 0.3], [0, -0.5 / 0.05, 0]])
    expected = -(0.2 * math.log(0.2) + 0.3 * math.log(0.5) + 0.5 * math.log(0.3)) / 2
    assert loss.forward(p, SOFT) == pytest.approx(expected - math.log(0.9) / 2, rel=1e-14)


def test_sigmoid_cross_entropy_by_hand():
    x, t = [[0.5, -1.0], [2.0, 0.0]], [[1, 0], [0.25, 1]]
    p = [[1 / (1 + math.exp(-v)) for v in row] for row in x]
    terms = [
        a * math.log(b) + (1 - a) * math.log(1 - b)
        for ts, ps in zip(t, p, strict=True)
        for a, b in zip(ts, ps, strict=True)
    ]
    loss = m.SigmoidCrossEntropy()
    assert loss.forward(np.array(x), t) == pytest.approx(-sum(terms) / 4, rel=1e-14)
    np.testing.assert_allclose(loss.backward(), (np.array(p) - t) / 4, rtol=1e-13)


def test_mean_squared_error_by_hand():
    loss = m.MeanSquaredError()
    assert loss.forward([[1.0, 2.0], [3.0, 5.0]], [[0, 2], [3, 1]]) == (1 + 16) / 4
    np.testing.assert_array_equal(loss.backward(), [[0.5, 0], [0, 2]])


def test_softmax_and_cross_entropy_are_softmax_cross_entropy():
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(3, 4, 5)), rng.integers(0, 5, (3, 4))
    softmax, split, joint = m.Softmax(), m.CrossEntropy(), m.SoftmaxCrossEntropy()
    value = split.forward(softmax.forward(x), target)
    assert value == pytest.approx(joint.forward(x, target), rel=1e-13)
    np.testing.assert_allclose(softmax.backward(split.backward()), joint.backward(), atol=1e-15)


# ---------------------------------------------------------------- masks


@CASES
@pytest.mark.parametrize("filling", [np.nan, np.inf, -1e30])
def test_a_masked_loss_is_the_loss_of_the_valid_steps(case, filling):
    loss = case.make()
    prediction, target = case.draw((3, 4))
    mask = helpers.make_mask("empty row", 3, 4) & helpers.make_mask("gaps", 3, 4)
    dirty = helpers.with_padding(prediction, mask, filling)
    if target.dtype.kind == "f":
        dirty_target = helpers.with_padding(target, mask, filling)
    else:
        dirty_target = helpers.with_padding(target, mask, -100)
    value = loss.forward(dirty, dirty_target, mask)
    grad = loss.backward()
    assert value == pytest.approx(loss.forward(prediction[mask], target[mask]), rel=1e-13)
    np.testing.assert_allclose(grad[mask], loss.backward(), rtol=1e-12)
    assert np.all(grad[~mask] == 0)


@CASES
def test_nothing_given_or_returned_is_changed(case):
    loss = case.make()
    prediction, target = case.draw((3, 4))
    mask = helpers.make_mask("gaps", 3, 4)
    arrays = [prediction, target, mask]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    loss.forward(prediction, target, mask)
    grad = loss.backward()
    kept = grad.copy()
    np.testing.assert_array_equal(loss.backward(), kept)
    assert loss.backward() is not grad
    loss.forward(*case.draw((3, 4), seed=1))
    loss.backward()
    np.testing.assert_array_equal(grad, kept)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@CASES
def test_after_last_step_a_mask_is_refused_even_if_its_shape_fits(case):
    """Batch 4, time 5, and by chance 5 outputs: the mask (4, 5) has the prediction's shape."""
    loss = case.make()
    prediction, target = case.draw((4,))
    assert prediction.shape == (4, 5)
    with pytest.raises(ValueError, match=r"mask of shape \(4, 5\).*without a time axis.*LastStep"):
        loss.forward(prediction, target, np.ones((4, 5), bool))


@CASES
def test_a_mask_without_a_valid_step_has_no_mean(case):
    prediction, target = case.draw((2, 3))
    with pytest.raises(ValueError, match="the mask has no valid step"):
        case.make().forward(prediction, target, np.zeros((2, 3), bool))


# ---------------------------------------------------------------- extremes


@pytest.mark.parametrize("size", [1e4, 3e38])
def test_softmax_cross_entropy_is_finite_for_finite_logits(size):
    loss = m.SoftmaxCrossEntropy()
    logits = np.array([[size, -size, 0], [size, -size, 0]], np.float32)
    value = loss.forward(logits, [0, 1])
    assert value == pytest.approx(float(np.float32(size)), rel=1e-6)  # (0 + 2 size) / 2
    np.testing.assert_allclose(loss.backward(), [[0, 0, 0], [0.5, -0.5, 0]], atol=1e-7)


@pytest.mark.parametrize("size", [1e4, 3e38])
def test_sigmoid_cross_entropy_is_finite_for_finite_logits(size):
    loss = m.SigmoidCrossEntropy()
    value = loss.forward(np.array([[size, -size], [size, -size]], np.float32), [[1, 0], [0, 1]])
    assert value == pytest.approx(float(np.float32(size)) / 2, rel=1e-6)
    np.testing.assert_allclose(loss.backward(), [[0, 0], [0.25, -0.25]], atol=1e-7)


def test_a_probability_of_zero_gives_a_large_but_finite_loss():
    loss = m.CrossEntropy()
    value = loss.forward(np.array([[1.0, 0.0]], np.float32), [1])
    assert value == pytest.approx(-math.log(float(np.finfo(np.float32).tiny)), rel=1e-6)
    assert np.isfinite(loss.backward()).all()
    assert loss.forward(np.array([[1.0, 0.0]], np.float32), [0]) == 0


@CASES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_value_is_a_float_and_the_gradient_of_the_predictions_dtype(case, dtype):
    loss = case.make()
    prediction, target = case.draw((3, 4))
    value = loss.forward(prediction.astype(dtype), target, helpers.make_mask("gaps", 3, 4))
    assert type(value) is float
    assert loss.backward().dtype == dtype


def test_a_long_float32_mean_is_added_up_without_drift():
    x = np.full((1, 300_000, 1), 0.1, np.float32)
    value = m.MeanSquaredError().forward(x, np.zeros_like(x))
    assert value == pytest.approx(float(np.float32(0.1)) ** 2, rel=1e-7)


# ---------------------------------------------------------------- wrong targets


@CROSS_ENTROPIES
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.zeros((2, 4), int), ValueError, r"classes of shape \(2, 3\).*got shape \(2, 4\)"),
        (np.zeros((3, 2), int), ValueError, r"classes of shape \(2, 3\).*got shape \(3, 2\)"),
        (np.zeros((2, 3, 1), int), ValueError, r"drop the last axis, target\[\.\.\., 0\]"),
        (
            np.zeros(2, int),
            ValueError,
            r"got shape \(2,\); .*is LastStep\(\) or LastState\(\) miss",
        ),
        (np.zeros((2, 3, 4)), ValueError, r"prediction's shape \(2, 3, 5\), got shape \(2, 3, 4\)"),
        (np.zeros(5), ValueError, r"got shape \(5,\)"),
        (np.full((2, 3), 5), ValueError, r"should be in 0\.\.4.*got 5 at position \(0, 0\)"),
        (np.full((2, 3), -1), ValueError, r"got -1 at position \(0, 0\)"),
        (np.zeros((2, 3)), TypeError, r"integers in 0\.\.4.*float64; .*astype\(int\)"),
        (np.full((2, 3, 5), -0.1), ValueError, "should not be negative, got -0.1"),
        (None, TypeError, "the target should be an array, got None"),
        (np.full((2, 3), "a"), TypeError, "integers"),
    ],
)
def test_wrong_class_targets(kind, target, error, message):
    loss = kind()
    prediction = np.full((2, 3, 5), 0.2)
    loss.forward(prediction, np.zeros((2, 3), int))
    before = loss.backward()
    with pytest.raises(error, match=f"^{kind.__name__}: .*{message}"):
        loss.forward(prediction, target)
    np.testing.assert_array_equal(loss.backward(), before)


@pytest.mark.parametrize("kind", [m.MeanSquaredError, m.SigmoidCrossEntropy])
@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 5), (5,), (), (2, 3, 1)], ids=str)
def test_no_target_is_broadcast(kind, shape):
    with pytest.raises(ValueError, match=rf"{kind.__name__}: the target .*\(2, 3, 5\), got \("):
        kind().forward(np.zeros((2, 3, 5)), np.zeros(shape))


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match=r"SigmoidCrossEntropy: targets.*0\.\.1.*from -1 to 2"):
        m.SigmoidCrossEntropy().forward(np.zeros((1, 2)), [[-1, 2]])
    with pytest.raises(ValueError, match=r"CrossEntropy: .*from -1 to 2; for logits take Softmax"):
        m.CrossEntropy().forward(np.array([[-1.0, 2.0]]), [0])


@CASES
def test_wrong_predictions_and_order(case):
    loss = case.make()
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        loss.backward()
    with pytest.raises(ValueError, match=r"\(batch, outputs\).*got shape \(\)"):
        loss.forward(0.2, 0)
    with pytest.raises(ValueError, match=r"the prediction is empty, shape \(0, 5\)"):
        loss.forward(np.zeros((0, 5)), np.zeros(0, int))
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        loss.backward()


@pytest.mark.parametrize("loss_type", [m.SoftmaxCrossEntropy, m.CrossEntropy])
def test_a_prediction_may_have_any_memory_order(loss_type):
    prediction = np.random.default_rng(0).dirichlet(np.ones(3), (4, 5))
    target = np.random.default_rng(1).integers(3, size=(4, 5))
    others = [np.asfortranarray(prediction), prediction[::-1].copy()[::-1]]
    for mask in (None, np.arange(5) < np.array([[5], [2], [3], [1]])):
        loss = loss_type()
        expected = loss.forward(prediction, target, mask), loss.backward()
        for other in others:
            assert loss.forward(other, target, mask) == expected[0]
            np.testing.assert_array_equal(loss.backward(), expected[1])


@pytest.mark.parametrize(
    "loss", [m.MeanSquaredError(), m.SigmoidCrossEntropy(), m.MeanAbsoluteError(), m.Huber()]
)
def test_a_target_without_the_last_axis_is_told_how_to_get_it(loss):
    with pytest.raises(ValueError, match=r"shape \(4, 1\), got \(4,\); .*target\[\.\.\., None\]$"):
        loss.forward(np.zeros((4, 1)), np.zeros(4))
    with pytest.raises(ValueError, match=r"shape \(4, 2\), got \(4,\)$"):
        loss.forward(np.zeros((4, 2)), np.zeros(4))


def test_a_target_at_each_step_for_one_prediction_a_sequence():
    with pytest.raises(ValueError, match=r"got shape \(4, 5\); there is a target at each step"):
        m.SoftmaxCrossEntropy().forward(np.zeros((4, 3)), np.zeros((4, 5), int))
