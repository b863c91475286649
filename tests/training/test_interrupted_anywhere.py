"""Ctrl-C at any instruction: the batch is whole, BLAS has its threads, the files are whole.

A sample of the instructions; MINIRNN_INTERRUPTS=30 tries 30 times as many, which takes minutes.
"""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest

from minirnn import (
    GRU,
    LSTM,
    SGD,
    Accuracy,
    Adam,
    CheckpointError,
    Dense,
    Dropout,
    Embedding,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from minirnn.callbacks import Callback, Checkpoint, EarlyStopping
from minirnn.files import read_tree
from minirnn.kernels.threads import _blas
from tests.training.runs import assert_same, everything

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
    pytest.mark.usefixtures("several_blas_threads"),
]
X = np.random.default_rng(0).integers(0, 6, (6, 4))


@pytest.fixture(autouse=True)
def python_handles_ctrl_c(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


class CtrlC:
    """Send SIGINT at the n-th instruction of minirnn's code inside the block."""

    def __init__(self, at: int, times: int = 1) -> None:
        self.at, self.times, self.count = at, times, 0

    def __enter__(self):
        self.outer = sys.gettrace()
        sys.settrace(self.trace)
        return self

    def __exit__(self, *error):
        sys.settrace(self.outer)

    def trace(self, frame, event, argument):
        name = frame.f_code.co_filename
        if "minirnn" not in name and "contextlib" not in name:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.count += 1
            if self.at <= self.count < self.at + self.times:
                signal.raise_signal(signal.SIGINT)
        return self.trace


def trainer_of(*callbacks, dropout=0.5) -> Trainer:
    model = Sequential(
        [
            Embedding(6, 2, rng=0),
            LSTM(2, 3, stateful=True, rng=1),
            Dropout(dropout, rng=2),
            GRU(3, 2, rng=3),
            Dense(2, 6, rng=4),
        ]
    )
    return Trainer(
        model,
        SoftmaxCrossEntropy(),
        Adam(model.parameters(), 0.1, clip_norm=1.0),
        metrics=[Accuracy()],
        callbacks=callbacks,
        rng=0,
    )


def fit(trainer: Trainer, epochs: int = 2):
    return trainer.fit(X, X, epochs=epochs, batch_size=3, shuffle=False, progress=False)


def instructions(act) -> int:
    """Return how many instructions there are to be interrupted at."""
    with CtrlC(-1) as counted:
        act()
    return counted.count


def spread(count: int, places: int) -> list[int]:
    """Return places from the first to the last, at steps that share no factor with loops."""
    places = min(count, places * int(os.environ.get("MINIRNN_INTERRUPTS", "1")))
    return sorted({1 + (k * count) // places for k in range(places)} | {count})


def interrupted(act, at: int, times: int = 1) -> bool:
    threads = _blas() and _blas().get()
    try:
        with CtrlC(at, times):
            act()
        stopped = False
    except KeyboardInterrupt:
        stopped = True
    assert (_blas() and _blas().get()) == threads, f"BLAS threads after {at}"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, at
    return stopped


def test_train_step_is_done_or_not_done():
    before, after = trainer_of(), trainer_of()
    after.train_step(X[:3], X[:3])
    states = [everything(before), everything(after)]
    sample = trainer_of()
    count = instructions(lambda: sample.train_step(X[:3], X[:3]))
    outcomes = set()
    for at in spread(count, 60):
        trainer = trainer_of()
        assert interrupted(lambda one=trainer: one.train_step(X[:3], X[:3]), at), "it was swallowed"
        now = everything(trainer)
        done = trainer.optimizer.step_count
        assert_same(now, states[done], f"interrupted at {at} of {count}")
        outcomes.add(done)
    assert 1 in outcomes


def test_fit_goes_on_exactly_wherever_it_was_interrupted(tmp_path):
    whole = trainer_of(EarlyStopping("loss"))
    fit(whole)
    end = everything(whole)
    sample = trainer_of(EarlyStopping("loss"))
    count = instructions(lambda: fit(sample))
    for at in spread(count, 25):
        trainer = trainer_of(EarlyStopping("loss"))
        interrupted(lambda one=trainer: fit(one), at)
        trainer.save(tmp_path / "by hand.safetensors")
        again = trainer_of(EarlyStopping("loss"))
        again.resume(tmp_path / "by hand.safetensors")
        again.stop = False
        fit(again)
        assert_same(everything(again), end, f"interrupted at {at} of {count}")


@pytest.mark.filterwarnings(  # where a third one comes while a lost block is cleared away
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"
)
def test_twice_it_goes_on_exactly_or_save_says_why_not(tmp_path):
    """A second Ctrl-C does not wait: three in a row break into the batch itself."""
    whole = trainer_of(EarlyStopping("loss"))
    fit(whole)
    end = everything(whole)
    sample = trainer_of(EarlyStopping("loss"))
    count = instructions(lambda: fit(sample))
    refused = exact = 0
    for at in spread(count, 25):
        trainer = trainer_of(EarlyStopping("loss"))
        interrupted(lambda one=trainer: fit(one), at, times=3)
        if trainer.halfway is not None:
            with pytest.raises(RuntimeError, match="cannot be continued exactly. Resume from"):
                trainer.save(tmp_path / "by hand.safetensors")
            refused += 1
            continue
        trainer.save(tmp_path / "by hand.safetensors")
        again = trainer_of(EarlyStopping("loss"))
        again.resume(tmp_path / "by hand.safetensors")
        again.stop = False
        fit(again)
        assert_same(everything(again), end, f"interrupted at {at} of {count}")
        exact += 1
    assert exact
    assert refused


@pytest.mark.parametrize("task", ["save", "resume"])
def test_saving_and_resuming(task, tmp_path):
    path = tmp_path / "run.safetensors"
    one, two = trainer_of(), trainer_of()
    fit(one, epochs=1)
    fit(two)
    one.save(path)
    old = path.read_bytes()
    two.save(tmp_path / "other.safetensors")
    states = [everything(one), everything(two)]

    def act(trainer):
        if task == "save":
            trainer.save(path)
        else:
            trainer.resume(tmp_path / "other.safetensors")

    count = instructions(lambda: act(trainer_of() if task == "resume" else two))
    for at in spread(count, 25):
        path.write_bytes(old)
        trainer = two
        if task == "resume":
            trainer = trainer_of()
            trainer.resume(path)
        interrupted(lambda one=trainer: act(one), at)
        if task == "save":
            assert_same(everything(trainer), states[1], str(at))
            assert_same(read_tree(path)["epoch"] in (1, 2), True)
            assert len(os.listdir(tmp_path)) == 2, "a temporary file is left"
        else:
            assert_same(everything(trainer), states[trainer.epoch - 1], f"{at} of {count}")


# ---------------------------------------------------------------- errors inside a batch


class Fails(Dropout):
    """A layer that draws, and then fails once."""

    left = 10**9

    def forward(self, x):
        y = super().forward(x)
        self.left -= 1
        if self.left == 0:
            raise ValueError("on purpose")
        return y


class FailsBackward(Fails):
    def forward(self, x):
        return Dropout.forward(self, x)

    def backward(self, grad):
        self.left -= 1
        if self.left == 0:
            raise ValueError("on purpose")
        return super().backward(grad)


class FailingBatches:
    """Batches with a generator, which fail once: while the order is drawn, or at a batch."""

    def __init__(self, left):
        self.rng, self.left = np.random.default_rng(9), left

    def __iter__(self):
        order = self.rng.permutation(6)
        for k in range(3):
            noise = self.rng.integers(0, 6)
            self.left -= 1
            if self.left == 0:
                raise OSError("no data")
            yield (X[order[2 * k : 2 * k + 2]] + noise) % 6, X[order[2 * k : 2 * k + 2]]

    def __len__(self):
        return 3


class FailingCallback(Callback):
    def __init__(self, event, left):
        self.left = left

        def fail(trainer):
            self.left -= 1
            if self.left == 0:
                raise OSError("no picture")

        setattr(self, event, fail)


class Last(Callback):
    """A callback behind the others that counts."""

    def __init__(self):
        self.seen = {}

    def state_dict(self):
        return {"seen": dict(self.seen)}

    def load_state_dict(self, state):
        self.seen = dict(state["seen"])

    def _see(self, event):
        self.seen[event] = self.seen.get(event, 0) + 1

    def on_epoch_begin(self, trainer):
        self._see("epoch begin")

    def on_batch_end(self, trainer):
        self._see("batch")

    def on_epoch_end(self, trainer):
        self._see("epoch")


def run_of(where: str, left: int, accumulate: int = 1):
    layer = {"forward": Fails, "backward": FailsBackward}.get(where, Dropout)(0.5, rng=2)
    model = Sequential([Embedding(6, 2, rng=0), LSTM(2, 3, rng=1), layer, Dense(3, 6, rng=4)])
    layer.left = left if where in ("forward", "backward") else 10**9
    failing = FailingCallback(where if where.startswith("on_") else "on_epoch_end", left)
    failing.left = left if where.startswith("on_") else 10**9
    trainer = Trainer(
        model,
        SoftmaxCrossEntropy(),
        SGD(model.parameters(), 0.1, momentum=0.9),
        metrics=[Accuracy()],
        callbacks=[EarlyStopping("loss"), failing, Last()],
        accumulate=accumulate,
        rng=0,
    )
    batches = FailingBatches(left if where == "batches" else 10**9)
    return trainer, lambda: trainer.fit(batches, epochs=3, progress=False)


PLACES = ["forward", "backward", "batches", "on_epoch_begin", "on_batch_end", "on_epoch_end"]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("where", PLACES)
def test_saved_after_an_error_and_gone_on_with(where, accumulate, tmp_path):
    whole, fit_whole = run_of(where, 10**9, accumulate)
    fit_whole()
    end = everything(whole)
    for left in range(1, 4 if where.startswith("on_epoch") else 10):
        trainer, fit_it = run_of(where, left, accumulate)
        with pytest.raises((ValueError, OSError), match="on purpose|no data|no picture"):
            fit_it()
        trainer.save(tmp_path / "by hand.safetensors")
        again, fit_again = run_of(where, 10**9, accumulate)
        again.resume(tmp_path / "by hand.safetensors")
        fit_again()
        assert_same(everything(again), end, f"error {left} in {where}")


@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("times", [1, 3])
def test_a_resumed_run_that_is_interrupted_goes_on_exactly(times, tmp_path):
    """Also on its way back into the middle of its epoch."""
    whole, fit_whole = run_of("forward", 10**9)
    fit_whole()
    broken, fit_broken = run_of("forward", 2)
    with pytest.raises(ValueError, match="on purpose"):
        fit_broken()
    broken.save(tmp_path / "broken")

    def resumed(path):
        trainer, fit_it = run_of("forward", 10**9)
        trainer.resume(tmp_path / path)
        trainer.stop = False
        return trainer, fit_it

    assert broken.batch == 1
    count = instructions(resumed("broken")[1])
    exact = 0
    for at in spread(count // 2, 12):
        trainer, fit_it = resumed("broken")
        interrupted(fit_it, at, times)
        if trainer.halfway is not None:
            continue
        trainer.save(tmp_path / "again")
        again, fit_again = resumed("again")
        fit_again()
        assert_same(everything(again), everything(whole), f"interrupted at {at} of {count}")
        exact += 1
    assert exact


def test_numbers_that_callbacks_draw_are_drawn_once(tmp_path):
    """From the trainer's generator, in an event after which the run was saved halfway."""

    class Draws(Callback):
        def on_train_begin(self, trainer):
            trainer.rng.random()

        def on_batch_end(self, trainer):
            trainer.rng.random(3)

    class DrawingBatches(FailingBatches):
        def __iter__(self):
            self.rng = self.trainer.rng
            return super().__iter__()

    def fit(trainer):
        batches = DrawingBatches(10**9)
        batches.rng, batches.trainer = trainer.rng, trainer
        trainer.fit(batches, epochs=2, progress=False)

    for left in (1, 2, 3):
        whole = trainer_of(FailingCallback("on_batch_end", 0), Draws())
        fit(whole)
        trainer = trainer_of(FailingCallback("on_batch_end", left), Draws())
        with pytest.raises(OSError, match="no picture"):
            fit(trainer)
        trainer.save(tmp_path / "run")
        again = trainer_of(FailingCallback("on_batch_end", 0), Draws())
        again.resume(tmp_path / "run")
        fit(again)
        assert_same(everything(again), everything(whole), str(left))


def test_an_error_in_a_metric_is_told_by_save(tmp_path):
    class Fails(Accuracy):
        def measure(self, prediction, target, mask):
            raise ValueError("no figure")

    trainer, fit_it = run_of("none", 10**9)
    trainer.metrics[:] = [Fails()]
    with pytest.raises(ValueError, match="no figure"):
        fit_it()
    with pytest.raises(
        RuntimeError, match="a batch was left halfway, between its metrics and its update"
    ):
        trainer.save(tmp_path / "run.safetensors")
    trainer.metrics[:] = [Accuracy()]
    fit_it()
    trainer.save(tmp_path / "run.safetensors")


def test_a_refused_resume_inside_a_callback_of_the_users(tmp_path):
    """Also what is no Exception is rolled back."""

    class Interrupted(Callback):
        armed = False

        def load_state_dict(self, state):
            if self.armed:
                self.armed = False
                raise KeyboardInterrupt

        def state_dict(self):
            return {}

    one, two = trainer_of(Interrupted()), trainer_of(Interrupted())
    fit(one)
    one.save(tmp_path / "run.safetensors")
    before = everything(two)
    two.callbacks[0].armed = True
    with pytest.raises(KeyboardInterrupt):
        two.resume(tmp_path / "run.safetensors")
    assert_same(everything(two), before)
    assert not two.resumed


def test_a_checkpoint_that_was_killed_before_it_could_delete(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def killed(self, missing_ok=False):
        raise SystemExit

    trainer = trainer_of(Checkpoint("{epoch}", keep_last=2))
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", killed)
        with pytest.raises(SystemExit):
            fit(trainer, epochs=9)
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "3"]
    trainer = trainer_of(Checkpoint("{epoch}", keep_last=2))
    trainer.resume("3")
    fit(trainer, epochs=4)
    assert sorted(os.listdir(tmp_path)) == ["3", "4"]


def test_a_file_of_a_strangers_names_no_file_to_be_deleted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = trainer_of(Checkpoint("{epoch}", keep_last=1))
    fit(trainer, epochs=1)
    callback = Checkpoint("{epoch}", keep_last=1)
    for wrong in ([["thesis.txt", 1]], [["../1", 1]], ["thesis.txt"], [[1]]):
        with pytest.raises((ValueError, TypeError)):
            callback.load_state_dict({"best": None, "written": wrong})


def test_resume_refuses_states_that_no_layer_or_generator_can_have(tmp_path):
    from minirnn.files import write_tree

    path = tmp_path / "run.safetensors"
    one = trainer_of()
    fit(one, epochs=1)
    one.save(path)
    good = read_tree(path)

    def changed(*keys, to):
        tree = read_tree(path)
        place = tree
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to
        return tree

    h, c = good["carried"]["layers.1"]
    wrong = [
        changed("carried", "layers.1", to=[h[:, :1], c]),
        changed("carried", "layers.1", to=[h]),
        changed("carried", "layers.1", to=[h.astype(np.float64), c]),
        changed("carried", "layers.1", to=[h, c[:1]]),
        changed("batch", to=-1),
        changed("epoch", to=1.5),
        changed("stop", to=1),
        changed("history", "loss", to=[]) | {"history": {"loss": [1.0], "val_loss": []}},
        changed("position", "now", "layers.2.rng", "state", to={"state": -1, "inc": 1}),
        changed("position", "now", "layers.2.rng", "uinteger", to=2**40),
        changed(
            "position", "now", "trainer", to={"bit_generator": "MT19937", "state": {"pos": 9**9}}
        ),
        changed("position", "event", to=["on_train_end", 0]),
        changed("position", "event", to=["save", 0]),
        changed("accumulated", to=7),
    ]
    other = trainer_of()
    before = everything(other)
    for k, tree in enumerate(wrong):
        write_tree(path, tree)
        with pytest.raises(CheckpointError, match="which is as it was"):
            other.resume(path)
        assert_same(everything(other), before, str(k))
