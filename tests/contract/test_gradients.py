"""Every gradient of every cell, layer and loss against central differences, in float64.

They are computed here by themselves, without `check_gradients`, which is held to the same. Single
steps, batches of one, trailing padding and gaps are in test_everything, through `check_layer`.
"""

import numpy as np
import pytest

from minirnn import Bidirectional, Recurrent, check_gradients
from tests.contract import helpers, losses, table
from tests.differences import central_differences

# (batch, time, hidden), different from one another and from the input size where they are not 1
SIZES = [(2, 3, 4), (1, 1, 1)]


def _check(layer, x, mask, seed=0):
    """Compare all gradients of sum(r * y) + sum(q * final state) with central differences."""
    rng = np.random.default_rng(seed)
    carries = isinstance(layer, Recurrent | Bidirectional)
    state = helpers.random_state(layer, len(x), seed + 1) if carries else ()
    arguments = {} if mask is None else {"mask": mask}
    if carries:
        arguments["state"] = state

    y = layer.forward(x, **arguments)
    r = rng.normal(size=y.shape)
    q = [rng.normal(size=array.shape) for array in (layer.state if carries else ())]

    def number():
        outputs = [layer.forward(x, **arguments), *(layer.state if carries else ())]
        return sum(float(np.sum(a * b)) for a, b in zip([r, *q], outputs, strict=True))

    layer.zero_grad()
    grad_x = layer.backward(r, tuple(q)) if carries else layer.backward(r)
    analytic = {name: p.grad.copy() for name, p in layer.named_parameters()}
    for name, parameter in layer.named_parameters():
        numeric = central_differences(number, parameter.value)
        helpers.assert_gradient(name, analytic[name], numeric)
    for k, array in enumerate(state):
        numeric = central_differences(number, array)
        layer.forward(x, **arguments)
        layer.backward(r, tuple(q))
        helpers.assert_gradient(f"state {k}", layer.grad_state[k], numeric)
    if x.dtype.kind == "f":
        helpers.assert_gradient("input", grad_x, central_differences(number, x))


def _without_empty_rows(case, mask):
    if case.name in table.WITHOUT_TIME:
        mask = mask.copy()
        mask[:, 0] |= ~mask.any(axis=1)
    return mask


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("case", **table.by_name(table.LAYERS))
def test_every_gradient_of_every_layer(case, sizes):
    batch, time, hidden = sizes
    layer = helpers.randomize(case.make(hidden, np.float64), 3)
    _check(layer, case.input(batch, time), None)


@pytest.mark.parametrize("case", **table.by_name(table.MASKED))
def test_every_gradient_under_a_mask(case):
    layer = helpers.randomize(case.make(2, np.float64), 4)
    x = case.input(3, 4)
    _check(layer, x, _without_empty_rows(case, helpers.make_mask("empty row", 3, 4)))


@pytest.mark.parametrize("case", **table.by_name(table.RECURRENT))
def test_all_padding_gives_zeros_and_takes_no_gradient(case):
    layer = helpers.randomize(case.make(2, np.float64), 4)
    x, mask = case.input(3, 4), helpers.make_mask("all padding", 3, 4)
    state = helpers.random_state(layer, 3, 5)
    y = layer.forward(x, mask=mask, state=state)
    assert not y.any()
    layer.zero_grad()
    q = tuple(np.random.default_rng(6).normal(size=array.shape) for array in state)
    assert not layer.backward(np.ones_like(y), q).any()
    assert not any(parameter.grad.any() for parameter in layer.parameters())
    for ours, given in zip((*layer.state, *layer.grad_state), (*state, *q), strict=True):
        np.testing.assert_array_equal(ours, given)  # the state goes through, and its gradient


@pytest.mark.parametrize("batch", [3, 1])
@pytest.mark.parametrize("hidden", [4, 1])
@pytest.mark.parametrize("case", **table.by_name(table.CELLS))
def test_every_gradient_of_every_cell(case, hidden, batch):
    cell = helpers.randomize(case.make(hidden, np.float64), 5)
    rng = np.random.default_rng(6)
    x_t = rng.normal(size=(batch, table.INPUT))
    state = helpers.random_state(cell, batch, 7)
    y, final, cache = cell.forward(x_t, state)
    r = rng.normal(size=y.shape)
    q = tuple(rng.normal(size=array.shape) for array in final)

    def number():
        y, final, _ = cell.forward(x_t, state)
        return float(np.sum(r * y) + sum(np.sum(a * b) for a, b in zip(q, final, strict=True)))

    cell.zero_grad()
    grad_x, grad_state = cell.backward(r, q, cache)
    helpers.assert_gradient("input", grad_x, central_differences(number, x_t))
    for k, (grad, array) in enumerate(zip(grad_state, state, strict=True)):
        helpers.assert_gradient(f"state {k}", grad, central_differences(number, array))
    for name, parameter in cell.named_parameters():
        numeric = central_differences(number, parameter.value)
        helpers.assert_gradient(name, parameter.grad, numeric)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((3,), None), ((1,), None), ((2, 4), None), ((1, 1), None)]
    + [((3, 4), kind) for kind in ["trailing", "gaps", "empty row"]],
    ids=str,
)
@pytest.mark.parametrize("case", losses.LOSSES, ids=str)
def test_every_gradient_of_every_loss(case, shape, kind):
    loss = case.make()
    prediction, target = case.draw(shape)
    mask = None if kind is None else helpers.make_mask(kind, *shape)
    loss.forward(prediction, target, mask)
    grad = loss.backward()
    numeric = central_differences(lambda: loss.forward(prediction, target, mask), prediction)
    helpers.assert_gradient("prediction", grad, numeric)
    if mask is not None:
        assert np.all(grad[~mask] == 0)


@pytest.mark.parametrize("case", **table.by_name(table.LAYERS))
def test_check_gradients_agrees(case):
    layer = helpers.randomize(case.make(1, np.float32), 8)
    x = case.input(1, 2)
    report = check_gradients(layer, x)
    assert report.passed
    assert report.max_error < 1e-6
    seen = {comparison.name: comparison.shape for comparison in report.comparisons}
    expected = {name: p.shape for name, p in layer.named_parameters()}
    if case.takes != "tokens":
        expected["input"] = x.shape
    layer.forward(x)
    expected |= _named("state", getattr(layer, "state", None))
    assert seen == expected


def _named(name, state):
    """Return the shapes of a state, which in a model has an entry for each layer."""
    if isinstance(state, tuple):
        parts = [_named(f"{name}[{k}]", entry) for k, entry in enumerate(state)]
        return {path: shape for part in parts for path, shape in part.items()}
    return {} if state is None else {name: state.shape}


@pytest.mark.parametrize("case", **table.by_name(table.CELLS))
def test_check_gradients_agrees_on_cells(case):
    cell = helpers.randomize(case.make(2, np.float32), 9)
    x_t = np.random.default_rng(0).normal(size=(4, table.INPUT))
    names = {comparison.name for comparison in check_gradients(cell, x_t).comparisons}
    states = {f"state[{k}]" for k in range(len(cell.initial_state(1)))}
    assert names == {"input", *case.names} | states


@pytest.mark.parametrize("case", losses.LOSSES, ids=str)
def test_check_gradients_agrees_on_losses(case):
    prediction, target = case.draw((3, 4))
    mask = helpers.make_mask("gaps", 3, 4)
    report = check_gradients(case.make(), prediction, target, mask=mask)
    assert [(c.name, c.shape) for c in report.comparisons] == [("input", prediction.shape)]
