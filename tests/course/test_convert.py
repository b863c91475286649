"""The course's dictionaries and minirnn's cells: there and back, and the same numbers in both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minirnn import LSTM, RNN, Dense, LSTMCell, Recurrent, RNNCell, Sequential, Softmax
from minirnn.course import (
    lstm_backward,
    lstm_cell_from_course,
    lstm_cell_to_course,
    lstm_forward,
    rnn_backward,
    rnn_cell_from_course,
    rnn_cell_to_course,
    rnn_forward,
)
from tests.course.drawing import generator, lstm_parameters, rnn_parameters

KINDS = {
    "rnn": (RNNCell, rnn_parameters, rnn_cell_from_course, rnn_cell_to_course),
    "lstm": (LSTMCell, lstm_parameters, lstm_cell_from_course, lstm_cell_to_course),
}


def same_bits(one, two):
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


@settings(deadline=None, max_examples=25)
@given(sizes=st.tuples(*[st.integers(1, 7)] * 3), seed=st.integers(0, 99))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind, dtype, sizes, seed):
    cell_class, draw, from_course, to_course = KINDS[kind]
    n_x, n_a, n_y = sizes
    r = np.random.RandomState(seed)
    drawn = draw(r, n_x=n_x, n_a=n_a, n_y=n_y)
    parameters = {name: array.astype(dtype) for name, array in drawn.items()}

    back = to_course(*from_course(parameters, dtype=dtype))
    assert set(back) == set(parameters)
    assert all(same_bits(back[name], parameters[name]) for name in parameters)

    cell = cell_class(n_x, n_a, rng=seed, dtype=dtype)
    dense = Dense(n_a, n_y, rng=seed, dtype=dtype)
    for bias in (cell.b, dense.b):
        bias.value = r.randn(*bias.shape)
    again = from_course(to_course(cell, dense), dtype=dtype)
    for one, two in zip((cell, dense), again, strict=True):
        assert type(one) is type(two)
        state_one, state_two = one.state_dict(), two.state_dict()
        assert list(state_one) == list(state_two)
        assert all(same_bits(state_one[name], state_two[name]) for name in state_one)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_shared(kind):
    _, draw, from_course, to_course = KINDS[kind]
    parameters = draw(generator())
    cell, dense = from_course(parameters)
    back = to_course(cell, dense)
    for array in parameters.values():
        assert not any(np.shares_memory(array, p.value) for p in cell.parameters())
    for array in back.values():
        assert not any(np.shares_memory(array, p.value) for p in cell.parameters())
        assert not any(np.shares_memory(array, p.value) for p in dense.parameters())


def test_forward_and_backward_agree_with_the_rnn_layer():
    r = np.random.RandomState(11)
    x, a0, da = r.randn(3, 4, 6), r.randn(5, 4), r.randn(5, 4, 6)
    parameters = rnn_parameters(r)
    a, y_pred, caches = rnn_forward(x, a0, parameters)
    gradients = rnn_backward(da, caches)

    cell, dense = rnn_cell_from_course(parameters)
    layer = RNN(3, 5, dtype=np.float64)
    layer.cell.load_state_dict(cell.state_dict())
    h = layer.forward(x.transpose(1, 2, 0), state=(a0.T,))
    y = Sequential([dense, Softmax()]).forward(h)
    close(h.transpose(2, 0, 1), a)
    close(y.transpose(2, 0, 1), y_pred)

    grad_x = layer.backward(da.transpose(1, 2, 0))
    close(grad_x.transpose(2, 0, 1), gradients["dx"])
    close(layer.grad_state[0].T, gradients["da0"])
    close(layer.cell.Wx.grad.T, gradients["dWax"])
    close(layer.cell.Wh.grad.T, gradients["dWaa"])
    close(layer.cell.b.grad[:, None], gradients["dba"])


def test_forward_and_backward_agree_with_the_lstm_layer():
    r = np.random.RandomState(12)
    x, a0, da = r.randn(3, 4, 6), r.randn(5, 4), r.randn(5, 4, 6)
    parameters = lstm_parameters(r)
    a, y_pred, c, caches = lstm_forward(x, a0, parameters)
    gradients = lstm_backward(da, caches)

    cell, dense = lstm_cell_from_course(parameters)
    layer = LSTM(3, 5, dtype=np.float64)
    layer.cell.load_state_dict(cell.state_dict())
    h = layer.forward(x.transpose(1, 2, 0), state=(a0.T, np.zeros((4, 5))))
    y = Sequential([dense, Softmax()]).forward(h)
    close(h.transpose(2, 0, 1), a)
    close(y.transpose(2, 0, 1), y_pred)
    close(layer.state[1].T, c[:, :, -1])

    grad_x = layer.backward(da.transpose(1, 2, 0))
    close(grad_x.transpose(2, 0, 1), gradients["dx"])
    close(layer.grad_state[0].T, gradients["da0"])
    # The gates of the layer's gradients, taken apart by hand.
    for gate, Wx, Wh, b in zip(
        "ifoc",
        np.split(layer.cell.Wx.grad, 4, axis=1),
        np.split(layer.cell.Wh.grad, 4, axis=1),
        np.split(layer.cell.b.grad, 4),
        strict=True,
    ):
        close(np.concatenate([Wh.T, Wx.T], axis=1), gradients[f"dW{gate}"])
        close(b[:, None], gradients[f"db{gate}"])


def close(actual, expected):
    assert_allclose(actual, expected, rtol=1e-12, atol=1e-13 * np.abs(expected).max())


def test_a_float32_cell_from_the_course():
    cell, dense = rnn_cell_from_course(rnn_parameters(generator()), dtype=np.float32)
    assert {p.value.dtype for p in [*cell.parameters(), *dense.parameters()]} == {
        np.dtype(np.float32)
    }
    assert Recurrent(cell).forward(np.ones((2, 4, 3))).dtype == np.float32


def test_without_a_bias_by_is_zero():
    parameters = rnn_cell_to_course(RNNCell(3, 5, rng=0), Dense(5, 2, bias=False, rng=0))
    assert parameters["by"].tolist() == [[0], [0]]


class Doubled(Dense):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: rnn_cell_to_course(RNNCell(3, 5), Doubled(5, 2)),
            ValueError,
            "dense is a Doubled, whose forward is another than that of Dense",
        ),
        (
            lambda: rnn_cell_to_course(RNNCell(3, 5, activation="relu"), Dense(5, 2)),
            ValueError,
            "the course knows tanh only, this cell's activation is relu",
        ),
        (
            lambda: rnn_cell_to_course(RNN(3, 5), Dense(5, 2)),
            TypeError,
            "rnn_cell_to_course: cell should be a RNNCell, got RNN",
        ),
        (
            lambda: lstm_cell_to_course(RNNCell(3, 5), Dense(5, 2)),
            TypeError,
            "lstm_cell_to_course: cell should be a LSTMCell, got RNNCell",
        ),
        (
            lambda: lstm_cell_to_course(LSTMCell(3, 5), Dense(4, 2)),
            ValueError,
            "dense should take the cell's 5 hidden units, it takes 4 features",
        ),
        (
            lambda: rnn_cell_from_course({"Wax": np.ones((5, 3))}),
            ValueError,
            "rnn_cell_from_course: parameters has no Waa, ba",
        ),
        (
            lambda: lstm_cell_from_course(rnn_parameters(generator())),
            ValueError,
            "lstm_cell_from_course: parameters has no Wf, bf",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
