"""The course's functions against published numbers: whole arrays, and the notebook's print-outs."""

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
    sigmoid,
    softmax,
)
from tests.course.drawing import GOLDENS, M, generator, lstm_parameters, rnn_parameters


def close(actual, golden):
    assert_allclose(actual, np.array(golden), rtol=0, atol=1e-12)


def printed(actual, text):
    """Hold numbers to what was printed of them, to half a unit of the last digit."""
    digits = text.split()
    assert np.size(actual) == len(digits)
    for number, shown in zip(np.ravel(actual), digits, strict=True):
        assert abs(number - float(shown)) <= 0.51 * 10.0 ** -len(shown.partition(".")[2])


# ---------------------------------------------------------------- whole arrays


def test_rnn_cell_forward():
    r, golden = generator(), GOLDENS["rnn_cell_forward"]
    xt, a_prev = r.randn(3, M), r.randn(5, M)
    parameters = rnn_parameters(r)
    a_next, yt_pred, cache = rnn_cell_forward(xt, a_prev, parameters)
    close(a_next, golden["a_next"])
    close(yt_pred, golden["yt_pred"])
    assert [id(part) for part in cache] == [id(part) for part in (a_next, a_prev, xt, parameters)]
    printed(
        a_next[4],
        "0.59584544 0.18141802 0.61311866 0.99808218 0.85016201 0.99980978 -0.18887155 0.99815551 "
        "0.6531151 0.82872037",
    )


def test_rnn_forward():
    r, golden = generator(), GOLDENS["rnn_forward"]
    x, a0 = r.randn(3, M, 4), r.randn(5, M)
    parameters = rnn_parameters(r)
    a, y_pred, caches = rnn_forward(x, a0, parameters)
    close(a, golden["a"])
    close(y_pred, golden["y_pred"])
    assert len(caches) == golden["caches_len"]
    steps, x_again = caches
    assert x_again is x
    for t, (a_next, a_prev, xt, its_parameters) in enumerate(steps):
        assert np.array_equal(a_next, a[:, :, t])
        assert np.array_equal(a_prev, a0 if t == 0 else a[:, :, t - 1])
        assert np.array_equal(xt, x[:, :, t])
        assert its_parameters is parameters


def test_lstm_cell_forward():
    r, golden = generator(), GOLDENS["lstm_cell_forward"]
    xt, a_prev, c_prev = r.randn(3, M), r.randn(5, M), r.randn(5, M)
    parameters = lstm_parameters(r)
    a_next, c_next, yt_pred, cache = lstm_cell_forward(xt, a_prev, c_prev, parameters)
    close(a_next, golden["a_next"])
    close(c_next, golden["c_next"])
    close(yt_pred, golden["yt_pred"])
    assert len(cache) == golden["cache_len"]
    v = np.concatenate([a_prev, xt])
    gates = [1 / (1 + np.exp(-(parameters[f"W{k}"] @ v + parameters[f"b{k}"]))) for k in "fio"]
    candidate = np.tanh(parameters["Wc"] @ v + parameters["bc"])
    expected = (a_next, c_next, a_prev, c_prev, gates[0], gates[1], candidate, gates[2], xt)
    for part, array in zip(cache, expected, strict=False):
        assert_allclose(part, array, rtol=1e-13)
    assert cache[-1] is parameters


def test_lstm_forward():
    r, golden = generator(), GOLDENS["lstm_forward"]
    x, a0 = r.randn(3, M, 7), r.randn(5, M)
    parameters = lstm_parameters(r)
    a, y, c, caches = lstm_forward(x, a0, parameters)
    close(a, golden["a"])
    close(c, golden["c"])
    close(y, golden["y"])
    steps, x_again = caches
    assert x_again is x
    assert len(steps) == 7
    for t, step in enumerate(steps):
        assert np.array_equal(step[0], a[:, :, t])
        assert np.array_equal(step[1], c[:, :, t])
        assert np.array_equal(step[3], np.zeros((5, M)) if t == 0 else c[:, :, t - 1])


def test_rnn_backward():
    r, golden = generator(), GOLDENS["rnn_backward"]
    x, s0 = r.randn(2, 1, 7), r.randn(6, 1)
    W, U, V = r.randn(6, 6), r.randn(6, 2), r.randn(2, 6)
    parameters = {"Waa": W, "Wax": U, "Wya": V, "ba": r.randn(6, 1), "by": r.randn(2, 1)}
    s, y, caches = rnn_forward(x, s0, parameters)
    close(s, golden["s"])
    close(y, golden["y"])
    gradients = rnn_backward(r.randn(6, 1, 7), caches)
    names = {"dx": "dx", "da0": "ds0", "dWax": "dU", "dWaa": "dW", "dba": "dba"}
    assert list(gradients) == list(names)
    for name, key in names.items():
        close(gradients[name], golden[key])


# ---------------------------------------------------------------- print-outs of the notebook

# The backward half prints single elements. Its parameters are drawn in another order.


def test_rnn_cell_backward_as_printed():
    r = generator()
    xt, a_prev = r.randn(3, M), r.randn(5, M)
    parameters = rnn_parameters(r, "Wax Waa Wya ba by")
    *_, cache = rnn_cell_forward(xt, a_prev, parameters)
    gradients = rnn_cell_backward(r.randn(5, M), cache)
    assert list(gradients) == ["dxt", "da_prev", "dWax", "dWaa", "dba"]
    printed(gradients["dxt"][1][2], "-1.3872130506")
    printed(gradients["da_prev"][2][3], "-0.152399493774")
    printed(gradients["dWax"][3][1], "0.410772824935")
    printed(gradients["dWaa"][1][2], "1.15034506685")
    printed(gradients["dba"][4], "0.20023491")
    assert gradients["dba"].shape == (5, 1)


def test_rnn_backward_as_printed():
    r = generator()
    x, a0 = r.randn(3, M, 4), r.randn(5, M)
    parameters = rnn_parameters(r, "Wax Waa Wya ba by")
    *_, caches = rnn_forward(x, a0, parameters)
    gradients = rnn_backward(r.randn(5, M, 4), caches)
    printed(gradients["dx"][1][2], "-2.07101689 -0.59255627 0.02466855 0.01483317")
    printed(gradients["da0"][2][3], "-0.314942375127")
    printed(gradients["dWax"][3][1], "11.2641044965")
    printed(gradients["dWaa"][1][2], "2.30333312658")
    printed(gradients["dba"][4], "-0.74747722")


def test_lstm_cell_backward_as_printed():
    r = generator()
    xt, a_prev, c_prev = r.randn(3, M), r.randn(5, M), r.randn(5, M)
    parameters = lstm_parameters(r)
    *_, cache = lstm_cell_forward(xt, a_prev, c_prev, parameters)
    gradients = lstm_cell_backward(r.randn(5, M), r.randn(5, M), cache)
    names = "dxt da_prev dc_prev dWf dbf dWi dbi dWc dbc dWo dbo"
    assert list(gradients) == names.split()
    printed(gradients["dxt"][1][2], "3.23055911511")
    printed(gradients["da_prev"][2][3], "-0.0639621419711")
    printed(gradients["dc_prev"][2][3], "0.797522038797")
    printed(gradients["dWf"][3][1], "-0.147954838164")
    printed(gradients["dWi"][1][2], "1.05749805523")
    printed(gradients["dWc"][3][1], "2.30456216369")
    printed(gradients["dWo"][1][2], "0.331311595289")
    printed(gradients["dbf"][4], "0.18864637")
    printed(gradients["dbi"][4], "-0.40142491")
    printed(gradients["dbc"][4], "0.25587763")
    printed(gradients["dbo"][4], "0.13893342")


def test_lstm_backward_as_printed():
    """The notebook's loss is of the first 4 of 7 steps."""
    r = generator()
    x, a0 = r.randn(3, M, 7), r.randn(5, M)
    *_, caches = lstm_forward(x, a0, lstm_parameters(r, zero_output=True))
    gradients = lstm_backward(r.randn(5, M, 4), caches)
    names = "dx da0 dWf dbf dWi dbi dWc dbc dWo dbo"
    assert list(gradients) == names.split()
    printed(gradients["dx"][1][2], "0.00218254 0.28205375 -0.48292508 -0.43281115")
    assert gradients["dx"].shape == (3, M, 4)
    printed(gradients["da0"][2][3], "0.312770310257")
    printed(gradients["dWf"][3][1], "-0.0809802310938")
    printed(gradients["dWi"][1][2], "0.40512433093")
    printed(gradients["dWc"][3][1], "-0.0793746735512")
    printed(gradients["dWo"][1][2], "0.038948775763")
    printed(gradients["dbf"][4], "-0.15745657")
    printed(gradients["dbi"][4], "-0.50848333")
    printed(gradients["dbc"][4], "-0.42510818")
    printed(gradients["dbo"][4], "-0.17958196")


# ---------------------------------------------------------------- the two helpers


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2)])
def test_softmax_is_over_axis_0(shape):
    x = generator().randn(*shape)
    assert_allclose(softmax(x), np.exp(x) / np.exp(x).sum(axis=0), rtol=1e-14)


def test_softmax_of_columns_far_apart():
    """With one maximum for all, the left column would be 0 / 0."""
    assert_allclose(softmax([[-1000.0, 1000.0], [-1000.0, 1000.0]]), np.full((2, 2), 0.5))


def test_sigmoid():
    x = generator().randn(3, 4)
    assert_allclose(sigmoid(x), 1 / (1 + np.exp(-x)), rtol=1e-14)
    assert sigmoid([-1e4, 1e4]).tolist() == [0, 1]


@pytest.mark.parametrize("x", [3.0, np.empty((0, 4))])
def test_softmax_refuses_what_has_no_column(x):
    with pytest.raises(ValueError, match=r"softmax: x must be \(n_y, m\)"):
        softmax(x)
