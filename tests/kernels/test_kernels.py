"""The kernels against the time loop, at the sizes where they do something else than at small ones.

How they behave within layers, over random calls, is in tests/recurrent/test_kernels_in_layers.py.
"""

import copy
import tracemalloc
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from minirnn import GRUCell, LSTMCell, RNNCell
from minirnn.kernels import driver
from minirnn.recurrent.fast import kernel_runner
from minirnn.recurrent.loop import Loop

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tanh": (RNNCell, {}),
    "relu": (RNNCell, {"activation": "relu"}),
    "sigmoid": (RNNCell, {"activation": "sigmoid"}),
    "lstm": (LSTMCell, {}),
    "gru": (GRUCell, {}),
}
kinds = pytest.mark.parametrize("kind", KINDS)
SIZES = [
    (1, 1, 1, 1),
    (1, 9, 5, 3),
    (2, 1, 3, 4),
    (5, 6, 1, 2),
    (3, 40, 4, 70),
    (7, 450, 3, 2),  # several groups of steps in backward
    (33, 3, 60, 128),  # products large enough for BLAS to cut them
    (65, 2, 3, 256),
]


def cell_of(kind, inputs, hidden, dtype=np.float64):
    cell_type, keywords = KINDS[kind]
    cell = cell_type(inputs, hidden, rng=0, dtype=dtype, **keywords)
    rng = np.random.default_rng(1)
    for parameter in cell.parameters():
        parameter.value = rng.uniform(-1, 1, parameter.shape) / np.sqrt(hidden)
    return cell


def draw(cell, batch, time, seed=2):
    """Return input, state, and the gradients on output and final state."""
    rng = np.random.default_rng(seed)
    dtype = cell.Wx.value.dtype

    def numbers(*shape):
        return rng.uniform(-2, 2, shape).astype(dtype)

    state, grad_state = (
        tuple(numbers(*a.shape) for a in cell.initial_state(batch)) for _ in range(2)
    )
    return (
        numbers(batch, time, cell.input_size), state,
        numbers(batch, time, cell.hidden_size), grad_state,
    )  # fmt: skip


def run(make, cell, problem, mask=None, reverse=False):
    """Return everything that a forward and a backward give."""
    runner, (x, state, grad, grad_state) = make(cell), problem
    cell.zero_grad()
    y, final, caches = runner.forward(x, mask, state, reverse=reverse, keep=True)
    grad_x, first = runner.backward(grad, grad_state, caches, need_grad_x=True)
    return [y, *final, grad_x, *first, *[p.grad.copy() for p in cell.parameters()]]


def assert_close(actual, expected, tolerance=1e-12):
    for a, e in zip(actual, expected, strict=True):
        scale = max(1.0, float(np.abs(e).max(initial=0)))
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * scale)


@kinds
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_equals_the_loop(kind, sizes):
    batch, time, inputs, hidden = sizes
    cell = cell_of(kind, inputs, hidden)
    problem = draw(cell, batch, time)
    before = copy.deepcopy(problem)
    expected = run(Loop, cell, problem)
    assert_close(run(kernel_runner, cell, problem), expected)
    with patch.object(driver, "_GROUP_ROWS", 3 * batch), patch.object(driver, "_MOST_VIEWS", 1):
        assert_close(run(kernel_runner, cell, problem), expected)
    for a, b in zip((problem[0], *problem[1]), (before[0], *before[1]), strict=True):
        np.testing.assert_array_equal(a, b)


@kinds
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [(5, 2, 7), (0, 3, 1), (4, 4, 4), (0, 0, 0)], ids=str)
def test_padding_at_the_end(kind, reverse, lengths):
    """Also with a gradient on the final state, which goes in where a sequence ends."""
    cell = cell_of(kind, 2, 3)
    problem = draw(cell, 3, 7)
    mask = np.arange(7) < np.array(lengths)[:, np.newaxis]
    problem[0][~mask] = problem[2][~mask] = np.nan
    expected = run(Loop, cell, problem, mask, reverse)
    with patch.object(driver, "_GROUP_ROWS", 6):
        assert_close(run(kernel_runner, cell, problem, mask, reverse), expected)


@kinds
def test_padding_at_the_end_cannot_overflow(kind):
    """However long it is, and however fast a state that is left to itself would grow."""
    cell = cell_of(kind, 3, 4, np.float32)
    cell.Wh.value = np.tile(2 * np.eye(4), cell.Wh.shape[1] // 4)
    cell.b.value[...] = 0
    x, state, grad, _ = draw(cell, 2, 300)
    for rest in (x, grad, *state):
        rest[1] = 0  # the long sequence stays small
    mask = np.arange(300) < np.array([[2], [300]])
    found = run(kernel_runner, cell, (x, state, grad, None), mask)
    assert all(np.isfinite(array).all() for array in found)
    assert_close(found, run(Loop, cell, (x, state, grad, None), mask), 1e-4)


@kinds
def test_without_keep_the_same_numbers_and_no_cache(kind):
    cell = cell_of(kind, 2, 3)
    runner, (x, state, *_) = kernel_runner(cell), draw(cell, 4, 6)
    for mask in (None, np.arange(6) < np.array([[6], [1], [3], [0]])):
        kept = runner.forward(x, mask, state, reverse=False, keep=True)
        passing = runner.forward(x, mask, state, reverse=False, keep=False)
        assert passing[2] is None
        assert_close([passing[0], *passing[1]], [kept[0], *kept[1]], 0)


@kinds
@pytest.mark.parametrize("batch", [1, 3])
def test_step_equals_the_sequence(kind, batch):
    cell = cell_of(kind, 2, 3)
    runner, (x, state, *_) = kernel_runner(cell), draw(cell, batch, 5)
    y, final, _ = runner.forward(x, None, state, reverse=False, keep=False)
    for t in range(5):
        y_t, state = runner.step(x[:, t], state)
        assert_close([y_t], [y[:, t]])
    assert_close(state, final)


@kinds
def test_what_is_returned_stays_when_shapes_change(kind):
    cell = cell_of(kind, 2, 3)
    runner, results = kernel_runner(cell), []
    shapes = [(3, 4), (3, 4), (1, 9), (5, 2), (3, 4)]
    for seed, shape in enumerate(shapes):
        problem = draw(cell, *shape, seed=seed)
        expected = run(Loop, cell, problem)
        results.append((run(lambda cell: runner, cell, problem), expected))
    for found, expected in results:
        assert_close(found, expected)


@kinds
def test_backward_twice_doubles_the_gradients(kind):
    cell = cell_of(kind, 2, 3)
    runner, (x, state, grad, grad_state) = kernel_runner(cell), draw(cell, 3, 4)
    cell.zero_grad()
    _, _, caches = runner.forward(x, None, state, reverse=False, keep=True)
    runner.backward(grad, grad_state, caches, need_grad_x=True)
    once = [p.grad.copy() for p in cell.parameters()]
    grad_x, _ = runner.backward(grad, grad_state, caches, need_grad_x=False)
    assert grad_x is None
    assert_close([p.grad for p in cell.parameters()], [2 * g for g in once])


@kinds
def test_an_overwritten_cache_is_refused(kind):
    cell = cell_of(kind, 2, 3)
    runner, (x, state, grad, _) = kernel_runner(cell), draw(cell, 3, 4)
    _, _, caches = runner.forward(x, None, state, reverse=False, keep=True)
    runner.forward(x, None, state, reverse=False, keep=False)  # keeps nothing, spoils nothing
    runner.backward(grad, None, caches, need_grad_x=True)
    runner.forward(x, None, state, reverse=False, keep=True)
    before = [p.grad.copy() for p in cell.parameters()]
    with pytest.raises(RuntimeError, match="latest forward"):
        runner.backward(grad, None, caches, need_grad_x=True)
    assert_close([p.grad for p in cell.parameters()], before, 0)


@kinds
def test_arrays_in_use_are_not_given_to_another_call(kind):
    """As another thread would ask for them in the middle of a prediction."""
    cell = cell_of(kind, 2, 3)
    runner, (x, state, *_) = kernel_runner(cell), draw(cell, 3, 4)
    expected = runner.forward(x, None, state, reverse=False, keep=False)[0]
    kernel, inner = runner._kernel, []
    original = kernel._forward.begin

    def begin(self, cell, state):
        if not inner:
            inner.append(None)
            runner.forward(-x, None, state, reverse=False, keep=False)
        original(self, cell, state)

    with patch.object(kernel._forward, "begin", begin):
        found = runner.forward(x, None, state, reverse=False, keep=False)[0]
    np.testing.assert_array_equal(found, expected)


@kinds
def test_an_error_within_backward_leaves_no_gradient_behind(kind):
    cell = cell_of(kind, 2, 3)
    runner, (x, state, grad, grad_state) = kernel_runner(cell), draw(cell, 3, 4)
    cell.zero_grad()
    _, _, caches = runner.forward(x, None, state, reverse=False, keep=True)
    with (
        patch.object(driver.Backward, "add_products", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        runner.backward(grad, grad_state, caches, need_grad_x=True)
    assert not any(p.grad.any() for p in cell.parameters())
    runner.backward(grad, grad_state, caches, need_grad_x=True)
    found = [p.grad.copy() for p in cell.parameters()]
    assert_close(found, run(Loop, cell, (x, state, grad, grad_state))[-len(found) :])


@pytest.mark.parametrize(("kind", "numbers"), [("tanh", 2), ("lstm", 8), ("gru", 6)])
def test_of_many_steps_only_their_numbers_stay(kind, numbers):
    """Views of single steps, 100 bytes each, would be several times the numbers they show."""
    hidden, time = 8, 3 * driver._MOST_VIEWS // 2
    cell = cell_of(kind, 3, hidden, np.float32)
    runner = kernel_runner(cell)
    x, state, grad, _ = draw(cell, 1, time)
    tracemalloc.start()
    try:
        y, _, caches = runner.forward(x, None, state, reverse=False, keep=True)
        runner.backward(grad, None, caches, need_grad_x=True)
        held = tracemalloc.get_traced_memory()[0] - y.nbytes
    finally:
        tracemalloc.stop()
    assert held < 1.4 * 4 * time * (hidden * numbers + 3 + 1), f"{held / time:.0f} bytes a step"
