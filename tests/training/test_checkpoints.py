"""The Checkpoint callback: when it saves, under which name, and which files it keeps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minirnn.callbacks import Callback, Checkpoint
from minirnn.files import read_tree
from tests.training.scripted import Recorder, fit, trainer_with


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def names() -> list[str]:
    return sorted(path.name for path in Path.cwd().iterdir())


def test_one_file_replaced_again_and_again():
    fit(trainer_with(Checkpoint("run.safetensors")), epochs=3)
    assert names() == ["run.safetensors"]
    assert read_tree("run.safetensors")["epoch"] == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["1-2", "2-2", "3-2", "4-2"]),
        ({"every_epochs": 2}, ["2-2", "4-2"]),
        (
            {"every_epochs": 3, "every_batches": 1},
            [f"{e}-{b}" for e in (1, 2, 3, 4) for b in (1, 2)],
        ),
        ({"every_batches": 2}, ["1-2", "2-2", "3-2", "4-2"]),
        ({"every_batches": 3}, []),
        ({"keep_last": 1}, ["4-2"]),
        ({"every_batches": 1, "keep_last": 3}, ["3-2", "4-1", "4-2"]),
        ({"monitor": "scripted"}, ["1-2", "3-2"]),
        ({"monitor": "scripted", "mode": "max"}, ["1-2", "2-2"]),
        ({"monitor": "scripted", "keep_last": 1}, ["3-2"]),
        ({"monitor": "scripted", "every_epochs": 2}, []),
    ],
)
def test_which_files_there_are(options, expected):
    callback = Checkpoint("{epoch}-{batch}", **options)
    fit(trainer_with(callback, values=[2, 3, 1, 1]), epochs=4)
    assert names() == expected
    assert callback.files == expected if "keep_last" in options else True
    for name in names():
        tree = read_tree(name)
        assert f"{tree['epoch']}-{tree['batch']}" == name


def test_templates_with_formats_and_folders():
    Path("runs").mkdir()
    fit(trainer_with(Checkpoint(Path("runs") / "{epoch:03}.safetensors")))
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "001.safetensors",
        "002.safetensors",
    ]


def test_the_file_has_what_later_callbacks_made_of_the_event():
    class Later(Callback):
        done = 0

        def on_batch_end(self, trainer):
            self.done += 1

        def state_dict(self):
            return {"done": self.done}

    fit(trainer_with(Checkpoint("{batch}", every_batches=1), Later()), epochs=1)
    assert [read_tree(name)["callbacks"][1]["done"] for name in "12"] == [1, 2]


def test_old_files_go_only_when_the_new_one_is_whole(monkeypatch):
    fsync, left = os.fsync, iter(range(5))

    def fail_at_the_third_file(descriptor):
        if next(left, None) is None:
            raise OSError("the disk is full")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", fail_at_the_third_file)
    with pytest.raises(OSError, match="the disk is full"):
        fit(trainer_with(Checkpoint("{epoch}", keep_last=1)), epochs=5)
    assert names(), "no file is left"
    for name in names():
        read_tree(name)


def test_a_resumed_run_goes_on_deleting():
    fit(trainer_with(Checkpoint("{epoch}", keep_last=2)), epochs=3)
    assert names() == ["2", "3"]
    trainer = trainer_with(Checkpoint("{epoch}", keep_last=2))
    trainer.resume("3")
    fit(trainer, epochs=5)
    assert names() == ["4", "5"]


def test_a_resumed_run_may_keep_fewer():
    fit(trainer_with(Checkpoint("{epoch}", keep_last=4)), epochs=4)
    trainer = trainer_with(Checkpoint("{epoch}", keep_last=1))
    trainer.resume("4")
    fit(trainer, epochs=5)
    assert names() == ["5"]


def test_a_new_run_leaves_the_files_of_the_old_one():
    callback = Checkpoint("{epoch}", keep_last=1)
    fit(trainer_with(callback), epochs=3)
    fit(trainer_with(callback), epochs=1)
    assert names() == ["1", "3"]


def test_a_file_deleted_by_hand_is_not_missed():
    class Delete(Callback):
        def on_epoch_begin(self, trainer):
            for path in Path.cwd().iterdir():
                path.unlink()

    fit(trainer_with(Checkpoint("{epoch}", keep_last=1), Delete()), epochs=3)
    assert names() == ["3"]


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        (
            "nowhere/run.safetensors",
            FileNotFoundError,
            r"there is no folder nowhere to save run\.safetensors in",
        ),
        (".", IsADirectoryError, "is a folder: give the file in it a name"),
    ],
)
def test_a_place_that_is_not_there_is_told_before_the_first_batch(path, kind, message):
    recorder = Recorder()
    with pytest.raises(kind, match=message) as caught:
        fit(trainer_with(recorder, Checkpoint(path)))
    assert "in callback Checkpoint.on_train_begin" in str(caught.value)
    assert [event for _, event, *_ in recorder.calls] == ["on_train_begin", "on_train_end"]


@pytest.mark.parametrize(
    "path", ["{val_loss}.safetensors", "{}.safetensors", "{epoch", "{epoch:s}", "{epoch.a}"]
)
def test_a_template_that_is_none(path):
    with pytest.raises(ValueError, match=r"no other fields than \{epoch\} and \{batch\}"):
        Checkpoint(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_epochs": 0}, "Checkpoint: every_epochs should be at least 1, got 0"),
        ({"every_batches": -1}, "every_batches should be at least 1, got -1"),
        ({"keep_last": 0}, "keep_last should be at least 1, got 0"),
        ({"monitor": "loss", "every_batches": 1}, "known only at the end of an epoch"),
        ({"monitor": "loss", "mode": "best"}, "mode should be one of"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Checkpoint("run.safetensors", **options)
