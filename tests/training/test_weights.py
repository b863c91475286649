"""Weights in safetensors files: whole, refused with a reason, readable by others."""

from __future__ import annotations

import numpy as np
import pytest

import minirnn
from minirnn import GRU, LSTM, Adam, Bidirectional, CheckpointError, Dense, Embedding, Sequential
from minirnn.files.safetensors import write_safetensors
from minirnn.layers import LastState


def model(seed: int, hidden: int = 4) -> Sequential:
    rng = np.random.default_rng(seed)
    return Sequential(
        [
            Embedding(6, 3, rng=rng),
            Bidirectional(LSTM(3, hidden, rng=rng), GRU(3, 2, rng=rng)),
            LastState(),
            Dense(hidden + 2, 2, dtype=np.float64, rng=rng),
        ]
    )


def same_weights(one, two) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return list(a) == list(b) and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_round_trip(path):
    one, two = model(0), model(1)
    one.save(path)
    assert not same_weights(one, two)
    two.load(path)
    assert same_weights(one, two)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_one_layer_alone(path):
    LSTM(3, 4, rng=0).save(path)
    layer = LSTM(3, 4, rng=1)
    layer.load(str(path))
    assert same_weights(layer, LSTM(3, 4, rng=0))


def test_parameters_that_an_optimizer_moved_stay_where_they_are(path):
    one, two = model(0), model(1)
    Adam(one.parameters(), 0.1).step()
    one.save(path)
    optimizer = Adam(two.parameters(), 0.1)
    two.load(path)
    assert same_weights(one, two)
    two[3].b.grad = np.ones(2)
    optimizer.step()
    assert not same_weights(one, two)


def test_a_misfit_lists_everything_and_loads_nothing(path):
    arrays = model(0).state_dict()
    del arrays["layers.3.b"]
    arrays["layers.9.W"] = np.zeros(3)
    arrays["layers.0.W"] = np.zeros((6, 5))
    write_safetensors(path, arrays, {})
    other = model(1, hidden=5)
    before = other.state_dict()
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        other.load(path)
    for line in (
        "missing: layers.3.b (2,)",
        "unexpected: layers.9.W",
        "misshapen: layers.0.W should be (6, 3), got (6, 5)",
        "misshapen: layers.1.forward_layer.cell.Wh should be (5, 20), got (4, 16)",
        "misshapen: layers.3.W should be (7, 2), got (6, 2)",
    ):
        assert line in str(caught.value)
    assert all(np.array_equal(before[name], now) for name, now in other.state_dict().items())


def test_truncated_anywhere(path):
    layer = Dense(2, 1, rng=0)
    layer.save(path)
    whole = path.read_bytes()
    before = layer.W.value.copy()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="truncated or corrupted"):
            layer.load(path)
    np.testing.assert_array_equal(layer.W.value, before)


@pytest.mark.parametrize("data", [b"", b"text, not numbers\n" * 9, b"\x89PNG\r\n\x1a\n" * 20])
def test_foreign_files(data, path):
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="is not a safetensors file, or it is truncated"):
        Dense(2, 1).load(path)


def test_the_checkpoint_of_a_run(path):
    layer = Dense(2, 1)
    trainer = minirnn.Trainer(
        layer, minirnn.MeanSquaredError(), Adam(layer.parameters(), 0.1), rng=0
    )
    trainer.save(path)
    with pytest.raises(CheckpointError, match=r"of a run: it is for Trainer\.resume"):
        layer.load(path)
    layer.save(path)
    with pytest.raises(CheckpointError, match=r"weights alone, .* then model\.load"):
        trainer.resume(path)


def test_places_where_no_file_is_or_can_be(tmp_path):
    layer = Dense(2, 1)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        layer.load(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        layer.save(tmp_path / "nowhere" / "a.safetensors")


def test_an_old_file_stays_if_the_disk_is_full(path, monkeypatch):
    Dense(2, 1, rng=0).save(path)
    old = path.read_bytes()

    def fail(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        Dense(2, 1, rng=1).save(path)
    assert path.read_bytes() == old
    assert [file.name for file in path.parent.iterdir()] == [path.name]


class TestBesideTheLibraryOfTheFormat:
    @pytest.fixture(autouse=True)
    def numpy_side(self):
        self.safetensors = pytest.importorskip("safetensors.numpy")

    def test_others_read_dotted_names(self, path):
        one = model(0)
        one.save(path)
        arrays = self.safetensors.load_file(path)
        assert set(arrays) == {name for name, _ in one.named_parameters()}
        assert "layers.1.forward_layer.cell.Wx" in arrays
        for name, parameter in one.named_parameters():
            assert arrays[name].dtype == parameter.value.dtype
            np.testing.assert_array_equal(arrays[name], parameter.value)

    def test_what_others_wrote_is_read(self, path):
        one, two = model(0), model(1)
        self.safetensors.save_file(one.state_dict(), path, metadata={"format": "np"})
        two.load(path)
        assert same_weights(one, two)

    def test_torch_reads_and_writes(self, path):
        torch_side = pytest.importorskip("safetensors.torch")
        torch = pytest.importorskip("torch")
        one, two = model(0), model(1)
        one.save(path)
        tensors = torch_side.load_file(path)
        assert tensors["layers.3.W"].dtype == torch.float64
        torch_side.save_file({name: 2 * tensor for name, tensor in tensors.items()}, path)
        two.load(path)
        np.testing.assert_array_equal(two[3].W.value, 2 * one[3].W.value)
