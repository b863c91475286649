"""BLAS has one thread inside the block, all of them for large products, the old number after."""

from __future__ import annotations

import numpy as np
import pytest

from minirnn.kernels import threads


class FakeBlas:
    def __init__(self, count):
        self.count = count
        self.calls = []

    def get(self):
        return self.count

    def set(self, count):
        self.calls.append(count)
        self.count = count


@pytest.fixture
def blas(monkeypatch):
    fake = FakeBlas(4)
    monkeypatch.setattr(threads, "_blas", lambda: fake)
    return fake


def test_one_thread_inside_and_the_old_number_after(blas):
    with threads.one_blas_thread:
        assert blas.count == 1
        with threads.one_blas_thread:
            assert blas.count == 1
        assert blas.count == 1, "the outer block is not over"
    assert blas.count == 4
    assert blas.calls == [1, 4], "set once each way"


def test_an_error_restores_the_number(blas):
    def fail():
        with threads.one_blas_thread:
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert blas.count == 4
    with threads.one_blas_thread:
        assert blas.count == 1


def test_a_process_with_one_thread_is_left_alone(blas):
    blas.count = 1
    with threads.one_blas_thread:
        threads.dot(np.ones((1000, 400), np.float32), np.ones((400, 300), np.float32))
    assert blas.calls == []


@pytest.mark.parametrize(("rows", "calls"), [(10, [1, 4]), (1000, [1, 4, 1, 4])])
def test_only_large_products_get_all_threads(blas, rows, calls):
    a, b = np.ones((rows, 400), np.float32), np.ones((400, 300), np.float32)
    out = np.empty((rows, 300), np.float32)
    with threads.one_blas_thread:
        assert threads.dot(a, b, out) is out
    assert blas.calls == calls
    np.testing.assert_array_equal(out, np.full((rows, 300), 400))


def test_without_a_blas_that_can_be_asked_nothing_happens(monkeypatch):
    monkeypatch.setattr(threads, "_blas", lambda: None)
    with threads.one_blas_thread:
        assert threads.dot(np.ones((2, 3)), np.ones((3, 2)))[0, 0] == 3


def test_numpys_own_blas_is_heard():
    blas = threads._blas()
    if blas is None or blas.get() == 1:
        pytest.skip("one thread only, or a BLAS that cannot be asked")
    before = blas.get()
    with threads.one_blas_thread:
        assert blas.get() == 1
    assert blas.get() == before
