"""The threads that share native work: after a fork, and with many threads of Python at once."""

from __future__ import annotations

import os
import subprocess
import sys
from threading import Event, Thread

import numpy as np
import pytest

import minirnn as m
from minirnn import engine
from tests.training.test_side_by_side import exit_code_of_child

pytestmark = pytest.mark.skipif(engine.native() is None, reason="the native engine was not built")
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((32, 20, 16)).astype(np.float32), RNG.integers(0, 40, (32, 20))


def trained():
    """Return losses of steps of which each part is large enough to be shared."""
    model = m.Sequential([m.LSTM(16, 48, rng=0), m.Dense(48, 40, rng=1)])
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.Adam(model.parameters(), 0.01))
    return [trainer.train_step(X, Y) for _ in range(5)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_child_starts_threads_of_its_own():
    def child():
        assert trained() == expected

    with engine.use(threads=3):
        expected = trained()
        for _ in range(3):
            assert exit_code_of_child(child) == 0
        assert trained() == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_in_the_middle_of_shared_work_has_threads_of_its_own():
    """A layer alone: all of its products are the engine's, none is BLAS's."""
    layer, x = m.LSTM(16, 48, rng=0, engine="require"), RNG.standard_normal((64, 50, 16))
    over = Event()

    def work():
        copy = m.LSTM(16, 48, rng=0, engine="require")
        while not over.is_set():
            copy.forward(x)

    def child():
        np.testing.assert_array_equal(layer.forward(x), expected)

    with engine.use(threads=2):
        expected = layer.forward(x)
        worker = Thread(target=work)
        worker.start()
        try:
            for _ in range(20):
                assert exit_code_of_child(child) == 0
        finally:
            over.set()
            worker.join(60)


def test_results_do_not_depend_on_who_does_the_parts():
    """Only one thread of Python at a time has the pool; the others do their parts themselves."""
    found = {}

    def work(k):
        found[k] = [trained() for _ in range(3)]

    with engine.use(threads=2):
        expected = trained()
        workers = [Thread(target=work, args=(k,)) for k in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    assert [found[k] for k in range(4)] == [[expected] * 3] * 4
    with engine.use(threads=1):
        np.testing.assert_allclose(trained(), expected, rtol=1e-5)


def test_a_program_ends_while_threads_look_out_for_work():
    code = "from tests.engine import test_pool as t; t.engine.use(threads=3); t.trained()"
    assert subprocess.run([sys.executable, "-c", code], timeout=300, check=False).returncode == 0
