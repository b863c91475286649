"""The norm and Adam in native code give the numbers of those in NumPy."""

import numpy as np
import pytest

from minirnn import SGD, Adam, AdamW, Parameter, engine

pytestmark = pytest.mark.skipif(engine.native() is None, reason="the native engine was not built")


def trained(which, kind, dtype, size, steps=20, **options):
    rng = np.random.default_rng(0)
    parameters = [Parameter(rng.standard_normal(n).astype(dtype)) for n in (size, 1)]
    optimizer = kind(parameters, 0.01, **options)
    with engine.use(which):
        for _ in range(steps):
            for parameter in parameters:
                parameter.grad = rng.standard_normal(parameter.shape)
            optimizer.step()
    state = optimizer._buffers[0]
    return [state.values, *state.slots.values(), np.array([optimizer.grad_norm])]


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("size", [1, 7, 16, 333])
@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-6)])
def test_the_same_numbers(size, kind, dtype, tolerance):
    options = {"clip_norm": 0.5, "weight_decay": 0.1, "betas": (0.8, 0.99)}
    found, expected = (trained(w, kind, dtype, size, **options) for w in ("auto", "off"))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


def test_amsgrad_is_numpys():
    found, expected = (trained(w, Adam, np.float32, 9, amsgrad=True) for w in ("auto", "off"))
    for a, b in zip(found[:-1], expected[:-1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_norm_of_large_gradients(dtype):
    for which in ("auto", "off"):
        w = Parameter(np.zeros(40, dtype))
        optimizer = Adam([w], 0.1, clip_norm=1.0)
        with engine.use(which):
            w.grad = np.full(40, 1e25)
            optimizer.step()
            assert optimizer.grad_norm == pytest.approx(1e25 * np.sqrt(40), rel=1e-6)


@pytest.mark.parametrize("which", ["auto", "off"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 16, 32])
def test_a_gradient_that_is_not_finite_is_refused(which, bad, place):
    w = Parameter(np.zeros(33))
    optimizer = Adam([w], 0.1)
    w.grad[place] = bad
    with engine.use(which):
        assert not optimizer.gradients_are_finite()
        with pytest.raises(FloatingPointError, match="no parameter was changed"):
            optimizer.step()
    assert not w.value.any()


def test_finite_gradients_whose_squares_are_not():
    w = Parameter(np.zeros(20))
    optimizer = SGD([w], 0.1)
    w.grad = np.full(20, 1e200)
    assert optimizer.gradients_are_finite()
    optimizer.step()
    assert optimizer.grad_norm == np.inf


def test_adam_reads_and_writes_nothing_else():
    value, grad, m, v = (np.full(5, 7, np.float32) for _ in range(4))
    numbers = [0.9, 0.99, 0.1, 1e-8, 1]
    good = [value, grad, m, v]
    read_only = value.copy()
    read_only.flags.writeable = False
    adam = engine.native().adam
    for k in range(4):
        wrong = [good[k][:4], good[k].astype(float), good[k][None], good[k][::-1], None]
        for other in wrong + ([] if k == 1 else [read_only]):
            assert adam(*good[:k], other, *good[k + 1 :], *numbers) is None
    assert adam(*good, *numbers[:3], "a", 1) is None
    assert all((array == 7).all() for array in good)
    with pytest.raises(TypeError, match="9 arguments"):
        adam(*good)
    assert adam(*good, *numbers) is True
    assert value[0] == pytest.approx(7 - 0.1 * 13.3 / np.sqrt(0.99 * 7 + 49), rel=1e-6)


def test_squares_of_other_things():
    squares = engine.native().squares
    assert squares(np.arange(20.0), 1) == np.dot(np.arange(20), np.arange(20))
    assert squares(np.arange(20.0, dtype=np.float32), 1) == 2470
    for other in (np.arange(3), np.ones(6)[::2], [1.0], None, np.ones(3, ">f8")):
        assert squares(other, 1) is None


def test_several_threads_share_the_numbers():
    with engine.use(threads=1):
        expected = trained("auto", Adam, np.float64, 200_001, steps=2, clip_norm=0.5)
    for threads in (2, 3):
        with engine.use(threads=threads):
            once, again = (
                trained("auto", Adam, np.float64, 200_001, steps=2, clip_norm=0.5) for _ in range(2)
            )
        for a, b, c in zip(once, again, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(a, c, rtol=0, atol=1e-12 * np.abs(c).max())
