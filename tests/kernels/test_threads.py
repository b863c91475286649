from __future__ import annotations

import pytest

from minirnn.kernels import threads


def test_one_thread_inside_and_the_old_number_after():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def numbers():
        return [
            p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"
        ]

    before = numbers()
    with threads.one_blas_thread():
        assert set(numbers()) <= {1}
    assert numbers() == before


def test_nothing_happens_without_threadpoolctl(monkeypatch):
    monkeypatch.setattr(threads, "_controller", lambda: None)
    with threads.one_blas_thread():
        pass
