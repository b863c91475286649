"""Which runner a layer takes, what it says of it, and when it looks for another."""

import copy
import pickle

import numpy as np
import pytest

import minirnn as m
from minirnn.recurrent.loop import Loop
from minirnn.recurrent.runners import runner_of

pytestmark = pytest.mark.usefixtures("engine_on")
LAYERS = [m.RNN, m.LSTM, m.GRU]
X = np.random.default_rng(0).standard_normal((2, 5, 3))


class Own(m.RNNCell):
    def forward(self, x_t, state):
        assert np.isfinite(x_t).all()  # what depends on numbers cannot be traced
        return super().forward(x_t, state)


@pytest.mark.parametrize("kind", LAYERS)
def test_engine_off_runs_the_loop_with_the_same_numbers(kind):
    fast = kind(3, 4, rng=0, dtype=np.float64)
    slow = kind(3, 4, rng=0, dtype=np.float64, engine="off")
    np.testing.assert_allclose(slow.forward(X), fast.forward(X), rtol=1e-12)
    assert "loop" in slow.engine
    assert "off" in slow.engine
    assert "loop" not in fast.engine


def test_require_raises_where_only_the_loop_could_run():
    assert m.LSTM(3, 4, engine="require").forward(X).shape == (2, 5, 4)
    layer = m.Recurrent(Own(3, 4), engine="require")
    with pytest.raises(RuntimeError, match=r"Own: engine=\"require\".*no kernel for Own"):
        layer.forward(X)


def test_the_words_for_an_own_cell_say_why():
    assert "no kernel for Own" in m.Recurrent(Own(3, 4)).engine


@pytest.mark.parametrize("engine", ["on", True, None])
def test_another_word_is_refused(engine):
    kind = ValueError if isinstance(engine, str) else TypeError
    with pytest.raises(kind, match=r"LSTM: engine should be one of 'auto', 'off', 'require'"):
        m.LSTM(3, 4, engine=engine)


def test_the_keyword_is_shown_where_it_is_not_the_usual():
    assert repr(m.LSTM(3, 4)) == "LSTM(input_size=3, hidden_size=4)"
    assert repr(m.LSTM(3, 4, engine="off")) == "LSTM(input_size=3, hidden_size=4, engine='off')"


def test_a_runner_is_kept_until_the_cell_is_another():
    layer = m.LSTM(3, 4)
    cell, first = layer.cell, runner_of(layer)
    assert type(first) is not Loop
    assert runner_of(layer) is first
    cell.forward = lambda x_t, state: m.LSTMCell.forward(cell, x_t, state)
    assert type(runner_of(layer)) is Loop
    del cell.forward
    assert type(runner_of(layer)) is type(first)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_finds_a_runner_of_its_own(copied):
    layer = m.GRU(3, 4, rng=0)
    y = layer.forward(X)
    other = copied(layer)
    np.testing.assert_array_equal(other.forward(X), y)
    assert other._runner is not layer._runner
    assert other._runner.cell is other.cell
