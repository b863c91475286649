"""BLAS has one thread inside the block, and the old number after, whatever happens."""

from __future__ import annotations

import os
from threading import Thread

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
