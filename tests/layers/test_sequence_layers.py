"""LayerNorm, means, maxima and last states, by plain numbers."""

import numpy as np
import pytest

import minirnn as m
from tests.contract.own_cells import SumCell

MASK = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 0]], bool)


def test_layer_norm_by_hand():
    layer = m.LayerNorm(3, epsilon=0.5, dtype=np.float64)
    layer.gain.value, layer.b.value = [1, 2, 3], [0.1, 0.2, 0.3]
    x = np.array([[1.0, 2.0, 6.0]])  # mean 3, variance (4 + 1 + 9) / 3
    n = np.array([-2, -1, 3]) / np.sqrt(14 / 3 + 0.5)
    np.testing.assert_allclose(layer.forward(x), [[1, 2, 3] * n + [0.1, 0.2, 0.3]], rtol=1e-14)
    np.testing.assert_allclose(layer.step(x), layer.forward(x))
    assert not layer.gain.decay
    assert not layer.b.decay


def test_layer_norm_knows_each_position_alone():
    layer = m.LayerNorm(4, dtype=np.float64)
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    y = layer.forward(x)
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-14)
    np.testing.assert_allclose(layer.forward(x[1, 2]), y[1, 2], rtol=1e-14)


def test_mean_and_maximum_are_over_valid_steps():
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    for layer, function in [(m.MeanOverTime(), np.mean), (m.MaxOverTime(), np.max)]:
        y = layer.forward(x, MASK)
        for row in range(3):
            np.testing.assert_allclose(y[row], function(x[row, MASK[row]], axis=0), rtol=1e-14)
        np.testing.assert_allclose(layer.forward(x), function(x, axis=1), rtol=1e-14)


def test_the_first_of_several_maxima_gets_the_gradient():
    layer = m.MaxOverTime()
    layer.forward(np.array([[[5.0, 1.0], [2.0, 7.0], [5.0, 7.0]]]))
    np.testing.assert_array_equal(layer.backward([[3, 4]]), [[[3, 0], [0, 4], [0, 0]]])


@pytest.mark.parametrize("kind", [m.MeanOverTime, m.MaxOverTime])
def test_step_gives_what_forward_gives_on_the_steps_so_far(kind):
    layer = kind()
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    for _ in range(2):
        for t in range(4):
            y_t = layer.step(x[:, t])
            np.testing.assert_allclose(y_t, kind().forward(x[:, : t + 1]), rtol=1e-14)
        with pytest.raises(ValueError, match=rf"{kind.__name__}: .*\(3, 2\).*reset_state"):
            layer.step(x[:2, 0])
        layer.reset_state()


@pytest.mark.parametrize("kind", [m.MeanOverTime, m.MaxOverTime])
def test_step_does_not_hold_on_to_the_array_it_was_given(kind):
    layer, x_t = kind(), np.full((2, 3), 5.0)
    layer.step(x_t)
    x_t[...] = 1  # a buffer that is used again
    expected = kind().forward(np.array([[[5.0] * 3, [1.0] * 3]] * 2))
    np.testing.assert_array_equal(layer.step(x_t), expected)


@pytest.mark.parametrize("kind", [m.LastStep, m.MeanOverTime, m.MaxOverTime])
def test_a_sequence_without_a_valid_step_is_named(kind):
    mask = np.array([[True, True], [False, False]])
    with pytest.raises(ValueError, match=rf"{kind.__name__}: sequence 1 of the batch has no valid"):
        kind().forward(np.ones((2, 2, 3)), mask)


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("between", [[], [m.Dropout(0.0), m.Tanh()]])
def test_last_state_is_the_final_h_of_both_directions(mask, between):
    both = m.Bidirectional(m.LSTM(3, 4, rng=0), m.GRU(3, 5, rng=1))
    x = np.random.default_rng(0).normal(size=(3, 4, 3))
    y = m.Sequential([both, *between, m.LastState()]).forward(x, mask)
    h_forward, _, h_backward = both.state
    expected = np.concatenate([h_forward, h_backward], axis=1)
    np.testing.assert_array_equal(y, np.tanh(expected) if between else expected)


def test_last_state_of_one_direction():
    x = np.random.default_rng(0).normal(size=(3, 4, 3))
    for reverse in [False, True]:
        layer = m.GRU(3, 5, rng=0, reverse=reverse)
        y = m.Sequential([layer, m.LastState()]).forward(x, MASK)
        np.testing.assert_array_equal(y, layer.state[0])


def test_last_state_of_a_cell_whose_output_is_not_its_state():
    both = m.Bidirectional(m.Recurrent(SumCell(3, 2)), m.Recurrent(SumCell(3, 4)))
    x = np.random.default_rng(0).normal(size=(3, 4, 3))
    y = m.Sequential([both, m.LastState()]).forward(x, MASK)
    u, v, u_back, v_back = both.state
    np.testing.assert_allclose(y, np.concatenate([u + u * v, u_back + u_back * v_back], axis=1))


def test_last_state_of_directions_that_are_mixed_is_refused():
    backwards = m.Bidirectional(m.GRU(4, 4), m.GRU(4, 4), merge="sum")
    for first, inside in [
        (m.GRU(3, 4), backwards),
        (m.GRU(3, 4), m.GRU(4, 4, reverse=True)),
        (m.GRU(3, 4, reverse=True), m.GRU(4, 4)),
    ]:
        with pytest.raises(ValueError, match="LastState: should stand behind a recurrent layer"):
            m.Sequential([first, m.Residual(inside), m.LastState()])
    x = np.random.default_rng(0).normal(size=(3, 4, 3))
    for reverse in [False, True]:
        inside = m.Residual(m.GRU(4, 4, reverse=reverse))
        model = m.Sequential([m.GRU(3, 4, reverse=reverse), inside, m.LastState()])
        np.testing.assert_allclose(
            model.forward(x, MASK), model[0].state[0] + inside.state[0], rtol=1e-6
        )


def test_last_state_finds_its_layer_through_nested_models():
    both = m.Bidirectional(m.RNN(3, 4, rng=0), m.RNN(3, 4, rng=1))
    ends = m.Sequential([m.LastState(), m.Dense(8, 2, rng=2)])
    model = m.Sequential([m.Sequential([m.Dense(3, 3, rng=3), both]), ends])
    model.forward(np.ones((2, 5, 3)), np.ones((2, 5), bool))
    expected = ends[1].forward(np.concatenate(both.state, axis=1))
    np.testing.assert_array_equal(model.forward(np.ones((2, 5, 3))), expected)


def test_last_state_refuses_what_it_cannot_know():
    with pytest.raises(RuntimeError, match=r"LastState: .*LastState\(\)\.follow"):
        m.LastState().forward(np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="LastState: should stand behind a recurrent layer"):
        m.Sequential([m.GRU(3, 4), m.Dense(4, 4), m.LastState()])
    with pytest.raises(TypeError, match="LastState: follows a recurrent layer .*got Dense"):
        m.LastState().follow(m.Dense(3, 4))
    with pytest.raises(ValueError, match=r"axis 2 \(features\) should be 4, .*got 3"):
        m.LastState().follow(m.GRU(3, 4)).forward(np.ones((2, 3, 3)))


@pytest.mark.parametrize(
    "kind", [m.LogSoftmax, m.LeakyReLU, m.ELU, m.Softplus, m.SiLU, m.GELU], ids=lambda k: k.__name__
)
@pytest.mark.parametrize(("dtype", "extreme"), [(np.float32, 3e38), (np.float64, 1.7e308)])
def test_no_finite_input_overflows_in_the_other_activations(kind, dtype, extreme):
    layer = kind()
    for number in [extreme, 1e4]:
        y = layer.forward(np.array([[number], [-number], [0]], dtype))
        assert y.dtype == dtype
        assert np.isfinite(y).all()
        grad_x = layer.backward(np.ones((3, 1), dtype))
        assert grad_x.dtype == dtype
        assert np.isfinite(grad_x).all()


def test_dropout_shared_over_time_draws_once_for_a_sequence():
    layer = m.Dropout(0.25, shared_over_time=True, rng=0)
    x = np.full((300, 7, 40), 3.0)
    y = layer.forward(x)
    assert set(np.unique(y)) == {0.0, 4.0}
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert not np.array_equal(y[0], y[1])  # but each sequence by itself
    grad = np.random.default_rng(0).normal(size=x.shape)
    np.testing.assert_allclose(layer.backward(grad), grad * y / 3, rtol=1e-12)
    with pytest.raises(ValueError, match=r"Dropout: .*\(batch, time, features\), got shape \(3, 4"):
        layer.forward(np.ones((3, 4)))


@pytest.mark.parametrize(
    "before",
    [
        lambda: [m.Bidirectional(m.GRU(3, 2), m.GRU(3, 2)), m.Dropout(0.5)],
        lambda: [m.RNN(3, 4, reverse=True)],
        lambda: [m.Sequential([m.Dense(3, 3), m.Bidirectional(m.GRU(3, 2), m.GRU(3, 2))])],
    ],
)
def test_the_last_step_of_what_was_read_backwards_is_warned_of(before):
    with pytest.warns(UserWarning, match=r"LastStep behind .* one step only. LastState\(\) takes"):
        m.Sequential([*before(), m.LastStep(), m.Dense(4, 2)])


def test_the_last_step_of_what_was_read_forwards_is_not():
    m.Sequential([m.GRU(3, 4), m.LastStep()])
    both = m.Bidirectional(m.GRU(3, 2), m.GRU(3, 2))
    m.Sequential([both, m.GRU(4, 4), m.LastStep()])
    m.Sequential([both, m.LastState()])


def test_the_maximum_over_minus_infinities_is_not_taken_from_the_padding():
    x = np.full((1, 3, 2), -np.inf)
    x[0, 0] = np.nan
    layer = m.MaxOverTime()
    y = layer.forward(x, mask=np.array([[False, True, True]]))
    np.testing.assert_array_equal(y, [[-np.inf, -np.inf]])
    grad_x = layer.backward(np.ones((1, 2)))
    np.testing.assert_array_equal(grad_x, [[[0, 0], [1, 1], [0, 0]]])


def test_a_part_of_a_chain_may_begin_behind_the_recurrent_layer():
    layers = [m.Bidirectional(m.GRU(2, 3, rng=0), m.GRU(2, 3, rng=1)), m.LayerNorm(6)]
    whole = m.Sequential([*layers, m.LastState(), m.Dense(6, 2, rng=2)])
    x, mask = np.random.default_rng(0).standard_normal((3, 5, 2)), np.arange(5) < [[5], [2], [1]]
    for cut in (1, 2):
        begun = whole[:cut].forward(x, mask)
        np.testing.assert_array_equal(whole[cut:].forward(begun, mask), whole.forward(x, mask))
    with pytest.raises(ValueError, match="LastState: should stand behind a recurrent layer"):
        m.Sequential([m.LayerNorm(6), m.LastState()])
    with pytest.raises(ValueError, match="LastState: should stand behind a recurrent layer"):
        m.Sequential([m.Dense(6, 6), whole[2]])
