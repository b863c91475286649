"""Each kernel against the plain loop over its equations, and the promises around the numbers."""

from __future__ import annotations

import copy
import gc
import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minirnn.kernels import layout
from minirnn.kernels.workspace import Workspace
from tests.kernels.reference import KINDS, loop_gradients, make_problem, run_kernel, run_loop

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def flat(tree):
    if isinstance(tree, tuple):
        return [leaf for branch in tree for leaf in flat(branch)]
    return [] if tree is None else [tree]


def assert_equal(actual, expected, tolerance=1e-12):
    actual, expected = flat(actual), flat(expected)
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * np.abs(e).max(initial=0))


def masks(batch, time):
    lengths = arrays(int, batch, elements=st.integers(0, time))
    return st.one_of(
        st.none(),
        lengths.map(lambda n: np.arange(time) < n[:, np.newaxis]),
        arrays(bool, (batch, time)),
    )


@st.composite
def problems(draw, kind):
    sizes = st.integers(1, 4)
    batch, time, inputs, hidden = draw(sizes), draw(st.integers(1, 6)), draw(sizes), draw(sizes)
    mask = draw(masks(batch, time))
    problem = make_problem(
        kind, batch, time, inputs, hidden, mask=mask, seed=draw(st.integers(0, 999))
    )
    # Unsaturated: where tanh is within 1e-7 of 1, the derivative 1 - h^2 has nine digits, no more.
    problem = problem._replace(weights=tuple(0.3 * w for w in problem.weights))
    if draw(st.booleans()):
        problem = problem._replace(grad_state=None)
    if draw(st.booleans()):  # time read backwards through a view
        problem = problem._replace(x=problem.x[:, ::-1], grad_y=problem.grad_y[:, ::-1])
    if draw(st.booleans()):  # every second column of something larger, read-only
        x, grad_y = np.repeat(problem.x, 2, 2)[:, :, ::2], np.asfortranarray(problem.grad_y)
        x.flags.writeable = grad_y.flags.writeable = False
        problem = problem._replace(x=x, grad_y=grad_y)
    return problem


@kinds
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_equals_the_loop(kind, data):
    problem = data.draw(problems(kind))
    before = copy.deepcopy(problem)
    rows = data.draw(st.sampled_from([1, 5, 9, 1024]))  # so that backward takes several groups
    with patch.object(layout, "_GROUP_ROWS", rows):
        y, state, gradients = run_kernel(kind, problem)
    assert_equal((y, state), run_loop(kind, problem))
    assert_equal(gradients, loop_gradients(kind, problem))
    for a, b in zip(flat(tuple(problem)), flat(tuple(before)), strict=True):
        np.testing.assert_array_equal(a, b)


SIZES = [
    (1, 1, 1, 1),
    (1, 9, 5, 3),
    (2, 1, 3, 4),
    (5, 6, 1, 2),
    (3, 40, 4, 70),
    (7, 450, 3, 2),  # four groups of steps in backward
    (33, 3, 60, 128),  # products cut into blocks
    (65, 2, 3, 256),
]


@kinds
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_directional_derivative_at_working_sizes(kind, sizes):
    """Where number by number takes too long: one random direction through everything."""
    problem = make_problem(kind, *sizes, seed=3)
    problem = problem._replace(weights=tuple(0.1 * w for w in problem.weights))
    y, state, gradients = run_kernel(kind, problem)
    assert_equal((y, state), run_loop(kind, problem))
    rng = np.random.default_rng(4)

    def disturb(array):
        direction = rng.standard_normal(array.shape)
        directions.append(direction)
        return array + 1e-30j * direction

    directions: list[np.ndarray] = []
    disturbed = problem._replace(
        x=disturb(problem.x),
        state=tuple(map(disturb, problem.state)),
        weights=tuple(map(disturb, problem.weights)),
    )
    y, state = run_loop(kind, disturbed)
    total = np.sum(y * problem.grad_y)
    total += sum(np.sum(s * g) for s, g in zip(state, problem.grad_state, strict=True))
    terms = [np.sum(g * d) for g, d in zip(flat(gradients), directions, strict=True)]
    assert sum(terms) == pytest.approx(
        total.imag / 1e-30, rel=1e-11, abs=1e-11 * max(map(abs, terms))
    )


@kinds
@pytest.mark.parametrize("batch", [1, 3])
def test_padding_is_never_read(kind, batch):
    mask = np.array([[1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 1, 0]], bool)[:batch]
    clean = make_problem(kind, batch, 6, 2, 3, mask=mask)
    padding = ~mask[:, :, np.newaxis]
    dirty = clean._replace(
        x=np.where(padding, np.nan, clean.x), grad_y=np.where(padding, np.nan, clean.grad_y)
    )
    expected = run_kernel(kind, clean)
    actual = run_kernel(kind, dirty)
    for a, e in zip(flat(actual), flat(expected), strict=True):
        np.testing.assert_array_equal(a, e)
    y, _, (grad_x, _, _) = actual
    assert not y[~mask].any()
    assert not grad_x[~mask].any()


@kinds
def test_padding_at_the_end_cannot_overflow(kind):
    """However long it is, and however fast a state that is left to itself would grow."""
    problem = make_problem(kind, 2, 300, 3, 4, dtype=np.float32)._replace(grad_state=None)
    Wx, _, b, *bn = problem.weights
    doubling = np.tile(2 * np.eye(4, dtype=np.float32), kind.gates)
    weights = (np.abs(Wx), doubling, np.zeros_like(b), *map(np.zeros_like, bn))
    x, grad_y = np.abs(problem.x), problem.grad_y
    state = tuple(np.abs(s) for s in problem.state)
    for rest in (x, grad_y, *state):
        rest[1] = 0  # the long sequence stays at zero
    long = problem._replace(
        x=x, state=state, weights=weights, mask=np.arange(300) < np.array([[2], [300]])
    )
    short = long._replace(
        x=x[:1, :2], state=tuple(s[:1] for s in state), mask=None, grad_y=grad_y[:1, :2]
    )
    *_, (grad_x, _, grads) = run_kernel(kind, long)
    *_, (expected_grad_x, _, expected_grads) = run_kernel(kind, short)
    assert_equal(grad_x[:1, :2], expected_grad_x, tolerance=1e-5)
    assert_equal(grads, expected_grads, tolerance=1e-5)


@kinds
def test_masked_sequence_equals_the_sequence_alone(kind):
    lengths = [5, 2, 0]
    mask = np.arange(8) < np.array(lengths)[:, np.newaxis]
    problem = make_problem(kind, 3, 8, 2, 4, mask=mask)
    y, state, (grad_x, grad_state, _) = run_kernel(kind, problem)
    for k, length in enumerate(lengths):
        one = slice(k, k + 1)
        alone = problem._replace(
            x=problem.x[one, :length],
            state=tuple(s[one] for s in problem.state),
            mask=None,
            grad_y=problem.grad_y[one, :length],
            grad_state=tuple(g[one] for g in problem.grad_state),
        )
        y_alone, state_alone, (grad_x_alone, grad_state_alone, _) = run_kernel(kind, alone)
        assert_equal(y[one, :length], y_alone)
        assert_equal(tuple(s[one] for s in state), state_alone)
        assert_equal(grad_x[one, :length], grad_x_alone)
        assert_equal(tuple(g[one] for g in grad_state), grad_state_alone)


@kinds
@pytest.mark.parametrize("masked", [False, True])
def test_without_keep_the_same_numbers_and_no_cache(kind, masked):
    mask = np.random.default_rng(0).random((3, 7)) < 0.6 if masked else None
    problem = make_problem(kind, 3, 7, 2, 4, mask=mask)
    arguments = (problem.x, problem.state, problem.weights, mask)
    y, state, cache = kind.kernel(kind.forward, *arguments, keep=False)
    kept_y, kept_state, _ = kind.kernel(kind.forward, *arguments)
    assert cache is None
    assert_equal((y, state), (kept_y, kept_state), tolerance=0)


@kinds
@pytest.mark.parametrize("batch", [1, 3])
def test_step_equals_the_sequence(kind, batch):
    problem = make_problem(kind, batch, 5, 2, 4)
    y, final, _ = kind.kernel(kind.forward, problem.x, problem.state, problem.weights)
    state = problem.state
    for t in range(5):
        before = copy.deepcopy(state)
        y_t, following = kind.kernel(kind.step, problem.x[:, t], state, problem.weights)
        assert_equal(y_t, y[:, t])
        assert_equal(state, before, tolerance=0)
        state = following
    assert_equal(state, final)


@kinds
def test_no_input_gradient_on_request(kind):
    problem = make_problem(kind, 3, 5, 2, 4)
    *_, (_, grad_state, grads) = run_kernel(kind, problem)
    *_, (grad_x, *others) = run_kernel(kind, problem, need_grad_x=False)
    assert grad_x is None
    assert_equal(tuple(others), (grad_state, grads), tolerance=0)


@kinds
def test_one_workspace_over_changing_shapes_keeps_what_it_returned(kind):
    workspace = Workspace()
    rng = np.random.default_rng(1)
    results = []
    for sizes in [
        (3, 5, 2, 4),
        (3, 5, 2, 4),
        (1, 5, 2, 4),
        (2, 9, 3, 4),
        (3, 5, 2, 4),
        (4, 1, 1, 6),
    ]:
        for mask in (None, rng.random(sizes[:2]) < 0.7):
            problem = make_problem(kind, *sizes, mask=mask, seed=len(results))
            result = run_kernel(kind, problem, workspace=workspace)
            kind.kernel(
                kind.forward, problem.x, problem.state, problem.weights, mask,
                keep=False, workspace=workspace,
            )  # fmt: skip
            results.append((problem, result, copy.deepcopy(result)))
    for problem, result, copied in results:
        assert_equal(result, copied, tolerance=0)
        assert_equal(result, run_kernel(kind, problem))


@kinds
def test_backward_twice_doubles_the_gradients(kind):
    mask = np.array([[1, 1, 1], [1, 0, 0]], bool)
    problem = make_problem(kind, 2, 3, 5, 4, mask=mask)
    *_, cache = kind.kernel(kind.forward, problem.x, problem.state, problem.weights, mask)
    grads = tuple(np.zeros_like(w) for w in problem.weights)
    first = kind.backward(problem.grad_y, problem.grad_state, cache, grads)
    once = tuple(g.copy() for g in grads)
    second = kind.backward(problem.grad_y, problem.grad_state, cache, grads)
    assert_equal(first, second, tolerance=0)
    assert_equal(grads, tuple(2 * g for g in once))


@kinds
def test_an_error_within_backward_leaves_nothing_behind(kind):
    """Steps are worked on in groups: the first are done when the last one fails."""
    workspace = Workspace()
    problem = make_problem(kind, 2, 3, 5, 4)
    grads = tuple(np.zeros_like(w) for w in problem.weights)
    part = layout.Steps.part

    def failing(steps, run):
        if run.start == 0:
            raise KeyboardInterrupt
        return part(steps, run)

    with patch.object(layout, "_GROUP_ROWS", 2):
        *_, cache = kind.kernel(
            kind.forward, problem.x, problem.state, problem.weights, workspace=workspace
        )
        with patch.object(layout.Steps, "part", failing), pytest.raises(KeyboardInterrupt):
            kind.backward(problem.grad_y, problem.grad_state, cache, grads)
        assert not any(g.any() for g in grads)
        result = kind.backward(problem.grad_y, problem.grad_state, cache, grads)
    assert_equal((*result, grads), run_kernel(kind, problem)[2])


@kinds
def test_inference_between_forward_and_backward_does_no_harm(kind):
    workspace = Workspace()
    problem = make_problem(kind, 2, 3, 5, 4)
    arguments = (problem.x, problem.state, problem.weights)
    *_, cache = kind.kernel(kind.forward, *arguments, workspace=workspace)
    other = make_problem(kind, 3, 8, 5, 4, seed=1)
    kind.kernel(
        kind.forward, other.x, other.state, problem.weights, keep=False, workspace=workspace
    )
    grads = tuple(np.zeros_like(w) for w in problem.weights)
    result = kind.backward(problem.grad_y, problem.grad_state, cache, grads)
    assert_equal((*result, grads), run_kernel(kind, problem)[2], tolerance=0)


@kinds
def test_backward_refuses_an_absent_or_overwritten_cache(kind):
    workspace = Workspace()
    problem = make_problem(kind, 2, 3, 5, 4)
    arguments = (problem.x, problem.state, problem.weights)
    *_, old = kind.kernel(kind.forward, *arguments, workspace=workspace)
    kind.kernel(kind.forward, *arguments, workspace=workspace)
    grads = tuple(np.zeros_like(w) for w in problem.weights)
    with pytest.raises(RuntimeError, match="overwritten"):
        kind.backward(problem.grad_y, None, old, grads)
    with pytest.raises(RuntimeError, match="keep=True"):
        kind.backward(problem.grad_y, None, None, grads)
    assert not any(g.any() for g in grads)


@kinds
@pytest.mark.parametrize("masked", [False, True])
def test_float32_stays_float32(kind, masked):
    mask = np.random.default_rng(0).random((3, 7)) < 0.6 if masked else None
    single = make_problem(kind, 3, 7, 2, 4, mask=mask, dtype=np.float32)
    result = run_kernel(kind, single)
    assert {a.dtype for a in flat(result)} == {np.dtype(np.float32)}
    y, _ = kind.kernel(kind.step, single.x[:, 0], single.state, single.weights)
    assert y.dtype == np.float32
    double = make_problem(kind, 3, 7, 2, 4, mask=mask)
    assert_equal(result, run_kernel(kind, double), tolerance=1e-4)


@kinds
def test_no_steps_at_all(kind):
    problem = make_problem(kind, 2, 0, 3, 4)
    y, state, (grad_x, grad_state, grads) = run_kernel(kind, problem)
    assert y.shape == (2, 0, 4)
    assert grad_x.shape == (2, 0, 3)
    assert_equal((state, grad_state), (problem.state, problem.grad_state), tolerance=0)
    assert not any(g.any() for g in grads)


@kinds
def test_large_activations_neither_overflow_nor_warn(kind):
    problem = make_problem(kind, 2, 4, 3, 5, dtype=np.float32)
    problem = problem._replace(x=1e4 * problem.x)
    assert all(np.isfinite(a).all() for a in flat(run_kernel(kind, problem)))


@kinds
def test_memory_does_not_grow(kind):
    workspace = Workspace()
    problem = make_problem(kind, 4, 6, 3, 8)
    for _ in range(5):
        run_kernel(kind, problem, workspace=workspace)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(1000):
        run_kernel(kind, problem, workspace=workspace)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 10_000


def test_copies_of_a_workspace_are_empty():
    kind = KINDS["lstm"]
    problem = make_problem(kind, 2, 3, 5, 4)
    workspace = Workspace()
    run_kernel(kind, problem, workspace=workspace)
    copied = copy.deepcopy(workspace)
    assert copied.generation == 0
    assert_equal(run_kernel(kind, problem, workspace=copied), run_kernel(kind, problem))
