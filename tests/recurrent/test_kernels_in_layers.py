"""Layers over the built-in cells run kernels; over a subclass of the cell they run the loop.

Both must be the same layer to whoever uses them. So each test builds the layer twice, with the cell
and with a subclass that only hands on to it, and does the same with both.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minirnn as m
from minirnn import engine
from minirnn.recurrent import native
from minirnn.recurrent.loop import Loop


@pytest.fixture(autouse=True, scope="module")
def no_native_machine():
    """Have the kernels run, which else serve where the native engine was not built."""
    with engine.use("auto"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "native_runner", lambda cell: "switched off")
        yield


CELLS: dict[str, tuple[type, dict[str, Any]]] = {
    "rnn tanh": (m.RNNCell, {}),
    "rnn relu": (m.RNNCell, {"activation": "relu"}),
    "rnn sigmoid": (m.RNNCell, {"activation": "sigmoid"}),
    "lstm": (m.LSTMCell, {}),
    "gru": (m.GRUCell, {}),
    "gru, reset before": (m.GRUCell, {"reset_after": False}),
}
kinds = pytest.mark.parametrize("kind", CELLS)
with_kernel = pytest.mark.parametrize("kind", [kind for kind in CELLS if "before" not in kind])
examples = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}


def looped(cell_type):
    """Return a subclass that does nothing else, and so has no kernel."""

    class Looped(cell_type):
        def forward(self, x_t, state):
            return super().forward(x_t, state)

    return Looped


def pair(kind, inputs, hidden, *, seed=0, dtype=np.float64, **options):
    """Return the layer that runs the kernel and the one that runs the loop, of equal weights."""
    cell_type, keywords = CELLS[kind]
    layers = []
    for one in (cell_type, looped(cell_type)):
        rng = np.random.default_rng(seed)
        cell = one(inputs, hidden, rng=rng, dtype=dtype, **keywords)
        for parameter in cell.parameters():
            parameter.value = rng.uniform(-0.8, 0.8, parameter.shape)
            parameter.grad = rng.uniform(-1, 1, parameter.shape)  # gradients are added to
        layers.append(m.Recurrent(cell, **options))
    return layers


def leaves(tree):
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [tree]


def assert_close(actual, expected):
    """Compare trees of arrays; the tolerance is relative to the largest number of an array.

    A sum of many terms may be near zero by chance, so an array's own scale is at least 1, about
    that of the inputs.
    """
    actual, expected = leaves(actual), leaves(expected)
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        if e is None:
            assert a is None
            continue
        assert a.shape == e.shape
        assert a.dtype == e.dtype
        tolerance = TOLERANCE[e.dtype]
        scale = max(1.0, float(np.abs(e).max(initial=0)))
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * scale)


def gradients(layer):
    return {name: parameter.grad.copy() for name, parameter in layer.named_parameters()}


# ---------------------------------------------------------------- what comes in


@dataclass
class Call:
    """The arguments of one forward and one backward."""

    x: Any
    mask: Any
    state: Any
    grad: Any
    grad_state: Any

    def arrays(self):
        return [array for array in leaves(vars(self)) if array is not None]


def arranged(array, layout, writeable=True):
    """Return equal numbers that lie in memory in another way."""
    last = array.ndim - 1
    if layout == "fortran":
        array = np.asfortranarray(array)
    elif layout == "every second":
        array = np.repeat(array, 2, axis=last)[..., ::2]
    elif layout == "backwards":
        turn = (slice(None, None, -1),) * array.ndim
        array = array[turn].copy()[turn]
    elif layout == "axes swapped":
        array = array.swapaxes(0, 1).copy().swapaxes(0, 1)
    elif layout == "unaligned":
        raw = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        raw[...] = array
        array = raw
    else:
        array = array.copy()
    array.flags.writeable = writeable
    return array


LAYOUTS = ("plain", "fortran", "every second", "backwards", "axes swapped", "unaligned")


@st.composite
def masks(draw, batch, time):
    kind = draw(st.sampled_from(["none", "trailing", "leading", "holes", "empty rows", "empty"]))
    if kind == "none":
        return None
    if kind in ("trailing", "leading"):
        lengths = draw(hnp.arrays(int, batch, elements=st.integers(1, time)))
        mask = np.arange(time) < lengths[:, np.newaxis]
        return mask if kind == "trailing" else mask[:, ::-1]
    mask = draw(hnp.arrays(bool, (batch, time)))
    if kind == "empty rows":
        mask[draw(st.integers(0, batch - 1))] = False
    return np.zeros((batch, time), bool) if kind == "empty" else mask


@st.composite
def a_call(draw, layer, batch=None, time=None):
    batch = batch or draw(st.integers(1, 5))
    time = time or draw(st.integers(1, 7))
    mask = draw(masks(batch, time))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    dtype = layer.cell.Wx.value.dtype
    sizes = [array.shape for array in layer.cell.initial_state(batch)]

    def numbers(*shape):
        layout, writeable = draw(st.sampled_from(LAYOUTS)), draw(st.booleans())
        array = rng.uniform(-2, 2, shape).astype(dtype)
        if mask is not None and len(shape) == 3:
            array[~mask] = np.nan
        return arranged(array, layout, writeable)

    def states():
        return tuple(numbers(*size) for size in sizes) if draw(st.booleans()) else None

    x, grad = numbers(batch, time, layer.input_size), numbers(batch, time, layer.output_size)
    return Call(x, mask, states(), grad, states())


def run(layer, call, *, parameters_only=False):
    """Return all that one forward and one backward give."""
    y = layer.forward(call.x, call.mask, call.state)
    state = layer.state
    if parameters_only:
        layer.backward_parameters(call.grad)
        grad_x = None
    else:
        grad_x = layer.backward(call.grad, call.grad_state)
    return y, state, grad_x, layer.grad_state, gradients(layer)


# ---------------------------------------------------------------- the same numbers


@kinds
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@examples
@given(data=st.data())
def test_any_call_gives_the_numbers_of_the_loop(kind, dtype, data):
    inputs, hidden = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    options = {"reverse": data.draw(st.booleans())}
    fast, slow = pair(kind, inputs, hidden, dtype=dtype, **options)
    call = data.draw(a_call(fast))
    before = [array.copy() for array in call.arrays()]
    if data.draw(st.booleans()):  # nothing is kept, and backward runs forward again
        fast.eval()
        slow.eval()
    parameters_only = data.draw(st.booleans())
    actual = run(fast, call, parameters_only=parameters_only)
    assert_close(actual, run(slow, call, parameters_only=parameters_only))
    for array, old in zip(call.arrays(), before, strict=True):
        np.testing.assert_array_equal(array, old)


@kinds
@pytest.mark.parametrize("sizes", [(33, 3, 60, 128), (3, 40, 5, 70), (1, 9, 80, 100)], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_working_sizes_too(kind, sizes, masked):
    batch, time, inputs, hidden = sizes
    fast, slow = pair(kind, inputs, hidden)
    for layer in (fast, slow):
        for parameter in layer.parameters():
            parameter.value = parameter.value / 4  # so that a relu does not grow without bound
    rng = np.random.default_rng(1)
    x, grad = rng.normal(size=(batch, time, inputs)), rng.normal(size=(batch, time, hidden))
    mask = np.arange(time) < rng.integers(1, time + 1, (batch, 1)) if masked else None
    call = Call(x, mask, None, grad, None)
    assert_close(run(fast, call), run(slow, call))


@st.composite
def histories(draw, layer):
    """Draw what a program may do with a layer, in any order."""
    batch = draw(st.integers(1, 3))  # one batch size, as a stateful layer wants it
    steps = ["forward", "forward", "backward", "step", "eval", "train", "reset", "update"]
    history = []
    for name in draw(st.lists(st.sampled_from(steps), min_size=2, max_size=10)):
        if name == "forward":
            history.append((name, draw(a_call(layer, batch))))
            if draw(st.booleans()):
                history.append(("backward", None))
        elif name == "step":
            seed = draw(st.integers(0, 99))
            shape = (batch, layer.input_size)
            history.append((name, np.random.default_rng(seed).uniform(-2, 2, shape)))
        else:
            history.append((name, None))
    return history


def live(layer, history):
    """Do all of it; return what each call returned and left, and all of that once more, copied."""
    returned: list[Any] = []
    copies: list[Any] = []
    call = None
    for name, argument in history:
        result: Any = None
        if name == "forward":
            call = argument
            result = layer.forward(call.x, call.mask, call.state), layer.state
        elif name == "backward" and call is not None:
            result = layer.backward(call.grad, call.grad_state), layer.grad_state
        elif name == "step":
            result = layer.step(argument), layer.state
        elif name == "eval":
            layer.eval()
        elif name == "train":
            layer.train()
        elif name == "reset":
            layer.reset_state()
        elif name == "update":
            for parameter in layer.parameters():
                parameter.value = 0.9 * parameter.value
            layer.zero_grad()
            call = None  # a backward of before the update is nobody's
        returned.append((result, gradients(layer)))
        copies.append(copy.deepcopy(returned[-1]))
    return returned, copies


@kinds
@examples
@given(data=st.data())
def test_any_history_of_calls_gives_the_numbers_of_the_loop(kind, data):
    fast, slow = pair(kind, 2, 3, stateful=data.draw(st.booleans()))
    history = data.draw(histories(fast))
    returned, copies = live(fast, history)
    for then, now in zip(leaves(copies), leaves(returned), strict=True):
        np.testing.assert_array_equal(now, then)  # no later call wrote into an earlier result
    assert_close(returned, live(slow, history)[0])


# ---------------------------------------------------------------- which of the two runs


@pytest.fixture
def loops(monkeypatch):
    """Count how often the loop runs."""
    count = []
    original = Loop.forward

    def counted(*args, **keywords):
        count.append(1)
        return original(*args, **keywords)

    monkeypatch.setattr(Loop, "forward", counted)
    return count


@with_kernel
def test_a_built_in_cell_runs_its_kernel(kind, loops):
    fast, slow = pair(kind, 2, 3)
    fast.forward(np.ones((2, 4, 2)))
    assert not loops
    slow.forward(np.ones((2, 4, 2)))
    assert loops == [1]


@with_kernel
def test_a_subclass_that_changes_neither_method_keeps_the_kernel(kind, loops):
    cell_type, keywords = CELLS[kind]

    class Begun(cell_type):
        def initial_state(self, batch_size):
            return tuple(array + 0.5 for array in super().initial_state(batch_size))

    layer = m.Recurrent(Begun(2, 3, rng=0, dtype=np.float64, **keywords))
    y = layer.forward(np.ones((1, 1, 2)))
    assert not loops
    state = layer.cell.initial_state(1)
    assert_close(y[:, 0], layer.cell.forward(np.ones((1, 2)), state)[0])
    assert_close(layer.step(np.ones((1, 2))), y[:, 0])


@kinds
def test_a_forward_of_ones_own_is_called_at_every_step(kind):
    cell_type, keywords = CELLS[kind]
    calls = []

    class Doubled(cell_type):
        def forward(self, x_t, state):
            calls.append("forward")
            return super().forward(2 * x_t, state)

    own = m.Recurrent(Doubled(2, 3, rng=0, dtype=np.float64, **keywords))
    plain = m.Recurrent(cell_type(2, 3, rng=0, dtype=np.float64, **keywords))
    x = np.random.default_rng(0).normal(size=(2, 4, 2))
    assert_close(own.forward(x), plain.forward(2 * x))
    assert len(calls) == 4
    assert_close(own.step(x[:, 0]), plain.step(2 * x[:, 0]))
    assert len(calls) == 5


@kinds
def test_a_backward_of_ones_own_is_called_at_every_step(kind):
    cell_type, keywords = CELLS[kind]

    class Frozen(cell_type):
        def backward(self, grad_y, grad_state, cache):
            grad_x, before = super().backward(grad_y, grad_state, cache)
            return 0 * grad_x, before

    layer = m.Recurrent(Frozen(2, 3, rng=0, **keywords))
    y = layer.forward(np.ones((2, 4, 2)))
    assert not layer.backward(np.ones_like(y)).any()


@with_kernel
def test_a_method_put_on_the_object_is_called_and_taken_off_is_not(kind, loops):
    fast, slow = pair(kind, 2, 3)
    x, grad = np.random.default_rng(0).normal(size=(2, 2, 4, 3))[..., :2], np.ones((2, 4, 3))
    original = fast.cell.forward
    seen = []

    def spy(x_t, state):
        seen.append(x_t)
        return original(x_t, state)

    fast.cell.forward = spy
    watched = fast.forward(x[0])
    assert len(seen) == 4
    assert len(loops) == 1
    del fast.cell.forward  # between forward and backward: backward belongs to what ran
    assert_close(watched, slow.forward(x[0]))
    assert_close(fast.backward(grad), slow.backward(grad))
    loops.clear()
    unwatched = fast.forward(x[1])
    fast.cell.forward = spy
    assert not loops
    assert_close(unwatched, slow.forward(x[1]))
    assert_close(fast.backward(grad), slow.backward(grad))
    assert len(seen) == 4


# ---------------------------------------------------------------- what belongs to what


@kinds
def test_eval_then_backward_is_training(kind):
    one, two = pair(kind, 2, 3)[0], pair(kind, 2, 3)[0]
    rng = np.random.default_rng(0)
    x, grad = rng.normal(size=(2, 4, 2)), rng.normal(size=(2, 4, 3))
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 0]], bool)
    call = Call(x, mask, None, grad, None)
    expected = run(one, call)
    two.eval()
    assert_close(run(two, call), expected)
    assert two.training is False


@kinds
def test_a_prediction_between_forward_and_backward_changes_nothing(kind):
    rng = np.random.default_rng(0)
    long, short = rng.normal(size=(2, 6, 2)), rng.normal(size=(3, 2, 2))
    results = []
    for layer in pair(kind, 2, 3):
        model = m.Sequential([layer, m.Dense(3, 2, rng=1, dtype=np.float64)])
        model.forward(long)
        prediction = model.predict(short)
        assert layer.training
        results.append((prediction, model.backward(np.ones((2, 6, 2))), gradients(model)))
        alone = pair(kind, 2, 3)[0]
        alone = m.Sequential([alone, m.Dense(3, 2, rng=1, dtype=np.float64)])
        alone.forward(long)
        results.append((prediction, alone.backward(np.ones((2, 6, 2))), gradients(alone)))
    for result in results[1:]:
        assert_close(result, results[0])


@kinds
def test_predictions_between_training_steps_change_nothing(kind):
    losses = []
    for between in (False, True):
        layer = pair(kind, 2, 3, dtype=np.float32)[0]
        model = m.Sequential([layer, m.Dense(3, 2, rng=1)])
        optimizer = m.Adam(model.parameters(), 0.01, clip_norm=1.0)
        trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer)
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(4, 6, 2)), rng.integers(2, size=(4, 6))
        run_losses = []
        for _ in range(5):
            run_losses.append(trainer.train_step(x, y))
            if between:
                model.predict(x[:1, :3])
                trainer.evaluate(x, y, batch_size=3)
                layer.step(x[:, 0])
                layer.reset_state()
        losses.append(run_losses)
    assert losses[0] == losses[1]


@kinds
def test_two_layers_over_one_cell_do_not_share_memory(kind):
    """Both forwards come before both backwards, on different shapes and on equal ones."""
    for second_shape in [(2, 4), (3, 2)]:
        results = []
        for first in pair(kind, 3, 3):
            second = m.Recurrent(first.cell, reverse=True)
            rng = np.random.default_rng(0)
            x_1, x_2 = rng.normal(size=(2, 4, 3)), rng.normal(size=(*second_shape, 3))
            outputs = first.forward(x_1), second.forward(x_2)
            again = second.backward(np.ones_like(x_2)), first.backward(np.ones_like(x_1))
            results.append((outputs, again, gradients(first)))
        assert_close(*results)


@kinds
def test_both_directions(kind):
    results = []
    for which in (0, 1):
        ahead, back = (pair(kind, 2, hidden, seed=hidden)[which] for hidden in (3, 4))
        layer = m.Bidirectional(ahead, back)
        rng = np.random.default_rng(0)
        mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 0, 1, 1]], bool)
        state = tuple(
            rng.normal(size=a.shape) for r in (ahead, back) for a in r.cell.initial_state(3)
        )
        y = layer.forward(rng.normal(size=(3, 5, 2)), mask, state)
        grad_x = layer.backward(rng.normal(size=y.shape), state)
        results.append((y, layer.state, grad_x, layer.grad_state, gradients(layer)))
    assert_close(*results)


@kinds
def test_one_cell_in_both_directions(kind):
    results = []
    for ahead in pair(kind, 2, 3):
        layer = m.Bidirectional(ahead, m.Recurrent(ahead.cell))
        rng = np.random.default_rng(0)
        y = layer.forward(rng.normal(size=(3, 5, 2)))
        results.append((y, layer.backward(rng.normal(size=y.shape)), gradients(ahead)))
    assert_close(*results)


# ---------------------------------------------------------------- copies, and calls that fail


@kinds
def test_a_deep_copy_in_the_middle_of_training_goes_its_own_way(kind):
    layer = pair(kind, 2, 3)[0]
    rng = np.random.default_rng(0)
    x, other = rng.normal(size=(2, 2, 5, 2))
    grad = rng.normal(size=(2, 5, 3))
    expected = run(pair(kind, 2, 3)[0], Call(x, None, None, grad, None))
    expected_other = run(pair(kind, 2, 3)[0], Call(other, None, None, grad, None))
    y = layer.forward(x)
    twin = copy.deepcopy(layer)
    assert_close(run(twin, Call(other, None, None, grad, None)), expected_other)
    actual = y, layer.state, layer.backward(grad), layer.grad_state, gradients(layer)
    assert_close(actual, expected)
    third = copy.deepcopy(layer)  # after a backward
    third.zero_grad()
    twin.zero_grad()
    call = Call(x, None, None, grad, None)
    assert_close(run(third, call), run(twin, call))


@kinds
def test_backward_on_a_deep_copy_is_right_or_refused(kind):
    layer = pair(kind, 2, 3)[0]
    x, grad = np.random.default_rng(0).normal(size=(2, 2, 5, 3))
    layer.forward(x[..., :2])
    twin = copy.deepcopy(layer)
    twin.cell.Wx.value = twin.cell.Wx.value  # storage of its own
    expected = layer.backward(grad)
    try:
        actual = twin.backward(grad)
    except RuntimeError:
        return
    assert_close(actual, expected)


@with_kernel
@pytest.mark.parametrize("change", ["same shape", "another shape"])
def test_a_forward_cut_short_does_not_spoil_the_one_before(kind, change, monkeypatch):
    """As by Ctrl-C: backward of the call before is right or refused, never silently wrong."""
    layer = pair(kind, 2, 3)[0]
    x, grad = np.random.default_rng(0).normal(size=(2, 2, 5, 3))
    layer.forward(x[..., :2])
    expected = layer.backward(grad)

    def interrupted(*args, **keywords):
        raise KeyboardInterrupt

    # The caches come after the loop: by then everything is overwritten.
    monkeypatch.setattr("minirnn.kernels.driver._Caches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        layer.forward(3 * x[..., :2] if change == "same shape" else x[:1, :4, :2])
    monkeypatch.undo()
    try:
        actual = layer.backward(grad)
    except RuntimeError:
        return
    assert_close(actual, expected)
