"""Checkpoint files: whole or not there, and refused with a reason when they are not right."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys

import numpy as np
import pytest

from minirnn.files import read_tree, replacing, write_tree
from tests.training.runs import ROOT, assert_same

TREE = {
    "numbers": [0, -1, 2**127, 0.1, float("inf"), float("nan"), True, None],
    "text": "naïve, \"quoted\", 'a/b', \n, ✓",
    "arrays": {
        "float32": np.linspace(0, 1, 7, dtype=np.float32),
        "nan": np.array([np.nan, np.inf, -0.0]),
        "integers": np.arange(6).reshape(2, 3),
        "booleans": np.array([True, False]),
        "bytes": np.arange(3, dtype=np.int8),
        "half": np.array([1.5], np.float16),
        "none": np.zeros((0, 3), np.float32),
        "single": np.array(3.5),
        "unsigned": np.array([2**64 - 1], np.uint64),
    },
    "empty": {"dictionary": {}, "list": [], "text": ""},
    "array": {"array": [{"dict": 1}]},
    "a/b": {"c": np.array(1.0)},
    "a": {"b/c": np.array(2.0), "b": {"c": np.array(3.0)}},
    "deep": [[[[[[[[[[{"a": [1]}]]]]]]]]]],
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def test_round_trip(path):
    write_tree(path, TREE)
    assert_same(read_tree(path), TREE)


def test_kinds_that_json_does_not_know_come_back_as_their_nearest(path):
    columns = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    write_tree(path, {"tuple": (1, 2), "scalar": np.float32(0.5), "slice": columns[:, ::2]})
    assert read_tree(path)["tuple"] == [1, 2]
    assert read_tree(path)["scalar"] == 0.5
    np.testing.assert_array_equal(read_tree(path)["slice"], [[0, 2], [3, 5]])


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        ({1, 2}, "/callbacks/0/seen is a set, which cannot be saved"),
        (lambda: 0, "/callbacks/0/seen is a function"),
        (1 + 2j, "/callbacks/0/seen is a complex"),
        (b"bytes", "/callbacks/0/seen is a bytes"),
        (np.array([object()]), "/callbacks/0/seen is an array of object, not of real numbers"),
        (np.array(["text"]), "/callbacks/0/seen is an array of <U4"),
        (np.array([1j]), "/callbacks/0/seen is an array of complex128, not of real numbers"),
        ({1: 2}, "/callbacks/0/seen has the key 1, which is not a str"),
        ({"minirnn.array": 2}, "has the key 'minirnn.array', which is kept for arrays"),
    ],
)
def test_a_leaf_that_cannot_be_saved_is_named_and_nothing_is_written(path, leaf, message):
    write_tree(path, {"old": 1})
    with pytest.raises(TypeError, match=message):
        write_tree(path, {"callbacks": [{"seen": leaf}]})
    assert read_tree(path) == {"old": 1}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# ---------------------------------------------------------------- whole or not there

KILLING = """
import os, pathlib, random, signal, sys, time
import numpy as np
from minirnn.files import read_tree, write_tree

path, kills = pathlib.Path(sys.argv[1]), int(sys.argv[2])
draw = random.Random(0)

def save_for_ever():
    count = read_tree(path)["count"] if path.exists() else 0
    while True:
        count += 1
        write_tree(path, {"count": count, "array": np.full(20_000 + 777 * (count % 50), count)})

write_tree(path, {"count": 0, "array": np.zeros(5)})
seen = [0]
for _ in range(kills):
    child = os.fork()
    if not child:
        save_for_ever()
    time.sleep(draw.uniform(0.0, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    tree = read_tree(path)
    assert (tree["array"] == tree["count"]).all()
    assert tree["count"] >= seen[-1]
    seen.append(tree["count"])
left = sum(entry != path for entry in path.parent.iterdir())
print(seen[-1], left)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_while_it_saves_in_a_loop(path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", KILLING, path, "40"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    saved, left_behind = map(int, done.stdout.split())
    assert saved > 3, "hardly anything was saved"
    assert left_behind > 0, "no kill came in the middle of writing"


class FullDisk(io.BufferedWriter):
    """A file on a disk with so many bytes left."""

    left = 0

    def write(self, data):
        size = memoryview(data).nbytes
        if size > self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= size
        return super().write(data)


@pytest.mark.parametrize("share", [0, 0.01, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_a_disk_that_fills_up_leaves_the_old_file(path, share, monkeypatch):
    write_tree(path, TREE)
    room = int(share * path.stat().st_size)
    write_tree(path, {"old": np.arange(3)})
    old = path.read_bytes()

    def fdopen(descriptor, mode):
        file = FullDisk(io.FileIO(descriptor, "w"))
        file.left = room
        return file

    monkeypatch.setattr("os.fdopen", fdopen)
    with pytest.raises(OSError, match="No space left") as caught:
        write_tree(path, TREE)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == old
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_last_step_that_fails_leaves_the_old_file(path, step, monkeypatch):
    write_tree(path, {"old": 1})

    def fail(*arguments):
        raise OSError(errno.EIO, "the disk does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(f"os.{step}", fail)
        with pytest.raises(OSError, match="does not answer"):
            write_tree(path, TREE)
    assert read_tree(path) == {"old": 1}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_system_without_permissions_will_do(path, monkeypatch):
    write_tree(path, {"old": 1})

    def fail(*arguments):
        raise PermissionError(errno.EPERM, "not on this file system")

    monkeypatch.setattr("os.chmod", fail)
    write_tree(path, {"new": 1})
    assert read_tree(path) == {"new": 1}


def test_nobody_else_can_read_what_replaces_a_private_file(path):
    write_tree(path, {})
    path.chmod(0o600)
    with replacing(path) as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600


def test_the_umask_is_never_touched(path, monkeypatch):
    """It belongs to the process: while it is changed, other threads' files are open to all."""

    def refuse(mask):
        raise AssertionError("the umask was changed")

    monkeypatch.setattr("os.umask", refuse)
    write_tree(path, {"new": 1})
    assert read_tree(path) == {"new": 1}


@pytest.mark.parametrize("name", ["n" * 255, "✓" * 85, "n" * 242 + ".safetensors"])
def test_names_as_long_as_they_may_be(tmp_path, name):
    write_tree(tmp_path / name, {"new": 1})
    write_tree(tmp_path / name, {"new": 2})
    assert read_tree(tmp_path / name) == {"new": 2}


def test_the_same_tree_is_the_same_file(path):
    write_tree(path, TREE)
    first = path.read_bytes()
    write_tree(path, read_tree(path))
    assert path.read_bytes() == first


def test_the_library_of_the_format_reads_it(path):
    library = pytest.importorskip("safetensors.numpy")
    write_tree(path, TREE)
    read = library.load_file(path)
    assert_same({name: read[f"/arrays/{name}"] for name in TREE["arrays"]}, TREE["arrays"])


def test_a_tree_that_could_not_be_read_is_not_written(path):
    with pytest.raises(ValueError, match=r"cannot be saved: .*MB in memory; put the numbers in ar"):
        write_tree(path, {"seen": [{"x": 1.0}] * 200_000})
    assert not path.exists()
    write_tree(path, {"seen": [1.5] * 200_000})
    assert read_tree(path)["seen"] == [1.5] * 200_000


def test_a_writer_that_gives_up_leaves_the_old_file(path):
    path.write_text("old")

    def write():
        with replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_bytes_are_on_disk_before_the_name_is(path, monkeypatch):
    done = []
    for step in ("fsync", "replace"):
        usual = getattr(os, step)
        monkeypatch.setattr(
            f"os.{step}", lambda *a, step=step, usual=usual: done.append(step) or usual(*a)
        )
    write_tree(path, TREE)
    assert done[:2] == ["fsync", "replace"]


def test_permissions_and_links_stay(path):
    umask = os.umask(0o022)
    try:
        write_tree(path, {})
        assert path.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(umask)
    path.chmod(0o600)
    link = path.with_name("latest.safetensors")
    link.symlink_to(path.name)
    write_tree(link, {"new": 1})
    assert link.is_symlink()
    assert read_tree(path) == {"new": 1}
    assert path.stat().st_mode & 0o777 == 0o600


def test_places_where_no_file_can_be(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere to save a\.safetensors in"):
        write_tree(tmp_path / "nowhere" / "a.safetensors", {})
    with pytest.raises(IsADirectoryError, match="is a folder: give the file in it a name"):
        write_tree(tmp_path, {})
