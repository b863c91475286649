"""Every backward function of the course against central differences, element by element."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from minirnn.course import (
    lstm_backward,
    lstm_cell_backward,
    lstm_cell_forward,
    lstm_forward,
    rnn_backward,
    rnn_cell_backward,
    rnn_cell_forward,
    rnn_forward,
)
from tests.course.drawing import lstm_parameters, rnn_parameters
from tests.differences import central_differences

RNN_NAMES = ("Wax", "Waa", "ba")
LSTM_NAMES = ("Wf", "bf", "Wi", "bi", "Wc", "bc", "Wo", "bo")

# n_x, n_a, n_y, m, T_x: all different, and then each at its smallest
SIZES = [(2, 3, 6, 5, 4), (2, 3, 6, 5, 1), (2, 3, 6, 1, 4), (2, 1, 6, 5, 4), (1, 3, 1, 5, 4)]


def compare(gradients, arrays, loss):
    """Hold each gradient ``dNAME`` to the central differences of the array that it belongs to."""
    assert set(gradients) == {f"d{name}" for name in arrays}
    for name, array in arrays.items():
        numeric = central_differences(loss, array)
        scale = np.abs(numeric).max()
        assert_allclose(gradients[f"d{name}"], numeric, rtol=0, atol=1e-7 * scale, err_msg=name)


@pytest.mark.parametrize("sizes", SIZES)
def test_rnn_cell_backward(sizes):
    n_x, n_a, n_y, m, _ = sizes
    r = np.random.RandomState(2)
    xt, a_prev, da_next = r.randn(n_x, m), r.randn(n_a, m), r.randn(n_a, m)
    parameters = rnn_parameters(r, n_x=n_x, n_a=n_a, n_y=n_y)

    def loss():
        return (da_next * rnn_cell_forward(xt, a_prev, parameters)[0]).sum()

    *_, cache = rnn_cell_forward(xt, a_prev, parameters)
    arrays = {"xt": xt, "a_prev": a_prev} | {name: parameters[name] for name in RNN_NAMES}
    compare(rnn_cell_backward(da_next, cache), arrays, loss)


@pytest.mark.parametrize("steps_of_loss", [None, 2])
@pytest.mark.parametrize("sizes", SIZES)
def test_rnn_backward(sizes, steps_of_loss):
    n_x, n_a, n_y, m, T_x = sizes
    T = min(T_x, steps_of_loss or T_x)
    r = np.random.RandomState(3)
    x, a0, da = r.randn(n_x, m, T_x), r.randn(n_a, m), r.randn(n_a, m, T)
    parameters = rnn_parameters(r, n_x=n_x, n_a=n_a, n_y=n_y)

    def loss():
        return (da * rnn_forward(x, a0, parameters)[0][:, :, :T]).sum()

    *_, caches = rnn_forward(x, a0, parameters)
    arrays = {"x": x[:, :, :T], "a0": a0} | {name: parameters[name] for name in RNN_NAMES}
    compare(rnn_backward(da, caches), arrays, loss)


@pytest.mark.parametrize("sizes", SIZES)
def test_lstm_cell_backward(sizes):
    n_x, n_a, n_y, m, _ = sizes
    r = np.random.RandomState(4)
    xt, a_prev, c_prev = r.randn(n_x, m), r.randn(n_a, m), r.randn(n_a, m)
    da_next, dc_next = r.randn(n_a, m), r.randn(n_a, m)
    parameters = lstm_parameters(r, n_x, n_a, n_y)

    def loss():
        a_next, c_next, _, _ = lstm_cell_forward(xt, a_prev, c_prev, parameters)
        return (da_next * a_next).sum() + (dc_next * c_next).sum()

    *_, cache = lstm_cell_forward(xt, a_prev, c_prev, parameters)
    arrays = {"xt": xt, "a_prev": a_prev, "c_prev": c_prev}
    arrays |= {name: parameters[name] for name in LSTM_NAMES}
    compare(lstm_cell_backward(da_next, dc_next, cache), arrays, loss)


@pytest.mark.parametrize("steps_of_loss", [None, 2])
@pytest.mark.parametrize("sizes", SIZES)
def test_lstm_backward(sizes, steps_of_loss):
    n_x, n_a, n_y, m, T_x = sizes
    T = min(T_x, steps_of_loss or T_x)
    r = np.random.RandomState(5)
    x, a0, da = r.randn(n_x, m, T_x), r.randn(n_a, m), r.randn(n_a, m, T)
    parameters = lstm_parameters(r, n_x, n_a, n_y)

    def loss():
        return (da * lstm_forward(x, a0, parameters)[0][:, :, :T]).sum()

    *_, caches = lstm_forward(x, a0, parameters)
    arrays = {"x": x[:, :, :T], "a0": a0} | {name: parameters[name] for name in LSTM_NAMES}
    compare(lstm_backward(da, caches), arrays, loss)


def test_through_the_prediction():
    """A whole network: cross-entropy of y_pred, whose gradient on a the learner works out."""
    r = np.random.RandomState(6)
    x, a0 = r.randn(3, 5, 4), r.randn(6, 5)
    parameters = rnn_parameters(r, n_x=3, n_a=6, n_y=2)
    target = np.eye(2)[r.randint(2, size=(5, 4))].transpose(2, 0, 1)

    def loss():
        return -(target * np.log(rnn_forward(x, a0, parameters)[1])).sum()

    _, y_pred, caches = rnn_forward(x, a0, parameters)
    da = np.einsum("ya,ymt->amt", parameters["Wya"], y_pred - target)
    arrays = {"x": x, "a0": a0} | {name: parameters[name] for name in RNN_NAMES}
    compare(rnn_backward(da, caches), arrays, loss)


@pytest.mark.parametrize(
    ("forward", "backward", "draw"),
    [
        (rnn_forward, rnn_backward, rnn_parameters),
        (lstm_forward, lstm_backward, lstm_parameters),
    ],
    ids=["rnn", "lstm"],
)
def test_steps_that_bring_their_own_parameters(forward, backward, draw):
    """The caches carry the parameters step by step, and backward must use those of each step."""
    r = np.random.RandomState(7)
    x, da = r.randn(3, 4, 3), r.randn(5, 4, 3)
    shared, other = draw(r), draw(r)
    *_, (steps, _) = forward(x, r.randn(5, 4), shared)
    same = [(*step[:-1], dict(shared)) for step in steps]
    mixed = [(*steps[0][:-1], other), *steps[1:]]
    plain, copied = backward(da, (steps, x)), backward(da, (same, x))
    for name, array in plain.items():
        assert np.array_equal(array, copied[name])
    unlike = backward(da, (mixed, x))
    assert np.array_equal(unlike["dx"][:, :, 1:], plain["dx"][:, :, 1:])
    assert not np.array_equal(unlike["dx"][:, :, 0], plain["dx"][:, :, 0])
