"""The softmax cross-entropy in native code gives the numbers of that in NumPy."""

import numpy as np
import pytest

from minirnn import SoftmaxCrossEntropy, engine

pytestmark = pytest.mark.skipif(engine.native() is None, reason="the native engine was not built")
SHAPES = [(1, 1), (7, 2), (3, 4, 3), (5, 16), (4, 1, 8), (4, 3, 17), (2, 33), (2, 5, 300), (2, 900)]


def both(prediction, target, mask=None, weights=None, **keywords):
    """Return loss, weight and gradient by native code, and by NumPy."""
    found = []
    for which in ("auto", "off"):
        loss = SoftmaxCrossEntropy(**keywords)
        with engine.use(which):
            value = loss.forward(prediction, target, mask, weights)
            assert isinstance(loss._cache[0], np.ndarray) == (which == "auto")  # native, or not
            found.append((value, loss.batch_weight, loss.backward()))
    return found


def problem(shape, dtype):
    rng = np.random.default_rng(0)
    logits = (20 * rng.standard_normal(shape)).astype(dtype)
    return logits, rng.integers(shape[-1], size=shape[:-1]), rng.random(shape[:-1])


def agree(results, tolerance):
    (loss, weight, grad), (expected, expected_weight, expected_grad) = results
    assert loss == pytest.approx(expected, rel=tolerance, abs=tolerance)
    assert weight == pytest.approx(expected_weight, rel=1e-14)
    np.testing.assert_allclose(grad, expected_grad, rtol=0, atol=tolerance)
    assert grad.dtype == expected_grad.dtype


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-6)])
def test_the_same_numbers(shape, dtype, tolerance):
    logits, target, numbers = problem(shape, dtype)
    agree(both(logits, target), tolerance)
    agree(both(logits, target, None, numbers), tolerance)
    agree(both(logits, target, None, numbers.reshape(shape[0], -1)[:, 0].copy()), tolerance)
    agree(both(np.asfortranarray(logits), target[..., None].astype(np.int32)[..., 0]), tolerance)
    if len(shape) == 3:
        mask = numbers < 0.7
        mask[0, 0] = True
        agree(both(logits, target, mask), tolerance)
        agree(both(logits, target, mask, 3 * numbers), tolerance)
        agree(both(logits, target, mask, ignore_class=int(target[-1, -1]) + 7), tolerance)


def test_a_mask_that_is_no_plain_array_is_looked_at_as_ever():
    logits, target, _ = problem((2, 3, 4), np.float64)
    hidden = np.ma.masked_array(np.ones((2, 3), bool), mask=[[0, 1, 0], [0, 0, 0]])
    with pytest.raises(TypeError, match="the mask is a masked array, and what it hides would be"):
        SoftmaxCrossEntropy().forward(logits, target, hidden)
    with pytest.raises(ValueError, match="the mask is not a rectangular array"):
        SoftmaxCrossEntropy().forward(logits, target, [[True], [True, False]])


@pytest.mark.parametrize("ignored", [2, -100])
def test_an_ignored_class(ignored):
    logits, target, numbers = problem((6, 5, 4), np.float64)
    mask = numbers > 0.3
    target = np.where(numbers > 0.8, ignored, target)
    agree(both(logits, target, mask, ignore_class=ignored), 1e-13)
    agree(both(logits, target, None, numbers, ignore_class=ignored), 1e-13)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_stands_in_the_padding_is_ignored(bad):
    logits, target, numbers = problem((4, 5, 3), np.float32)
    mask = numbers < 0.6
    clean = both(logits, target, mask)[0]
    logits[~mask], target[~mask] = bad, 99
    loss, _, grad = both(logits, target, mask)[0]
    assert loss == clean[0]
    np.testing.assert_array_equal(grad, clean[2])
    assert not grad[~mask].any()


def test_large_and_infinite_logits():
    logits = np.array([[1e30, -1e30, 0], [-np.inf, 3, 3], [88, 89, -200]], np.float32)
    agree(both(logits, np.array([0, 1, 2])), 1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("classes", [2, 40])
def test_a_loss_that_is_not_finite_is_not_in_either(bad, classes):
    logits = np.ones((3, classes))
    logits[1, classes - 1] = bad
    found = []
    for which in ("auto", "off"):
        with engine.use(which), np.errstate(invalid="ignore"):
            found.append(SoftmaxCrossEntropy().forward(logits, np.array([1, 0, 1])))
    assert not np.isfinite(found).any()


def test_a_gradient_is_a_new_array_at_each_call():
    loss = SoftmaxCrossEntropy()
    loss.forward(np.zeros((2, 3)), np.array([0, 1]))
    first = loss.backward()
    first[:] = 7
    assert loss.backward().sum() == pytest.approx(0)


WRONG = [
    (np.zeros((2, 3)), np.array([0, 3]), None, None, ValueError),
    (np.zeros((2, 3)), np.array([0, -1]), None, None, ValueError),
    (np.zeros((2, 3)), np.array([0, 2**64 - 1], np.uint64), None, None, ValueError),
    (np.zeros((2, 3)), np.array([0, 1, 1]), None, None, ValueError),
    (np.zeros((2, 3)), np.array([0.0, 1.0]), None, None, TypeError),
    (np.zeros((2, 3)), np.array([0, 1]), None, np.array([1.0, -1.0]), ValueError),
    (np.zeros((2, 3)), np.array([0, 1]), None, np.array([1.0, np.nan]), ValueError),
    (np.zeros((2, 3)), np.array([0, 1]), None, np.ones(3), ValueError),
    (np.zeros((2, 4, 3)), np.zeros((2, 4), int), np.zeros((2, 4), bool), None, ValueError),
    (np.zeros((2, 4, 3)), np.zeros((2, 4), int), np.ones((4, 2), bool), None, ValueError),
    (np.zeros((2, 4, 3)), np.zeros((2, 4), int), np.ones((2, 4)), None, TypeError),
    (np.zeros((0, 3)), np.zeros(0, int), None, None, ValueError),
]


@pytest.mark.parametrize(("logits", "target", "mask", "weights", "kind"), WRONG)
def test_wrong_calls_are_answered_alike(logits, target, mask, weights, kind):
    told = []
    for which in ("auto", "off"):
        with engine.use(which), pytest.raises(kind) as caught:
            SoftmaxCrossEntropy().forward(logits, target, mask, weights)
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_the_native_function_reads_and_writes_nothing_else():
    x, grad = np.ones((2, 4, 3), np.float32), np.full((2, 4, 3), 7, np.float32)
    classes, mask, weights = np.zeros((2, 4), np.int64), np.ones((2, 4), bool), np.ones(2)
    good = [x, classes, mask, weights, None, grad]
    read_only = grad.copy()
    read_only.flags.writeable = False
    wrong = [
        (0, [x[:1], x[..., :2], x.astype(float), x[::-1], [[1.0]], None]),
        (1, [classes + 3, classes - 1, classes[:1], classes.astype(np.int32), classes[0], None]),
        (2, [mask[:1], mask.T, mask.astype(int), mask[0]]),
        (3, [weights[:1], weights.astype(np.float32), -weights, weights[:, None], np.ones((4, 2))]),
        (4, ["a", [1]]),
        (5, [grad[:1], grad.astype(float), np.asfortranarray(grad), read_only, None]),
    ]
    call = engine.native().cross_entropy
    for k, others in wrong:
        for other in others:
            assert call(*good[:k], other, *good[k + 1 :], 1) is None
    assert (grad == 7).all()
    with pytest.raises(TypeError, match="7 arguments"):
        call(*good)
    assert call(*good, 1) == (pytest.approx(np.log(3)), 8)


def test_several_threads_share_the_rows():
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal((301, 7, 40)), rng.integers(40, size=(301, 7))
    mask, found = rng.random((301, 7)) < 0.8, []
    for threads in (1, 2, 3, 3):
        with engine.use(threads=threads):
            loss = SoftmaxCrossEntropy()
            found.append((loss.forward(logits, target, mask), loss.backward()))
    for value, grad in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-12)
        np.testing.assert_array_equal(grad, found[0][1])
    assert found[2][0] == found[3][0]
