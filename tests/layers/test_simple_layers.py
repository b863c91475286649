"""Dense, activations, Embedding, Dropout, LastStep, Bidirectional: by plain numbers."""

import math

import numpy as np
import pytest

import minirnn as m


def test_dense_by_hand():
    layer = m.Dense(2, 3, dtype=np.float64)
    layer.W.value = [[1, 2, 3], [4, 5, 6]]
    layer.b.value = [0.1, 0.2, 0.3]
    np.testing.assert_allclose(layer.forward([[1, 10]]), [[41.1, 52.2, 63.3]], rtol=1e-15)
    np.testing.assert_array_equal(layer.backward([[1, 0, -1]]), [[-2, -2]])
    np.testing.assert_array_equal(layer.W.grad, [[1, 0, -1], [10, 0, -10]])
    np.testing.assert_array_equal(layer.b.grad, [1, 0, -1])


def test_dense_is_the_same_at_any_rank():
    layer = m.Dense(3, 2, rng=0, dtype=np.float64)
    rng = np.random.default_rng(0)
    x, grad = rng.normal(size=(4, 5, 6, 3)), rng.normal(size=(4, 5, 6, 2))
    y, grad_x = layer.forward(x), layer.backward(grad)
    gradient = layer.W.grad.copy()
    layer.zero_grad()
    np.testing.assert_array_equal(layer.forward(x.reshape(-1, 3)), y.reshape(-1, 2))
    np.testing.assert_array_equal(layer.backward(grad.reshape(-1, 2)), grad_x.reshape(-1, 3))
    np.testing.assert_array_equal(layer.W.grad, gradient)
    np.testing.assert_allclose(layer.forward(x[0, 0, 0]), y[0, 0, 0], rtol=1e-14)


def test_dense_initial_weights():
    layer = m.Dense(40, 60, rng=0)
    bound = math.sqrt(6 / 100)
    assert 0.95 * bound < np.abs(layer.W.value).max() <= bound
    assert abs(layer.W.value.mean()) < 0.05 * bound
    assert np.all(layer.b.value == 0)
    assert (layer.W.decay, layer.b.decay) == (True, False)
    assert m.Dense(2, 3, bias=False).b is None
    assert m.Dense(2, 3, bias=False).parameter_count == 6


def test_activations_by_hand():
    x = np.array([[-0.7, 0.0, 2.5]])
    exponentials = [math.exp(v) for v in x[0]]
    expected = {
        m.Softmax: [e / sum(exponentials) for e in exponentials],
        m.Sigmoid: [1 / (1 + math.exp(-v)) for v in x[0]],
        m.Tanh: [math.tanh(v) for v in x[0]],
        m.ReLU: [0, 0, 2.5],
    }
    for kind, y in expected.items():
        np.testing.assert_allclose(kind().forward(x)[0], y, rtol=1e-14)


@pytest.mark.parametrize(
    ("layer", "slope"), [(m.ReLU(), 0), (m.LeakyReLU(0.5), 0.5), (m.ELU(0.25), 0.25)], ids=str
)
def test_the_slope_at_a_kink_is_that_below_it(layer, slope):
    """As in PyTorch."""
    layer.forward(np.array([[-1e-30, 0.0, -0.0, 1e-30]]))
    below = 8 * slope
    np.testing.assert_array_equal(layer.backward(np.full((1, 4), 8.0)), [[below, below, below, 8]])


@pytest.mark.parametrize("kind", [m.Softmax, m.Sigmoid, m.Tanh, m.ReLU])
@pytest.mark.parametrize(
    ("dtype", "extreme"),
    [(np.float32, 1e4), (np.float32, 3e38), (np.float64, 1e4), (np.float64, 1.7e308)],
)
def test_no_finite_input_overflows(kind, dtype, extreme):
    layer = kind()
    y = layer.forward(np.array([[extreme, -extreme, 0]], dtype))
    expected = {
        m.Softmax: [1, 0, 0],
        m.Sigmoid: [1, 0, 0.5],
        m.Tanh: [1, -1, 0],
        m.ReLU: [np.asarray(extreme, dtype), 0, 0],
    }[kind]
    np.testing.assert_array_equal(y, [expected])
    assert y.dtype == dtype
    assert np.isfinite(layer.backward(np.ones((1, 3), dtype))).all()


def test_embedding_is_a_dense_layer_on_one_hot_vectors():
    tokens = np.array([[2, 0, 2, 2], [1, 4, 0, 2]])
    layer = m.Embedding(5, 3, rng=0, dtype=np.float64)
    dense = m.Dense(5, 3, bias=False, dtype=np.float64)
    dense.W.value = layer.W.value
    one_hot = m.data.one_hot(tokens, 5, dtype=np.float64)
    np.testing.assert_array_equal(layer.forward(tokens), dense.forward(one_hot))
    grad = np.random.default_rng(0).normal(size=(2, 4, 3))
    assert layer.backward(grad) is None
    dense.backward(grad)
    np.testing.assert_allclose(layer.W.grad, dense.W.grad, rtol=1e-14)
    assert np.all(layer.W.grad[3] == 0)


def test_embedding_takes_no_gradient_from_the_padding():
    layer, mask = m.Embedding(3, 2, rng=0, dtype=np.float64), np.array([[True, False, True]])
    y = layer.forward([[1, -9, 1]], mask)
    np.testing.assert_array_equal(y[0], [layer.W.value[1], [0, 0], layer.W.value[1]])
    layer.backward([[[1, 2], [np.nan, 7], [3, 4]]])
    np.testing.assert_array_equal(layer.W.grad, [[0, 0], [4, 6], [0, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_embedding_takes_any_integers(dtype):
    layer = m.Embedding(200, 2, rng=0)
    tokens = np.array([[0, 100, 120]], dtype)
    np.testing.assert_array_equal(layer.forward(tokens)[0], layer.W.value[[0, 100, 120]])
    np.testing.assert_array_equal(layer.step(tokens[:, 1]), layer.W.value[[100]])


def test_dropout_keeps_the_mean_and_uses_the_same_factors_backwards():
    layer = m.Dropout(0.25, rng=0)
    x = np.full((200, 50, 4), 3.0)
    y = layer.forward(x)
    assert set(np.unique(y)) == {0.0, 4.0}
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.01)
    grad = np.random.default_rng(0).normal(size=x.shape)
    np.testing.assert_allclose(layer.backward(grad), grad * y / 3, rtol=1e-12)
    assert not np.array_equal(layer.forward(x), y)
    np.testing.assert_array_equal(m.Dropout(0.25, rng=0).forward(x), y)


def test_dropout_is_the_identity_in_evaluation_and_in_a_stream():
    layer = m.Dropout(0.9, rng=0)
    x = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_array_equal(layer.step(x), x)
    np.testing.assert_array_equal(layer.eval().forward(x), x)
    np.testing.assert_array_equal(layer.backward(2 * x), 2 * x)
    layer.train()
    assert not np.array_equal(layer.forward(x), x)


def test_dropout_in_evaluation_draws_nothing():
    one, two = m.Dropout(0.5, rng=0), m.Dropout(0.5, rng=0)
    x = np.ones((3, 4))
    one.eval().forward(x)
    one.train()
    np.testing.assert_array_equal(one.forward(x), two.forward(x))


def test_last_step_takes_the_last_valid_step():
    x = np.arange(24.0).reshape(3, 4, 2)
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [1, 0, 0, 0]], bool)
    layer = m.LastStep()
    np.testing.assert_array_equal(layer.forward(x), x[:, 3])
    y = layer.forward(x, mask)
    np.testing.assert_array_equal(y, [x[0, 3], x[1, 2], x[2, 0]])
    expected = np.zeros_like(x)
    expected[0, 3], expected[1, 2], expected[2, 0] = [1, 2], [3, 4], [5, 6]
    np.testing.assert_array_equal(layer.backward([[1, 2], [3, 4], [5, 6]]), expected)


def test_last_step_names_the_sequence_that_has_none():
    layer = m.LastStep()
    mask = np.array([[True, True], [False, False]])
    with pytest.raises(ValueError, match="LastStep: sequence 1 of the batch has no valid step"):
        layer.forward(np.ones((2, 2, 3)), mask)
    with pytest.raises(RuntimeError, match="LastStep: backward was called before forward"):
        layer.backward(np.ones((2, 3)))


def test_bidirectional_is_both_layers_side_by_side():
    one = m.LSTM(3, 4, rng=0, dtype=np.float64)
    two = m.GRU(3, 5, rng=1, dtype=np.float64)
    ahead = m.LSTM(3, 4, rng=0, dtype=np.float64)
    back = m.GRU(3, 5, rng=1, reverse=True, dtype=np.float64)
    layer = m.Bidirectional(one, two)
    assert layer.output_size == 9
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(2, 6, 3)), rng.random((2, 6)) < 0.7
    y = layer.forward(x, mask)
    np.testing.assert_array_equal(y[..., :4], ahead.forward(x, mask))
    np.testing.assert_array_equal(y[..., 4:], back.forward(x, mask))
    grad = rng.normal(size=y.shape)
    expected = ahead.backward(grad[..., :4]) + back.backward(grad[..., 4:])
    np.testing.assert_allclose(layer.backward(grad), expected, rtol=1e-14)
    for got, want in zip(layer.state, ahead.state + back.state, strict=True):
        np.testing.assert_array_equal(got, want)


def test_bidirectional_refuses_what_cannot_work():
    one, two = m.RNN(3, 4), m.RNN(3, 4)
    with pytest.raises(ValueError, match="Bidirectional: the two directions need a layer each"):
        m.Bidirectional(one, one)
    with pytest.raises(ValueError, match="forward_layer should not have reverse=True"):
        m.Bidirectional(m.RNN(3, 4, reverse=True), two)
    with pytest.raises(TypeError, match=r"backward_layer should be a recurrent layer, got Dense"):
        m.Bidirectional(one, m.Dense(3, 4))
    assert two.reverse is False
    with pytest.raises(ValueError, match="Bidirectional: .*cannot be run step by step"):
        m.Bidirectional(one, two).step(np.ones((2, 3)))


def test_bidirectional_refuses_layers_of_different_input_sizes():
    with pytest.raises(ValueError, match="Bidirectional: .*input_size.*3.*2"):
        m.Bidirectional(m.RNN(3, 4), m.RNN(2, 4))


def test_a_wrong_second_half_of_the_state_leaves_the_first_layer_alone():
    layer = m.Bidirectional(m.RNN(3, 4, rng=0), m.RNN(3, 5, rng=1))
    y = layer.forward(np.ones((2, 6, 3)))
    with pytest.raises(ValueError, match=r"shape \(2, 5\), got \(1, 5\)"):
        layer.backward(np.ones_like(y), (np.zeros((2, 4)), np.zeros((1, 5))))
    assert np.all(layer.forward_layer.cell.Wx.grad == 0)


@pytest.mark.parametrize(
    "layer", [m.Dropout(0.5, rng=0), m.StateDropout(m.GRU(2, 3, rng=0), 0.5, rng=0)], ids=["D", "S"]
)
def test_a_rate_assigned_later_is_checked_too(layer):
    with pytest.raises(ValueError, match="rate should be at least 0 and below 1, got 2"):
        layer.rate = 2.0
    assert layer.rate == 0.5
    layer.rate = 0.25
    assert "0.25" in repr(layer)


@pytest.mark.parametrize("engine", ["auto", "off"])
def test_an_activation_assigned_later_is_the_one_that_runs(engine):
    layer = m.RNN(3, 4, rng=0, engine=engine, dtype=np.float64)
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    layer.forward(x)
    layer.activation = "relu"
    other = m.RNN(3, 4, activation="relu", engine=engine, dtype=np.float64)
    other.load_state_dict(layer.state_dict())
    np.testing.assert_allclose(layer.forward(x), other.forward(x), rtol=1e-14)
    assert m.check_gradients(layer, x).passed
    with pytest.raises(ValueError, match="activation should be one of"):
        layer.activation = "gelu"
