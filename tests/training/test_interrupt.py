"""Ctrl-C once ends the training after the batch; twice, at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from minirnn.callbacks import Callback, Checkpoint
from minirnn.files import read_tree
from minirnn.training.interrupts import Uninterrupted, ends_gracefully
from tests.training.runs import ROOT
from tests.training.scripted import Recorder, fit, trainer_with

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

PROGRAM = """
import json, signal, sys, time
from minirnn.callbacks import Callback, Checkpoint
from tests.training.scripted import Recorder, fit, trainer_with

class Wait(Callback):
    def on_batch_end(self, trainer):
        if (trainer.epoch, trainer.batch) == (3, 1):
            print("ready", flush=True)
        if trainer.epoch >= 3:
            time.sleep(float(sys.argv[1]))

signal.signal(signal.SIGINT, signal.default_int_handler)
recorder = Recorder()
trainer = trainer_with(Checkpoint("run.safetensors", every_batches=1), Wait(), recorder)
outcome = "returned"
try:
    history = fit(trainer, epochs=10**6)
    assert history is trainer.history
except KeyboardInterrupt:
    outcome = "raised"
print(json.dumps({
    "outcome": outcome,
    "epochs": trainer.history.epochs,
    "at": [trainer.epoch, trainer.batch],
    "last call": recorder.calls[-1][1],
    "handler": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "prediction": trainer.predict([[1.0, 2.0]]).tolist(),
}))
"""


def run_and_interrupt(tmp_path, seconds_a_batch, interrupts):
    """Return what the program printed, on both streams, and how long it took to end."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(seconds_a_batch)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            for k in range(interrupts):
                if k:  # the first has been heard when its message is there
                    while "Ctrl-C once more" not in process.stderr.readline():
                        pass
                process.send_signal(signal.SIGINT)
            began = time.monotonic()
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1]), err, time.monotonic() - began


def test_once_ends_it_cleanly(tmp_path):
    said, err, _ = run_and_interrupt(tmp_path, 0.05, 1)
    assert said["outcome"] == "returned"
    assert said["epochs"] >= 2, "the history so far"
    assert said["last call"] == "on_train_end"
    assert said["handler"], "Ctrl-C means what it meant before"
    assert err.count("Stopping after this batch; Ctrl-C once more stops at once.") == 1
    tree = read_tree(tmp_path / "run.safetensors")
    assert [tree["epoch"], tree["batch"]] == said["at"]
    wait = type("Wait", (Callback,), {})()
    trainer = trainer_with(Checkpoint("run.safetensors"), wait, Recorder())
    trainer.resume(tmp_path / "run.safetensors")
    assert trainer.predict([[1.0, 2.0]]).tolist() == said["prediction"]


def test_twice_ends_it_at_once(tmp_path):
    said, _, _ = run_and_interrupt(tmp_path, 25, 2)
    assert said["outcome"] == "raised"
    assert said["last call"] == "on_train_end"
    assert said["handler"]
    assert said["epochs"] == 2
    read_tree(tmp_path / "run.safetensors")


# ---------------------------------------------------------------- within this process


@pytest.fixture(autouse=True)
def python_handles_ctrl_c():
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


class At(Callback):
    def __init__(self, event, action):
        setattr(self, event, lambda trainer: action())


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("event", "batches", "epochs"),
    [
        ("on_train_begin", 0, 0),
        ("on_epoch_begin", 1, 0),
        ("on_batch_end", 1, 0),
        ("on_epoch_end", 2, 1),
        ("on_train_end", 4, 2),
    ],
)
def test_at_every_event(event, batches, epochs):
    recorder = Recorder()
    history = fit(trainer_with(At(event, ctrl_c), recorder))
    events = [event for _, event, *_ in recorder.calls]
    assert events.count("on_batch_end") == batches
    assert history.epochs == epochs
    assert events[-1] == "on_train_end"


def test_while_it_evaluates():
    """The epoch is brought to its end, with all its figures."""

    class Interrupting(list):
        def __iter__(self):
            ctrl_c()
            yield from super().__iter__()

    x = [[1.0, 2.0]]
    history = fit(trainer_with(), validation=Interrupting([(x, [[1.0]])]))
    assert list(history) == ["loss", "val_loss"]
    assert history.epochs == 1


def test_the_next_fit_goes_on():
    callback = At("on_batch_end", ctrl_c)
    trainer = trainer_with(callback)
    assert fit(trainer).epochs == 0
    trainer.callbacks.remove(callback)
    assert fit(trainer).epochs == 2


def test_twice_within_one_callback():
    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt):
        fit(trainer_with(At("on_batch_end", lambda: (ctrl_c(), ctrl_c())), recorder))
    assert [event for _, event, *_ in recorder.calls][-1] == "on_train_end"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("error", [None, ValueError("on purpose"), KeyboardInterrupt()])
def test_the_handler_is_restored(error):
    trainer = trainer_with(Recorder(fail=error and "on_batch_end", error=error))
    if error is None:
        fit(trainer)
    else:
        with pytest.raises(type(error)):
            fit(trainer)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_block_that_is_left_late_does_not_bring_its_handler_back():
    """A Ctrl-C at its end can leave it to the garbage collector, after the block around it."""
    outer, inner = ends_gracefully(lambda: None), Uninterrupted()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    inner.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


heard: list[int] = []


@pytest.mark.parametrize("own", [signal.SIG_IGN, lambda number, frame: heard.append(number)])
def test_a_handler_of_the_programs_own_is_left_alone(own):
    heard.clear()
    signal.signal(signal.SIGINT, own)
    assert fit(trainer_with(At("on_epoch_end", ctrl_c))).epochs == 2
    assert signal.getsignal(signal.SIGINT) is own
    assert heard == ([] if own is signal.SIG_IGN else [signal.SIGINT] * 2)


def test_who_reads_the_messages_may_be_gone(monkeypatch):
    """``python train.py 2>&1 | tee log``: Ctrl-C ends tee first."""

    class Closed:
        def write(self, text):
            raise BrokenPipeError

        flush = write

    monkeypatch.setattr("sys.stderr", Closed())
    assert fit(trainer_with(At("on_batch_end", ctrl_c))).epochs == 0


def test_a_fit_inside_a_fit():
    inner = trainer_with(At("on_epoch_end", ctrl_c))
    outer = trainer_with(At("on_epoch_end", lambda: fit(inner, epochs=1)))
    assert fit(outer).epochs == 1, "Ctrl-C ends the outer one"
    assert inner.history.epochs == 1


def test_in_a_thread_no_signal_is_touched(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("signal.signal works only in the main thread")

    monkeypatch.setattr("signal.signal", refuse)
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(fit(trainer_with()).epochs))
    thread.start()
    thread.join(30)
    monkeypatch.undo()
    assert outcome == [2]
