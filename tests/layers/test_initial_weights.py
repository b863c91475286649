"""How weights begin: Glorot uniform, orthogonal for each gate, zero biases, forget bias 1."""

from __future__ import annotations

import numpy as np
import pytest

import minirnn as m

CELLS = {
    "RNN": (m.RNNCell, 1),
    "LSTM": (m.LSTMCell, 4),
    "GRU": (m.GRUCell, 3),
}
INPUT, HIDDEN = 30, 40


@pytest.mark.parametrize("name", CELLS)
def test_a_cell(name):
    kind, gates = CELLS[name]
    cell = kind(INPUT, HIDDEN, rng=0, dtype=np.float64)
    bound = np.sqrt(6 / (INPUT + HIDDEN))
    for gate in np.split(cell.Wx.value, gates, axis=1):
        assert gate.shape == (INPUT, HIDDEN)
        assert 0.98 * bound < np.abs(gate).max() <= bound
        assert gate.var() == pytest.approx(bound**2 / 3, rel=0.1), "uniform"
        assert abs(gate.mean()) < 4 * bound / np.sqrt(3 * gate.size)
    for gate in np.split(cell.Wh.value, gates, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(HIDDEN), atol=1e-12)
    biases = np.zeros((gates, HIDDEN))
    if name == "LSTM":
        biases[1] = 1
    np.testing.assert_array_equal(cell.b.value, biases.ravel())
    if name == "GRU":
        np.testing.assert_array_equal(cell.bn.value, np.zeros(HIDDEN))


def test_orthogonal_matrices_are_uniformly_distributed():
    """Without a correction of signs, QR gives a diagonal that is mostly negative."""
    traces = [np.trace(m.RNNCell(1, 5, rng=seed, dtype="f8").Wh.value) for seed in range(400)]
    assert abs(np.mean(traces)) < 4 * np.std(traces) / 20
    assert np.var(traces) == pytest.approx(1, rel=0.3), "of the trace of a random rotation"


def test_dense_and_embedding():
    dense = m.Dense(INPUT, HIDDEN, rng=0)
    bound = np.sqrt(6 / (INPUT + HIDDEN))
    assert 0.98 * bound < np.abs(dense.W.value).max() <= bound
    np.testing.assert_array_equal(dense.b.value, np.zeros(HIDDEN))
    vectors = m.Embedding(200, 50, rng=0).W.value
    assert abs(vectors.mean()) < 0.04
    assert vectors.std() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize(
    "make", [lambda rng: m.LSTM(3, 4, rng=rng), lambda rng: m.Dense(3, 4, rng=rng)]
)
def test_a_seed_is_a_seed_and_the_global_generator_is_not_used(make):
    before = np.random.get_state()[1].copy()
    one, two, other = make(5), make(np.random.default_rng(5)), make(6)
    for name, value in one.state_dict().items():
        np.testing.assert_array_equal(two.state_dict()[name], value)
    assert any((other.state_dict()[n] != v).any() for n, v in one.state_dict().items())
    make(None)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
