"""The time loop: what it runs must be what the cell would give, sequence by sequence."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minirnn as m
from tests.contract import helpers, table
from tests.contract.own_cells import MatrixCell, SumCell

FORWARD = [
    case for case in table.RECURRENT if "reverse" not in case.name and "Bidir" not in case.name
]
EXACT = {"rtol": 1e-12, "atol": 1e-14}
CLOSE = {"rtol": 1e-11, "atol": 1e-13}


def _layer(case, hidden=4, seed=1):
    return helpers.randomize(case.make(hidden, np.float64), seed)


def _draw(rng, y, layer):
    return rng.normal(size=y.shape), tuple(rng.normal(size=array.shape) for array in layer.state)


@pytest.mark.parametrize("case", **table.by_name(table.RECURRENT))
def test_a_masked_batch_is_each_sequence_run_alone(case):
    layer, batch, time = _layer(case), 4, 6
    x, mask = case.input(batch, time), helpers.make_mask("gaps", batch, time)
    mask[2] = [True, True, False, False, False, False]
    mask[3] = False
    initial = helpers.random_state(layer, batch, 2)
    y = layer.forward(helpers.with_padding(x, mask, np.nan), mask, initial)
    grad, grad_final = _draw(np.random.default_rng(3), y, layer)
    layer.zero_grad()
    grad_x = layer.backward(grad, grad_final)
    final, grad_state = layer.state, layer.grad_state
    together = {name: p.grad.copy() for name, p in layer.named_parameters()}

    layer.zero_grad()
    for row in range(batch):
        real = np.flatnonzero(mask[row])
        own_state = tuple(array[row : row + 1] for array in initial)
        own_grad = tuple(array[row : row + 1] for array in grad_final)
        assert np.all(y[row, ~mask[row]] == 0)
        assert np.all(grad_x[row, ~mask[row]] == 0)
        if real.size == 0:
            ends, starts = own_state, own_grad
        else:
            own_y = layer.forward(x[row : row + 1, real], state=own_state)
            own_grad_x = layer.backward(grad[row : row + 1, real], own_grad)
            np.testing.assert_allclose(y[row, real], own_y[0], **EXACT)
            np.testing.assert_allclose(grad_x[row, real], own_grad_x[0], **CLOSE)
            ends, starts = layer.state, layer.grad_state
        for k in range(len(initial)):
            np.testing.assert_allclose(final[k][row], ends[k][0], **EXACT)
            np.testing.assert_allclose(grad_state[k][row], starts[k][0], **CLOSE)
    for name, parameter in layer.named_parameters():
        np.testing.assert_allclose(together[name], parameter.grad, **CLOSE, err_msg=name)


@pytest.mark.parametrize("case", **table.by_name(FORWARD))
def test_forward_is_the_cell_step_by_step(case):
    layer, x = _layer(case), case.input(3, 5)
    state = helpers.random_state(layer, 3, 4)
    y = layer.forward(x, state=state)
    for t in range(5):
        y_t, state, _ = layer.cell.forward(x[:, t], state)
        np.testing.assert_allclose(y[:, t], y_t, **EXACT)
    for ours, cells in zip(layer.state, state, strict=True):
        np.testing.assert_allclose(ours, cells, **EXACT)


@pytest.mark.parametrize("case", **table.by_name(FORWARD))
def test_step_carries_the_state_as_forward_does(case):
    layer, x = _layer(case), case.input(3, 5)
    y = layer.forward(x)
    final = layer.state
    layer.reset_state()
    for _ in range(2):  # the second time, from the beginning again
        for t in range(5):
            np.testing.assert_allclose(layer.step(x[:, t]), y[:, t], **EXACT)
        for a, b in zip(layer.state, final, strict=True):
            np.testing.assert_allclose(a, b, **EXACT)
        layer.reset_state()
        assert layer.state is None


@pytest.mark.parametrize("engine", ["auto", "off"])
@pytest.mark.parametrize("kind", [m.RNN, m.LSTM, m.GRU])
def test_what_a_step_returned_may_be_written_over(kind, engine):
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    layer, other = (kind(3, 4, rng=0, dtype=np.float64, engine=engine) for _ in range(2))
    for x_t in x:
        y_t = layer.step(x_t)
        np.testing.assert_array_equal(y_t, other.step(x_t))
        y_t[:] = 7


def test_step_and_forward_do_not_disturb_each_other():
    layer = m.LSTM(3, 4, rng=0, dtype=np.float64)
    x, grad = np.random.default_rng(0).normal(size=(2, 5, 3)), np.ones((2, 5, 4))
    y = layer.forward(x)
    expected = layer.backward(grad)
    layer.step(x[:, 0])
    np.testing.assert_array_equal(layer.backward(grad), expected)
    np.testing.assert_array_equal(layer.forward(x), y)
    np.testing.assert_allclose(layer.step(x[:, 1]), y[:, 1], **EXACT)


@pytest.mark.parametrize("case", **table.by_name(table.CELLS))
@pytest.mark.parametrize("lengths", [[5], [1, 4], [2, 2, 1]])
def test_chunks_of_a_stateful_run_are_one_long_run(case, lengths):
    whole = m.Recurrent(_layer(case))
    pieces = m.Recurrent(whole.cell, stateful=True)
    x, mask = case.input(3, 5), helpers.make_mask("gaps", 3, 5)
    expected = whole.forward(x, mask)
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        np.testing.assert_allclose(
            pieces.forward(x[:, part], mask[:, part]), expected[:, part], **EXACT
        )
        start += length
    for a, b in zip(pieces.state, whole.state, strict=True):
        np.testing.assert_allclose(a, b, **EXACT)


@pytest.mark.parametrize("case", **table.by_name(table.CELLS))
def test_no_gradient_flows_from_a_chunk_to_the_one_before(case):
    cell = _layer(case)
    x = case.input(3, 5)
    stateful = m.Recurrent(cell, stateful=True)
    stateful.forward(x[:, :2])
    between = stateful.state
    y = stateful.forward(x[:, 2:])
    grad = np.random.default_rng(0).normal(size=y.shape)
    cell.zero_grad()
    grad_x = stateful.backward(grad)
    got = [p.grad.copy() for p in cell.parameters()]

    alone = m.Recurrent(cell)  # the second chunk with the state between them as a constant
    alone.forward(x[:, 2:], state=between)
    cell.zero_grad()
    np.testing.assert_allclose(grad_x, alone.backward(grad), **EXACT)
    for a, parameter in zip(got, cell.parameters(), strict=True):
        np.testing.assert_allclose(a, parameter.grad, **EXACT)


@pytest.mark.parametrize("case", **table.by_name(table.CELLS))
def test_reverse_is_flip_run_flip(case):
    cell = _layer(case)
    ahead, back = m.Recurrent(cell), m.Recurrent(cell, reverse=True)
    x, mask = case.input(3, 5), helpers.make_mask("gaps", 3, 5)
    state = helpers.random_state(cell, 3, 5)
    y = ahead.forward(x[:, ::-1], mask[:, ::-1], state)
    np.testing.assert_allclose(back.forward(x, mask, state), y[:, ::-1], **EXACT)
    grad, grad_final = _draw(np.random.default_rng(1), y, ahead)
    grad_x = ahead.backward(grad, grad_final)
    np.testing.assert_allclose(back.backward(grad[:, ::-1], grad_final), grad_x[:, ::-1], **CLOSE)
    for one, two in [(ahead.state, back.state), (ahead.grad_state, back.grad_state)]:
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b, **CLOSE)


@pytest.mark.parametrize("case", **table.by_name(table.RECURRENT))
def test_gradient_on_the_final_state_is_zero_unless_given(case):
    layer, x = _layer(case), case.input(3, 5)
    y = layer.forward(x)
    zeros = tuple(np.zeros_like(array) for array in layer.state)
    grad = np.random.default_rng(1).normal(size=y.shape)
    np.testing.assert_array_equal(layer.backward(grad), layer.backward(grad, zeros))


@pytest.mark.parametrize("kind", [None, "gaps", "all padding"])
@pytest.mark.parametrize("case", **table.by_name(table.RECURRENT))
def test_nothing_is_shared_with_the_states_given(case, kind):
    layer, x = _layer(case), case.input(3, 5)
    state, grad_state = (helpers.random_state(layer, 3, seed) for seed in (6, 7))
    y = layer.forward(x, helpers.make_mask(kind, 3, 5), state)
    layer.backward(np.ones_like(y), grad_state)
    for k in range(len(state)):
        assert not np.shares_memory(state[k], layer.state[k])
        assert not np.shares_memory(grad_state[k], layer.grad_state[k])


@pytest.mark.parametrize("method", ["forward", "step"])
def test_another_batch_size_is_refused_until_the_state_is_reset(method):
    layer = m.GRU(3, 4, stateful=True, rng=0)
    layer.forward(np.ones((2, 5, 3)))
    before = helpers.snapshot(layer)
    x = np.ones((3, 5, 3)) if method == "forward" else np.ones((3, 3))
    with pytest.raises(ValueError, match=r"GRU: axis 0 \(batch\).*be 2.*got 3.*reset_state\(\)"):
        getattr(layer, method)(x)
    helpers.assert_same(before, helpers.snapshot(layer))
    layer.reset_state()
    assert getattr(layer, method)(x).shape[0] == 3


def test_a_given_state_takes_the_place_of_the_carried_one():
    layer = m.LSTM(3, 4, stateful=True, rng=0, dtype=np.float64)
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    first = layer.forward(x)
    zeros = (np.zeros((2, 4)), np.zeros((2, 4)))
    assert not np.allclose(layer.forward(x), first)
    np.testing.assert_array_equal(layer.forward(x, state=zeros), first)
    layer.reset_state()
    np.testing.assert_array_equal(layer.forward(x), first)


def test_a_layer_that_is_not_stateful_begins_anew():
    layer = m.GRU(3, 4, rng=0)
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    np.testing.assert_array_equal(layer.forward(x), layer.forward(x))
    assert layer.forward(np.ones((5, 2, 3))).shape == (5, 2, 4)


def test_one_cell_may_run_in_two_layers():
    cell = helpers.randomize(m.RNNCell(4, 4, dtype=np.float64, rng=0), 1)
    one, two = m.Recurrent(cell), m.Recurrent(cell)
    apart = [m.Recurrent(copy.deepcopy(cell)) for _ in range(2)]
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    y = two.forward(one.forward(x))
    np.testing.assert_array_equal(apart[1].forward(apart[0].forward(x)), y)
    grad_x = one.backward(two.backward(np.ones_like(y)))
    np.testing.assert_array_equal(apart[0].backward(apart[1].backward(np.ones_like(y))), grad_x)
    total = apart[0].cell.Wh.grad + apart[1].cell.Wh.grad
    np.testing.assert_allclose(cell.Wh.grad, total, **CLOSE)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_mask_on_any_shape(data):
    batch, time, hidden = (data.draw(st.integers(1, 5)) for _ in range(3))
    mask = data.draw(hnp.arrays(bool, (batch, time)))
    kind = data.draw(st.sampled_from([m.LSTMCell, m.GRUCell, m.RNNCell, SumCell, MatrixCell]))
    reverse = data.draw(st.booleans())
    cell = helpers.randomize(kind(3, hidden, dtype=np.float64), 0)
    layer = m.Recurrent(cell, reverse=reverse)
    rng = np.random.default_rng(batch * 100 + time)
    x = rng.normal(size=(batch, time, 3))
    y = layer.forward(helpers.with_padding(x, mask, np.nan), mask)
    final = layer.state
    grad = rng.normal(size=y.shape)
    grad_x = layer.backward(helpers.with_padding(grad, mask, np.nan))
    for row in range(batch):
        state = tuple(array[row : row + 1] for array in cell.initial_state(batch))
        steps = np.flatnonzero(mask[row])
        caches = []
        for t in steps[::-1] if reverse else steps:
            y_t, state, cache = cell.forward(x[row : row + 1, t], state)
            caches.append((t, cache))
            np.testing.assert_allclose(y[row, t], y_t[0], **EXACT)
        for a, b in zip(final, state, strict=True):
            np.testing.assert_allclose(a[row], b[0], **EXACT)
        back = tuple(np.zeros_like(array) for array in state)
        for t, cache in reversed(caches):
            grad_x_t, back = cell.backward(grad[row : row + 1, t], back, cache)
            np.testing.assert_allclose(grad_x[row, t], grad_x_t[0], **CLOSE)
        assert np.all(y[row, ~mask[row]] == 0)
        assert np.all(grad_x[row, ~mask[row]] == 0)


def test_every_recurrent_layer_takes_and_tells_its_engine():
    off = 'the time loop in Python: engine="off"'
    both = m.Bidirectional(m.LSTM(2, 3, rng=0), m.GRU(2, 4, rng=1), engine="off")
    assert both.engine == both.forward_layer.engine == both.backward_layer.engine == off
    assert m.StateDropout(both, 0.1).engine == off
    mixed = m.Bidirectional(m.LSTM(2, 3, engine="off", rng=0), m.GRU(2, 4, rng=1))
    if mixed.backward_layer.engine != off:
        assert mixed.engine.startswith(f"forward_layer: {off}; backward_layer: ")
    with pytest.raises(ValueError, match="Bidirectional: engine should be one of"):
        m.Bidirectional(m.LSTM(2, 3), m.LSTM(2, 3), engine="fast")
    x = np.random.default_rng(0).normal(size=(2, 5, 2))
    fast = m.Bidirectional(m.LSTM(2, 3, rng=0), m.GRU(2, 4, rng=1))
    np.testing.assert_allclose(both.forward(x), fast.forward(x), rtol=1e-5, atol=1e-6)


def test_a_state_is_carried_in_the_direction_of_reading():
    layer, x = m.GRU(3, 4, rng=0, stateful=True, reverse=True), np.random.default_rng(0)
    x = x.standard_normal((2, 6, 3))
    last, first = layer.forward(x[:, 4:]), layer.forward(x[:, :4])
    whole = m.Recurrent(layer.cell, reverse=True).forward(x)
    np.testing.assert_allclose(np.concatenate([first, last], axis=1), whole, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="backward_layer should not have stateful=True"):
        m.Bidirectional(m.GRU(3, 4), m.GRU(3, 4, stateful=True))


def test_forwards_carried_and_backwards_chunk_by_chunk():
    both = m.Bidirectional(m.GRU(3, 4, rng=0, stateful=True), m.GRU(3, 4, rng=1))
    x = np.random.default_rng(0).standard_normal((2, 6, 3))
    chunks = np.concatenate([both.forward(x[:, :4]), both.forward(x[:, 4:])], axis=1)
    whole = both.forward_layer.predict(x)
    np.testing.assert_allclose(chunks[..., :4], whole, rtol=1e-6, atol=1e-6)
