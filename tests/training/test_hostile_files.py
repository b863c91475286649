"""Files from strangers: refused with a CheckpointError, at a price that their size bounds."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from minirnn import LSTM, CheckpointError, Dense, Sequential
from minirnn.files import read_tree, write_tree
from minirnn.files import safetensors as format_
from minirnn.files.safetensors import read_safetensors
from tests.training.hostile import checkpoint, damaged, leaf, safetensors, tensor
from tests.training.runs import assert_same


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stranger"


def peak_of(reader, path) -> tuple[int, object]:
    """Return the memory that reading took at most, and the outcome."""
    tracemalloc.start()
    try:
        outcome = reader(path)
    except CheckpointError as error:
        outcome = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak, outcome


# ---------------------------------------------------------------- sizes


UNITS = {
    "lists": b"[]",
    "lists of one": b"[0]",
    "dictionaries": b"{}",
    "dictionaries of one": b'{"a":1000}',
    "texts": b'"ab"',
    "no texts": b'""',
    "large numbers": b"1000",
    "small numbers": b"1",
    "fractions": b"0.5",
    "fractions with every digit": b"0.12345678901234567",
    "arrays of nothing": b'{"minirnn.array":"000000"}',
    "wide characters": b'"\\ud83d\\ude00"',
    "long texts with one wide character": b'"' + b"a" * 5000 + b'\\ud83d\\ude00"',
    "null": b"null",
}


def largest(unit: bytes, make) -> bytes:
    """Return the largest file of such units, up to 1.5 MB, that is light enough to be parsed."""
    fits, too_many = 1, 1_500_000 // len(unit)
    while too_many - fits > max(fits // 20, 1):
        middle = (fits + too_many) // 2
        text, file = make(middle)
        try:
            format_._check_weight(text, len(file))
        except CheckpointError:
            too_many = middle
        else:
            fits = middle
    return make(fits)[1]


@pytest.mark.parametrize("kind", UNITS)
def test_json_is_weighed_before_it_is_parsed(kind, path, monkeypatch):
    """What passes takes no more than ten times the file and some room, here less than usual."""
    monkeypatch.setattr(format_, "_ROOM", 1 << 20)
    allowed = (64 / 48) * (1 << 20)

    def many(count):
        units, entries = [UNITS[kind]] * count, []
        if "arrays" in kind:
            names = [f"{k:06}" for k in range(count)]
            units = [leaf(name)[5:-1] for name in names]
            entries = [tensor(name, "F32", [0], [0, 0]) for name in names]
        file = checkpoint(b'{"a":[' + b",".join(units) + b"]}", *entries)
        return file[8:], file

    path.write_bytes(largest(UNITS[kind] + (b"n" * 60 if "arrays" in kind else b""), many))
    peak, outcome = peak_of(read_tree, path)
    assert isinstance(outcome, dict), outcome
    assert peak < 10 * path.stat().st_size + allowed


def test_json_in_its_usual_room(path):
    path.write_bytes(checkpoint(b"[" + b"[]," * 7_000_000 + b"0]"))
    peak, outcome = peak_of(read_tree, path)
    assert "bytes of JSON that would take some" in str(outcome)
    assert peak < 4 * path.stat().st_size


@pytest.mark.parametrize("kind", ["one list", "many tensors", "long names"])
def test_the_header_of_weights_is_weighed_too(kind, path, monkeypatch):
    monkeypatch.setattr(format_, "_ROOM", 1 << 20)
    long = "n" * 500 * (kind == "long names")

    def many(count):
        if kind == "one list":
            text = b'{"a":[' + b",".join([b"[]"] * count) + b"]}"
        else:
            entries = [tensor(f"{long}{k}", "F32", [0], [0, 0]) for k in range(count)]
            text = b"{" + b",".join(entries) + b"}"
        return text, safetensors(text)

    path.write_bytes(
        largest(b"[]" if kind == "one list" else tensor(long, "F32", [0], [0, 0]), many)
    )
    peak, outcome = peak_of(read_safetensors, path)
    assert isinstance(outcome, CheckpointError if kind == "one list" else tuple)
    assert peak < 10 * path.stat().st_size + (64 / 48) * (1 << 20)


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b"[[],"])
@pytest.mark.parametrize("depth", [50, 2000, 100_000])
def test_depth(unit, depth, path):
    closing = b"}" if unit[:1] == b"{" else b"]"
    tree = b'{"a":' + unit * depth + b"0" + closing * depth + b"}"
    path.write_bytes(checkpoint(tree))
    if depth == 50:
        assert isinstance(read_tree(path), dict)
    else:
        with pytest.raises(CheckpointError):
            read_tree(path)
    path.write_bytes(safetensors(tree))
    with pytest.raises(CheckpointError):
        read_safetensors(path)


# ---------------------------------------------------------------- lies

ONE = tensor("x", "F32", [1], [0, 4])
TWO = tensor("y", "F32", [1], [4, 8])
HOSTILE = {
    "8 TB": checkpoint(leaf("x"), tensor("x", "F64", [10**12], [0, 8 * 10**12])),
    "a product that overflows": checkpoint(leaf("x"), tensor("x", "F64", [2**32, 2**32], [0, 0])),
    "nothing, but wide": checkpoint(leaf("x"), tensor("x", "F64", [0, 2**70], [0, 0])),
    "too many axes": checkpoint(leaf("x"), tensor("x", "F32", [1] * 65, [0, 4]), data=bytes(4)),
    "a shape of fractions": checkpoint(leaf("x"), tensor("x", "F32", [1.0], [0, 4]), data=bytes(4)),
    "a shape of text": checkpoint(leaf("x"), tensor("x", "F32", "1", [0, 4]), data=bytes(4)),
    "no shape": checkpoint(leaf("x"), tensor("x", "F32", None, [0, 4]), data=bytes(4)),
    "an array of a number": checkpoint(leaf(1), ONE, data=bytes(4)),
    "an array of a list": checkpoint(leaf([["x"]]), ONE, data=bytes(4)),
    "objects": checkpoint(leaf("x"), tensor("x", "O", [1], [0, 8]), data=bytes(8)),
    "numbers of NumPy's": checkpoint(leaf("x"), tensor("x", "<f4", [1], [0, 4]), data=bytes(4)),
    "a list for a dtype": checkpoint(leaf("x"), tensor("x", ["F32"], [1], [0, 4]), data=bytes(4)),
    "an array that the tree has not": checkpoint(b"{}", ONE, data=bytes(4)),
    "two for one": checkpoint(leaf("x"), ONE, TWO, data=bytes(8)),
    "an array that the file has not": checkpoint(leaf("x")),
    "an array in two places": checkpoint(
        b'{"a":{"minirnn.array":"x"},"b":{"minirnn.array":"x"}}', ONE, data=bytes(4)
    ),
    "the same name twice": checkpoint(leaf("x"), ONE, ONE, data=bytes(4)),
    "overlapping arrays": checkpoint(
        leaf("x"), ONE, tensor("y", "F32", [1], [2, 6]), data=bytes(6)
    ),
    "two trees": checkpoint(b"{}", b'"__metadata__":{}'),
    "another checksum": checkpoint(b"{}", checksum="00000000"),
    "more metadata": checkpoint(b"{}", note="hello"),
    "something before it": b"PK" + checkpoint(b"{}"),
    "something behind it": checkpoint(b"{}") + b"\0",
    "a key twice": checkpoint(b'{"a":1,"a":2}'),
    "not text": checkpoint(b"\xff\xfe"),
    "wide text": checkpoint('{"a":"✓"}'.encode()),
    "a number of a million digits": checkpoint(b'{"a":' + b"1" * 10**6 + b"}"),
    "tree of nothing": checkpoint(b"null"),
    "tree of another kind": checkpoint(b"[1,2]"),
    "tree of numbers": safetensors(
        b'{"__metadata__":{"format":"minirnn checkpoint","version":"5","content":1}}'
    ),
    "no tree": safetensors(b'{"__metadata__":{"format":"minirnn checkpoint","version":"5"}}'),
    "an array only": checkpoint(b'{"minirnn.array":"x"}', ONE, data=bytes(4)),
    "nothing": b"",
    "an archive": b"PK\3\4" + bytes(90),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_whatever_is_not_a_whole_sound_checkpoint_is_refused(kind, path):
    path.write_bytes(HOSTILE[kind])
    peak, outcome = peak_of(read_tree, path)
    assert isinstance(outcome, CheckpointError), outcome
    assert str(path) in str(outcome)
    assert peak < 10 * len(HOSTILE[kind]) + 100_000


W, B = tensor("W", "F32", [2, 1], [0, 8]), tensor("b", "F32", [1], [8, 12])
WRONG_WEIGHTS = {
    "8 TB": safetensors(b"{" + tensor("W", "F64", [10**12], [0, 8 * 10**12]) + b"}"),
    "8 TB of header": (2**43).to_bytes(8, "little") + b"{}",
    "another shape than place": safetensors(
        b"{" + tensor("W", "F32", [10**12], [0, 8]) + b"}", bytes(8)
    ),
    "a hole": safetensors(b"{" + W + b"," + tensor("b", "F32", [1], [12, 16]) + b"}", bytes(16)),
    "overlap": safetensors(b"{" + W + b"," + tensor("b", "F32", [1], [4, 8]) + b"}", bytes(8)),
    "more data": safetensors(b"{" + W + b"," + B + b"}", bytes(13)),
    "less data": safetensors(b"{" + W + b"," + B + b"}", bytes(11)),
    "a name twice": safetensors(b"{" + W + b"," + W + b"}", bytes(8)),
    "less than nothing": safetensors(b"{" + tensor("W", "F32", [-1, -2], [0, 8]) + b"}", bytes(8)),
    "truth for one": safetensors(b"{" + tensor("W", "F32", [2, True], [0, 8]) + b"}", bytes(8)),
    "no dictionary": safetensors(b"[1]"),
    "no entry": safetensors(b'{"W":1}'),
    "an entry of text": safetensors(b'{"W":{"data_offsets":"a"}}'),
    "unknown fields": safetensors(b'{"W":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1}}'),
    "metadata of numbers": safetensors(b'{"__metadata__":{"a":1},' + W + b"}", bytes(8)),
    "metadata of nothing": safetensors(b'{"__metadata__":null}'),
    "not text": safetensors(b"\xff\xff"),
    "nothing": b"",
    "text": b"text, not numbers\n" * 9,
    "picture": b"\x89PNG\r\n\x1a\n" * 20,
}


@pytest.mark.parametrize("kind", WRONG_WEIGHTS)
def test_whatever_is_not_a_sound_file_of_weights_is_refused(kind, path):
    path.write_bytes(WRONG_WEIGHTS[kind])
    layer = Dense(2, 1, rng=0)
    before = layer.state_dict()
    peak, outcome = peak_of(layer.load, path)
    assert "is not a safetensors file, or it is truncated or corrupted" in str(outcome)
    assert peak < 10 * len(WRONG_WEIGHTS[kind]) + 100_000
    assert_same(layer.state_dict(), before)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "I64", "I8", "U8", "BOOL", "F8_E4M3"])
def test_weights_of_other_numbers_are_not_converted_in_silence(dtype, path):
    path.write_bytes(safetensors(b"{" + tensor("W", dtype, [2, 1], [0, 4]) + b"}", bytes(4)))
    with pytest.raises(CheckpointError, match=f"has W as {dtype}, and only F32 and F64 are read"):
        Dense(2, 1).load(path)


# ---------------------------------------------------------------- damage


def test_a_checkpoint_damaged_anywhere(path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    write_tree(path, {"a": np.arange(2, dtype=np.int8), "b": [1.5, "text"]})
    for what in damaged(path):
        try:
            read_tree(path)
        except CheckpointError:
            continue
        raise AssertionError(f"{what}: accepted")


def test_weights_damaged_anywhere(path):
    layer = Sequential([LSTM(1, 1, rng=0), Dense(1, 1, dtype=np.float64, rng=1)])
    layer.save(path)
    before, accepted = layer.state_dict(), 0
    for what in damaged(path):
        try:
            arrays, _ = read_safetensors(path)
        except CheckpointError:
            continue
        accepted += 1
        assert what.startswith("bit")
        assert_same(arrays, before, what)
    # a changed name of a text about the file makes it one that others wrote
    assert accepted < 8 * len('"format""minirnn""checksum"__metadata__')
