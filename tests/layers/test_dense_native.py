"""Dense in native code gives the numbers of that in NumPy."""

import numpy as np
import pytest

from minirnn import Dense, engine

pytestmark = pytest.mark.skipif(engine.native() is None, reason="the native engine was not built")
SIZES = [(1, 1), (3, 2), (16, 2), (2, 16), (7, 17), (32, 10), (33, 48), (100, 80), (5, 300)]


def run(layer, x, grad, which):
    """Return everything that forward and backward compute, the gradients added to ones."""
    with engine.use(which):
        for parameter in layer.parameters():
            parameter.grad = np.ones(parameter.shape)
        found = [layer.forward(x), layer.backward(grad)]
        layer.backward_parameters(grad)
        return found + [parameter.grad.copy() for parameter in layer.parameters()]


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-6)])
@pytest.mark.parametrize("leading", [(1,), (2, 1), (2, 3), (300,), (13, 41)], ids=str)
def test_the_same_numbers(sizes, dtype, tolerance, leading):
    rng = np.random.default_rng(0)
    layer = Dense(*sizes, bias=sizes[0] != 3, rng=rng, dtype=dtype)
    x, grad = (rng.standard_normal((*leading, n)).astype(dtype) for n in sizes)
    for a, b in zip(run(layer, x, grad, "auto"), run(layer, x, grad, "off"), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


def test_arrays_of_other_memory_orders():
    rng = np.random.default_rng(0)
    layer = Dense(4, 5, rng=rng, dtype=np.float64)
    x, grad = rng.standard_normal((6, 3, 4)), rng.standard_normal((6, 3, 5))
    expected = run(layer, x, grad, "auto")
    for turned in (np.asfortranarray, lambda a: a[::-1].copy()[::-1], lambda a: a.astype(">f8")):
        for a, b in zip(run(layer, turned(x), turned(grad), "auto"), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
def test_no_rows_at_all(shape):
    layer = Dense(4, 5)
    found = run(layer, np.ones(shape), np.ones((*shape[:-1], 5)), "auto")
    assert [a.shape for a in found[:2]] == [(*shape[:-1], 5), shape]
    assert all((a == 1).all() for a in found[2:])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_go_through(bad):
    rng = np.random.default_rng(0)
    layer = Dense(4, 5, rng=rng)
    x, grad = rng.standard_normal((8, 4)), rng.standard_normal((8, 5))
    x[2, 1], grad[5, 3] = bad, bad
    with np.errstate(invalid="ignore"):
        found, expected = (run(layer, x, grad, which) for which in ("auto", "off"))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_array_equal(np.isinf(a), np.isinf(b))


def test_forward_reads_and_writes_nothing_else():
    x, W, b = np.ones((6, 4), np.float32), np.ones((4, 3), np.float32), np.ones(3, np.float32)
    y = np.full((6, 3), 7, np.float32)
    read_only = y.copy()
    read_only.flags.writeable = False
    good = [x, W, b, y]
    wrong = [
        (0, [x[:5], x[:, :3], x.astype(float), x[::2], x[0], None]),
        (1, [W.T, W[:3], W.astype(float), W[None], W[:, :2]]),
        (2, [b[:2], b[None], b.astype(float)]),
        (3, [y[:5], y[:, :2], y.T, y[None], read_only, None]),
    ]
    for k, others in wrong:
        for other in others:
            assert engine.native().affine(*good[:k], other, *good[k + 1 :], 1) is None
    assert (y == 7).all()
    with pytest.raises(TypeError, match="5 arguments"):
        engine.native().affine(*good)
    assert engine.native().affine(*good, 1) is True
    assert (y == 5).all()


@pytest.mark.parametrize("sizes", [(300, 7), (7, 300), (260, 260)], ids=str)
def test_several_threads_share_the_rows_and_the_weights(sizes):
    rng = np.random.default_rng(0)
    layer = Dense(*sizes, rng=rng, dtype=np.float64)
    x, grad = (rng.standard_normal((1201, n)) for n in sizes)
    expected = run(layer, x, grad, "off")
    for threads in (1, 2, 3, 7):
        with engine.use(threads=threads):
            once, again = (run(layer, x, grad, "auto") for _ in range(2))
        for a, b, c in zip(once, again, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(a, c, rtol=0, atol=1e-12 * np.abs(c).max())


def test_backward_reads_and_writes_nothing_else():
    x, grad, W = np.ones((6, 4), np.float32), np.ones((6, 3), np.float32), np.ones((4, 3), "f")
    out = [np.full(shape, 7, np.float32) for shape in ((4, 3), (3,), (6, 4))]
    good = [x, grad, W, *out]
    wrong = [
        (0, [x[:5], x[:, :3], x.astype(float), x[::2], None]),
        (1, [grad[:5], grad[:, :2], grad.astype(float), None]),
        (2, [W.T, W[:3], W.astype(float), None]),
        (3, [out[0].T, out[0][:3], out[0].astype(float), None]),
        (4, [out[1][:2], out[1][None]]),
        (5, [out[2][:5], out[2].T, out[2][None]]),
    ]
    for k, others in wrong:
        for other in others:
            assert engine.native().affine_backward(*good[:k], other, *good[k + 1 :], 1) is None
    assert all((a == 7).all() for a in out)
    with pytest.raises(TypeError, match="7 arguments"):
        engine.native().affine_backward(*good)
    assert engine.native().affine_backward(*good, 1) is True
    assert [a.flat[0] for a in out] == [13, 13, 3]
