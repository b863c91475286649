"""A run interrupted anywhere and resumed is, bit for bit, the run that was never interrupted."""

from __future__ import annotations

import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from minirnn import (
    Adam,
    AdamW,
    CheckpointError,
    Dense,
    Layer,
    MeanSquaredError,
    Parameter,
    Sequential,
    Trainer,
)
from minirnn.callbacks import Callback, Checkpoint, EarlyStopping
from minirnn.data import Batches
from minirnn.files import read_tree
from tests.training.runs import RUNS, Run, assert_same, everything, in_new_process


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """For each run: the folder of its checkpoints, and all that it was at its end."""
    ends = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, build in RUNS.items():
            folder = tmp_path_factory.mktemp(name)
            patch.chdir(folder)
            ends[name] = folder, everything(build().fit())
    return ends


@pytest.fixture
def copied(uninterrupted, tmp_path, monkeypatch):
    """Give each test its own copy of the checkpoints."""

    def copy(name):
        folder, end = uninterrupted[name]
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
        return end

    return copy


@pytest.fixture
def python_handles_ctrl_c():
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


def fresh(name: str) -> Run:
    """Return the run, with checkpoints that are counted but not written."""
    run = RUNS[name]()
    for callback in run.trainer.callbacks:
        if isinstance(callback, Checkpoint):
            callback._save = partial(count, callback)
    return run


def count(checkpoint: Checkpoint, trainer: Trainer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "save", lambda path: None)
        Checkpoint._save(checkpoint, trainer)


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


@pytest.mark.parametrize("name", RUNS)
def test_resumed_at_every_checkpoint(name, copied):
    end = copied(name)
    written = checkpoints(Path.cwd())
    assert len(written) >= 8
    trees = {path: read_tree(path) for path in written}
    for path in written:
        run = RUNS[name]()
        run.trainer.resume(path)
        assert_same(everything(run.trainer), trees[path], f"{path.name} changed by resuming")
        assert_same(everything(run.fit()), end, f"resumed from {path.name}")
    for path in written:  # each resumed run wrote those that came after its own, once more
        assert_same(read_tree(path), trees[path], f"{path.name}, written by a resumed run")


def test_the_runs_do_what_they_are_for(uninterrupted):
    ends = {name: end for name, (_, end) in uninterrupted.items()}
    assert ends["one_generator"]["stop"], "EarlyStopping had nothing to do"
    assert ends["one_generator"]["epoch"] < 6
    assert ends["padded_batches"]["optimizer"]["learning_rate"] < 0.05, "no plateau"
    assert all(state is not None for state in ends["stream"]["carried"].values())


def test_the_log_of_a_resumed_run_is_that_of_the_whole(copied):
    copied("shuffled_arrays")
    log = Path("log.csv")
    whole = log.read_text()
    for path in checkpoints(Path.cwd()):
        log.write_text("what was here before\n")
        run = fresh("shuffled_arrays")
        run.trainer.resume(path)
        run.fit()
        assert log.read_text() == whole


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("shuffled_arrays", "2-2.safetensors"),
        ("padded_batches", "1-end.safetensors"),
        ("padded_batches", "2-4.safetensors"),
        ("stream", "1-3.safetensors"),
        ("one_generator", "1-1.safetensors"),
    ],
)
def test_resumed_in_a_new_process(name, file, copied):
    end = copied(name)
    done = in_new_process("resume", name, file, "end.tree")
    assert done.returncode == 0, done.stderr
    assert_same(read_tree("end.tree"), end)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(("name", "batches"), [("shuffled_arrays", 5), ("one_generator", 3)])
def test_killed_and_resumed_in_new_processes(name, batches, uninterrupted, tmp_path):
    killed = in_new_process("kill", name, batches, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    newest = max(checkpoints(tmp_path), key=lambda path: path.stat().st_mtime_ns)
    done = in_new_process("resume", name, newest, "end.tree", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same(read_tree(tmp_path / "end.tree"), uninterrupted[name][1])


# ---------------------------------------------------------------- saved after an interruption


class At(Callback):
    """Do something once, when so many batches are done."""

    def __init__(self, batches, action):
        self.left, self.action = batches, action

    def on_batch_end(self, trainer):
        self.left -= 1
        if self.left == 0:
            self.action(trainer)


def interrupted(name: str, batches: int, action) -> Run:
    run = fresh(name)
    callback = At(batches, action)
    run.trainer.callbacks.append(callback)
    run.fit()
    run.trainer.callbacks.remove(callback)
    return run


def stop(trainer):
    trainer.stop = True


def ctrl_c(trainer):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("python_handles_ctrl_c")
@pytest.mark.parametrize("action", [stop, ctrl_c])
@pytest.mark.parametrize("name", RUNS)
def test_saved_after_a_stop_and_resumed(name, action, copied):
    end = copied(name)
    total = end["optimizer"]["step"]
    for batches in range(1, total, 1 if action is ctrl_c else 3):
        run = interrupted(name, batches, action)
        run.trainer.save("stopped.safetensors")
        again = fresh(name)
        again.trainer.resume("stopped.safetensors")
        again.trainer.stop = False
        assert_same(everything(again.fit()), end, f"stopped after {batches} of {total} batches")


@pytest.mark.usefixtures("python_handles_ctrl_c")
@pytest.mark.parametrize("name", RUNS)
def test_interrupted_again_and_again(name, copied):
    end = copied(name)
    fresh(name).trainer.save("on.safetensors")
    for _ in range(end["optimizer"]["step"] + 1):
        run = fresh(name)
        run.trainer.resume("on.safetensors")
        run.trainer.callbacks.append(callback := At(1, ctrl_c))
        run.fit()
        run.trainer.callbacks.remove(callback)
        run.trainer.save("on.safetensors")
    assert_same(everything(run.trainer), end)


@pytest.mark.parametrize("name", RUNS)
def test_saved_before_the_first_batch(name, copied):
    end = copied(name)
    fresh(name).trainer.save("nothing yet.safetensors")
    run = fresh(name)
    run.trainer.resume("nothing yet.safetensors")
    assert_same(everything(run.fit()), end)


@pytest.mark.parametrize("name", RUNS)
def test_saving_changes_nothing(name, copied, tmp_path):
    end = copied(name)
    run = fresh(name)
    run.trainer.callbacks.append(At(2, lambda trainer: trainer.save("aside.safetensors")))
    trainer = run.fit()
    trainer.callbacks.pop()
    assert_same(everything(trainer), end)


# ---------------------------------------------------------------- what must be the same


def small(**options) -> tuple[Trainer, np.ndarray]:
    layer = Dense(2, 1, rng=0)
    x = np.random.default_rng(0).standard_normal((8, 2))
    return Trainer(layer, MeanSquaredError(), Adam(layer.parameters(), 0.1), **options), x


def test_stopped_stays_stopped(tmp_path):
    stopping = {"callbacks": [EarlyStopping("loss", patience=1, minimum_improvement=9.0)]}
    trainer, x = small(**stopping)
    trainer.fit(x, x[:, :1], epochs=9, progress=False)
    trainer.save(tmp_path / "a.safetensors")
    again, _ = small(**stopping)
    again.resume(tmp_path / "a.safetensors")
    history = again.fit(x, x[:, :1], epochs=9, progress=False)
    assert history.epochs == 2
    assert_same(everything(again), everything(trainer))


def test_a_run_is_prolonged(tmp_path):
    trainer, x = small(rng=0)
    trainer.fit(x, x[:, :1], epochs=2, batch_size=3, progress=False)
    trainer.save(tmp_path / "a.safetensors")
    longer, _ = small(rng=0)
    longer.resume(tmp_path / "a.safetensors")
    assert longer.fit(x, x[:, :1], epochs=5, batch_size=3, progress=False).epochs == 5
    whole, _ = small(rng=0)
    whole.fit(x, x[:, :1], epochs=5, batch_size=3, progress=False)
    assert_same(everything(longer), everything(whole))


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_other_batches_inside_an_epoch_are_refused(batch_size, tmp_path):
    trainer, x = small(callbacks=[Checkpoint(tmp_path / "{batch}.safetensors", every_batches=1)])
    trainer.fit(x, x[:, :1], epochs=1, batch_size=2, progress=False)
    again, _ = small(callbacks=[Checkpoint(tmp_path / "{batch}.safetensors", every_batches=1)])
    again.resume(tmp_path / "3.safetensors")
    with pytest.raises(CheckpointError, match=r"batch_size\?"):
        again.fit(Batches(x, x[:, :1], batch_size=batch_size), epochs=1, progress=False)


class Centered(Layer):
    """A layer with a running mean, as docs/own-layer.md says to keep it."""

    def __init__(self):
        self.mean = Parameter(np.zeros(2, np.float32), decay=False)

    def forward(self, x):
        if self.training:
            self.mean.value = 0.9 * self.mean.value + 0.1 * x.mean(axis=0)
        return x - self.mean.value

    def backward(self, grad):
        return grad


def test_a_running_mean_goes_on_where_it_was(tmp_path):
    x = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)

    def build():
        model = Sequential([Centered(), Dense(2, 2, rng=0)])
        optimizer = AdamW(model.parameters(), 0.1, weight_decay=0.1)
        return Trainer(model, MeanSquaredError(), optimizer, rng=0)

    whole, first, second = build(), build(), build()
    options = {"batch_size": 4, "progress": False}
    whole.fit(x, x, epochs=4, **options)
    first.fit(x, x, epochs=2, **options)
    first.save(tmp_path / "run")
    second.resume(tmp_path / "run")
    second.fit(x, x, epochs=4, **options)
    assert_same(everything(second), everything(whole))
    assert np.any(whole.model[0].mean.value)
