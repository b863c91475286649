"""BLAS has one thread inside the block, and the old number after, whatever happens."""

from __future__ import annotations

import os
from threading import Thread

import numpy as np
import pytest

import minirnn as m
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
    with threads.one_blas_thread():
        assert blas.count == 1
        with threads.one_blas_thread():
            assert blas.count == 1
        assert blas.count == 1, "the outer block is not over"
    assert blas.count == 4
    assert blas.calls == [1, 4], "set once each way"


def test_an_error_restores_the_number(blas):
    def fail():
        with threads.one_blas_thread():
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert blas.count == 4
    with threads.one_blas_thread():
        assert blas.count == 1


def test_a_process_with_one_thread_is_left_alone(blas):
    blas.count = 1
    with threads.one_blas_thread():
        pass
    assert blas.calls == []


def test_a_number_that_somebody_else_sets_meanwhile_stays(blas):
    with threads.one_blas_thread():
        blas.count = 3
    assert blas.count == 3


def test_a_block_that_is_lost_ends_with_its_object(blas):
    block = threads.one_blas_thread()
    block.__enter__()
    assert blas.count == 1
    del block  # as if an interrupt had come before the with statement knew of it
    assert blas.count == 4


def test_without_a_blas_that_can_be_asked_nothing_happens(monkeypatch):
    monkeypatch.setattr(threads, "_blas", lambda: None)
    with threads.one_blas_thread():
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_child_forked_while_another_thread_holds_the_lock_does_not_hang(blas):
    with threads._process.lock, threads.one_blas_thread():
        child = os.fork()
        if child == 0:
            done = Thread(target=use_a_block)  # the lock was held by the thread that forked
            done.start()
            done.join(10)
            os._exit(0 if not done.is_alive() and blas.count == 4 else 1)
    assert os.waitpid(child, 0)[1] == 0


def use_a_block():
    with threads.one_blas_thread():
        pass


def test_numpys_own_blas_is_heard():
    blas = threads._blas()
    if blas is None or blas.get() == 1:
        pytest.skip("one thread only, or a BLAS that cannot be asked")
    before = blas.get()
    with threads.one_blas_thread():
        assert blas.get() == 1
    assert blas.get() == before


def test_a_product_outside_a_block_leaves_the_number_alone(blas):
    """Setting it around each product raced with the blocks of other threads."""
    layer, x = m.Dense(600, 500, rng=0), np.ones((400, 600), np.float32)  # 1.2e8 multiplications
    layer.forward(x)
    layer.backward(np.ones((400, 500), np.float32))
    assert blas.calls == []


class Counting(m.Layer):
    """Notes how many threads BLAS has at each call."""

    def __init__(self, blas):
        self._note = lambda: seen.append(blas.count)
        self.seen = seen = []

    def forward(self, x):
        self._note()
        return x

    def backward(self, grad):
        self._note()
        return grad


def test_a_training_step_has_one_thread_also_for_large_products(blas):
    """On a busy machine, a second thread makes them two to four times as slow."""
    counting = Counting(blas)
    model = m.Sequential([m.Dense(600, 500, rng=0), counting, m.Dense(500, 2, rng=1)])
    trainer = m.Trainer(model, m.MeanSquaredError(), m.SGD(model.parameters(), 1e-6))
    x, y = np.ones((400, 600), np.float32), np.ones((400, 2), np.float32)
    trainer.train_step(x, y)
    assert set(counting.seen) == {1}
    assert blas.calls == [1, 4], "set once each way, and not around single products"


def test_blocks_of_many_threads_end_with_the_number_there_was(blas):
    def use_blocks():
        for _ in range(200):
            use_a_block()

    workers = [Thread(target=use_blocks) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert blas.count == 4
