"""Dropout on the state: the rows of the recurrent weights, and nothing else."""

import numpy as np
import pytest

import minirnn as m
from tests.contract.own_cells import SumCell

X = np.random.default_rng(0).normal(size=(3, 5, 2))
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1]], bool)


def both(**options):
    return m.Bidirectional(m.GRU(2, 4, rng=0, **options), m.LSTM(2, 3, rng=1, **options))


@pytest.mark.parametrize("make", [lambda: m.LSTM(2, 4, rng=0), lambda: m.GRU(2, 4, rng=0), both])
@pytest.mark.parametrize("mask", [None, MASK])
def test_gradients_in_training(make, mask):
    report = m.check_gradients(m.StateDropout(make(), 0.4, rng=3), X, mask=mask)
    assert report.max_error < 1e-6


def test_gradients_with_an_own_cell():
    layer = m.StateDropout(m.Recurrent(SumCell(2, 4)), 0.4, weights=("U",), rng=3)
    assert m.check_gradients(layer, X, mask=MASK).max_error < 1e-6


def test_weights_with_as_many_rows_have_the_same_silent_ones():
    """They multiply the same state."""
    layer = m.StateDropout(m.Recurrent(SumCell(6, 6)), 0.5, weights=("W", "U"), rng=1)
    x = np.random.default_rng(1).normal(size=(3, 5, 6))
    keep = np.random.default_rng(1).random(6, dtype=np.float32) >= 0.5
    plain = m.Recurrent(SumCell(6, 6))
    for parameter in plain.parameters():
        parameter.value *= 2 * keep[:, None]
    np.testing.assert_allclose(layer.forward(x), plain.forward(x), rtol=1e-6)


def test_gradients_where_both_directions_share_a_cell():
    cell = m.GRUCell(2, 6, rng=0)
    layer = m.StateDropout(m.Bidirectional(m.Recurrent(cell), m.Recurrent(cell)), 0.2, rng=3)
    assert m.check_gradients(layer, X, mask=MASK).max_error < 1e-6


@pytest.mark.parametrize("reset_after", [True, False])
def test_it_is_the_layer_with_some_rows_of_the_weights_silent(reset_after):
    options = {"reset_after": reset_after, "dtype": np.float64}
    layer = m.StateDropout(m.GRU(2, 6, rng=0, **options), 0.5, rng=1)
    y = layer.forward(X, MASK)
    keep = np.random.default_rng(1).random(6, dtype=np.float32) >= 0.5
    assert 0 < keep.sum() < 6
    plain = m.GRU(2, 6, rng=0, **options)
    plain.cell.Wh.value *= 2 * keep[:, None]
    np.testing.assert_allclose(y, plain.forward(X, MASK), rtol=1e-14)
    assert not np.array_equal(layer.forward(X, MASK), y)  # drawn anew

    layer.eval()
    whole = m.GRU(2, 6, rng=0, **options)
    np.testing.assert_array_equal(layer.forward(X, MASK), whole.forward(X, MASK))
    np.testing.assert_array_equal(layer.step(X[:, 0]), whole.step(X[:, 0]))


def test_states_masks_and_cells_are_those_of_the_layer_inside():
    inside = m.LSTM(2, 4, rng=0)
    cell = inside.cell
    layer = m.StateDropout(inside, 0.5, rng=0)
    state = (np.ones((3, 4)), np.ones((3, 4)))
    layer.forward(X, MASK, state)
    layer.backward(np.ones((3, 5, 4)), state)
    assert layer.state is inside.state
    assert layer.grad_state is inside.grad_state
    assert inside.cell is cell
    assert [name for name, _ in layer.named_parameters()] == [f"layer.cell.{n}" for n in GATED]


GATED = ("Wx", "Wh", "b")


def test_the_weights_come_back_after_an_error():
    layer = m.StateDropout(m.LSTM(2, 4, rng=0), 0.5, rng=0)
    cell = layer.layer.cell
    with pytest.raises(ValueError, match="LSTM"):
        layer.forward(np.ones((3, 5, 7)))
    assert layer.layer.cell is cell


def test_it_is_trained_by_an_optimizer():
    layer = m.StateDropout(m.LSTM(2, 4, rng=0), 0.5, rng=0)
    before = layer.layer.cell.Wh.value.copy()
    optimizer = m.SGD(layer.parameters(), 0.1)
    layer.forward(X)
    layer.backward(np.ones((3, 5, 4)))
    optimizer.step()
    changed = np.any(layer.layer.cell.Wh.value != before, axis=1)
    keep = np.random.default_rng(0).random(4, dtype=np.float32) >= 0.5
    np.testing.assert_array_equal(changed, keep)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="SumCell has no parameter Wh; with weights=.*W, U"):
        m.StateDropout(m.Recurrent(SumCell(2, 4)), 0.5)
    with pytest.raises(TypeError, match="layer should be a recurrent layer, got LSTMCell"):
        m.StateDropout(m.LSTMCell(2, 4), 0.5)
    with pytest.raises(ValueError, match="LSTMCell has no parameter W; with weights="):
        m.StateDropout(m.LSTM(2, 4), 0.5, weights=("W", "h"))
    for weights in (5, "Wh", None, [], [3]):
        with pytest.raises(TypeError, match="weights should be a tuple of names, .*got "):
            m.StateDropout(m.LSTM(2, 4), 0.5, weights=weights)


def test_inside_a_bidirectional_layer_it_is_refused():
    pair = [m.StateDropout(m.LSTM(3, 4, rng=0), 0.2, rng=1), m.LSTM(3, 4, rng=0)]
    with pytest.raises(TypeError, match="should be a recurrent layer, got StateDropout"):
        m.Bidirectional(*pair)


@pytest.mark.parametrize("make", [lambda: m.LSTM(2, 4, rng=0), both])
def test_the_layer_keeps_its_cells_while_another_thread_predicts(make, monkeypatch):
    layer, seen = m.StateDropout(make(), 0.5, rng=0), []
    x = X.astype(np.float32)
    expected = layer.predict(x)
    original = m.LSTM.forward

    def watched(self, *arguments):
        with monkeypatch.context() as undone:  # what a thread would see that predicts just now
            undone.setattr(m.LSTM, "forward", original)
            seen.append(layer.predict(x))
        return original(self, *arguments)

    monkeypatch.setattr(m.LSTM, "forward", watched)
    layer.forward(x)
    np.testing.assert_array_equal(seen, [expected])
