"""Models that are trained side by side: in threads, and in the child of a fork."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback

import numpy as np
import pytest

import minirnn as m
from minirnn.kernels.threads import _blas
from tests.contract.own_cells import ProjectedCell
from tests.training.runs import assert_same, everything

pytestmark = pytest.mark.usefixtures("several_blas_threads")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 9, 3)).astype(np.float32)
Y = RNG.integers(0, 4, (24, 9))
MASK = np.arange(9) < RNG.integers(1, 10, 24)[:, None]

LAYERS = {
    "LSTM": lambda: m.LSTM(3, 8, rng=0),
    "GRU in the loop": lambda: m.GRU(3, 8, rng=0, engine="off"),
    "own cell": lambda: m.Recurrent(ProjectedCell(3, 6, 8)),
    "both directions": lambda: m.Bidirectional(m.GRU(3, 4, rng=0), m.RNN(3, 4, rng=1)),
}


def trainer_of(kind, seed):
    model = m.Sequential([LAYERS[kind](), m.Dropout(0.3, rng=seed), m.Dense(8, 4, rng=seed)])
    optimizer = m.Adam(model.parameters(), 0.01, clip_norm=1.0)
    return m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer, metrics=[m.Accuracy()], rng=seed)


def fit(trainer, epochs=4):
    options = {"validation": (X, Y, MASK), "epochs": epochs, "batch_size": 8}
    trainer.fit(X, Y, mask=MASK, progress=False, **options)
    return everything(trainer)


@pytest.fixture
def often():
    """Switch between threads as often as Python can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("kind", LAYERS)
def test_each_of_several_threads_trains_as_if_it_were_alone(kind):
    before = _blas() and _blas().get()
    alone = [fit(trainer_of(kind, seed)) for seed in range(3)]
    found = {}

    def work(seed, trainer):
        found[seed] = fit(trainer)

    workers = [threading.Thread(target=work, args=(k, trainer_of(kind, k))) for k in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert_same([found[k] for k in range(3)], alone)
    assert (_blas() and _blas().get()) == before, "threads of BLAS"


@pytest.mark.usefixtures("often")
def test_threads_predict_with_a_model_in_training_mode_as_each_would_alone():
    model = trainer_of("LSTM", 0).model
    expected, found = [model.predict(X[k : k + 8]) for k in range(4)], {}

    def work(k):
        found[k] = [model.predict(X[k : k + 8]) for _ in range(20)]

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert_same([found[k] for k in range(4)], [[one] * 20 for one in expected])
    assert all(layer.training for _, layer in model.named_layers())


@pytest.fixture
def no_coverage():
    """Stop measuring coverage: it has a lock of its own, which it does not free in a child."""
    coverage = sys.modules.get("coverage")
    measured = coverage and coverage.Coverage.current()
    if not measured:
        yield
        return
    measured.stop()
    yield
    measured.start()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
@pytest.mark.usefixtures("no_coverage")
@pytest.mark.parametrize("module", ["minirnn", "minirnn.kernels.threads"])
def test_a_child_that_is_forked_while_a_thread_trains_works_at_once(module):
    """Whatever lock the thread held at that moment, nobody would ever give it back.

    The thread stands at a line of Python, not in a product: OpenBLAS has a lock of its own, which
    it does not free in a child (NumPy alone hangs in the same way).
    """
    expected = fit(trainer_of("LSTM", 1), epochs=1)
    before = _blas() and _blas().get()
    whole = Halted(trainer_of("LSTM", 0), module, line=10**9)
    whole.join(60)
    assert whole.lines > 50
    for line in np.random.default_rng(3).integers(1, whole.lines, 12):
        halted = Halted(trainer_of("LSTM", 0), module, line)
        try:
            assert halted.halts.wait(60)
            assert exit_code_of_child(lambda: child(expected, before)) == 0
        finally:
            halted.goes_on.set()
            halted.join(60)


class Halted(threading.Thread):
    """A thread that trains for an epoch and halts before the given of its lines in a module."""

    def __init__(self, trainer, module, line):
        super().__init__()
        self.trainer, self.module, self.line, self.lines = trainer, module, line, 0
        self.halts, self.goes_on = threading.Event(), threading.Event()
        self.start()

    def run(self):
        sys.settrace(self.trace)
        fit(self.trainer, epochs=1)
        sys.settrace(None)

    def trace(self, frame, event, argument):
        if not frame.f_globals.get("__name__", "").startswith(self.module):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.line:
                self.halts.set()
                self.goes_on.wait(60)
        return self.trace


def child(expected, threads):
    assert_same(fit(trainer_of("LSTM", 1), epochs=1), expected)
    assert (_blas() and _blas().get()) == threads, "threads of BLAS"


def exit_code_of_child(work):
    """Fork, let the child do the work, and return its exit code: 1 for an error, 14 if it hangs."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    for _ in range(30000):  # five minutes, for a hundredth of a second's work
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return 14
