"""The softmax cross-entropy in native code gives the numbers of that in NumPy."""

import numpy as np
import pytest

from minirnn import SoftmaxCrossEntropy, engine

pytestmark = pytest.mark.skipif(engine.native() is None, reason="the native engine was not built")
SHAPES = [(1, 1), (7, 2), (3, 4, 3), (5, 16), (4, 3, 17), (2, 33), (2, 5, 300)]


@pytest.fixture(params=engine.native().instruction_sets() if engine.native() else ["none"])
def _instruction_set(request):
    before = engine.native().instruction_set()
    engine.native().instruction_set(request.param)
    yield
    engine.native().instruction_set(before)


def both(prediction, target, mask=None):
    found = []
    for which in ("auto", "off"):
        loss = SoftmaxCrossEntropy()
        with engine.use(which):
            found.append((loss.forward(prediction, target, mask), loss.backward()))
    return found


@pytest.mark.usefixtures("_instruction_set")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 2e-6)])
def test_the_same_numbers(shape, dtype, tolerance):
    rng = np.random.default_rng(0)
    logits = np.asfortranarray((20 * rng.standard_normal(shape)).astype(dtype))
    target = rng.integers(shape[-1], size=shape[:-1])[..., None][..., 0]
    mask = rng.random(shape[:2]) < 0.7 if len(shape) == 3 else None
    (loss, grad), (expected, expected_grad) = both(logits, target, mask)
    assert loss == pytest.approx(expected, rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(grad, expected_grad, rtol=0, atol=tolerance)
    assert grad.dtype == dtype


def test_large_and_infinite_logits():
    logits = np.array([[1e30, -1e30, 0], [-np.inf, 3, 3], [88, 89, -200]], np.float32)
    (loss, grad), (expected, expected_grad) = both(logits, np.array([0, 1, 2]))
    assert loss == pytest.approx(expected)
    np.testing.assert_allclose(grad, expected_grad, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_not_in_either(bad):
    found = []
    for which in ("auto", "off"):
        with engine.use(which), np.errstate(invalid="ignore"):
            found.append(SoftmaxCrossEntropy().forward(np.array([[0, bad], [1, 2.0]]), [1, 0]))
    assert not np.isfinite(found).any()


def test_the_native_function_reads_and_writes_nothing_else():
    x, e = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
    classes, rows = np.zeros(2, np.int64), np.zeros((2, 2), np.float32)
    good = [x, classes, e, rows[0], rows[1]]
    engine.native().softmax(*good)
    wrong = {0: x[:1], 1: classes + 3, 2: e.astype(float), 3: rows[0, :1], 4: rows[1, :0]}
    for k, array in wrong.items():
        with pytest.raises(ValueError, match="softmax"):
            engine.native().softmax(*good[:k], array, *good[k + 1 :])
    with pytest.raises(ValueError, match="softmax"):
        engine.native().softmax(x, classes - 1, *good[2:])
    with pytest.raises(TypeError, match="five"):
        engine.native().softmax(*good[:4])
