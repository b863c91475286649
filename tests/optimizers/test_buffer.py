"""The flat vector under the parameters, shared, copied, saved and refused."""

import copy
import pickle

import numpy as np
import pytest

import minirnn as m
from minirnn import Parameter
from tests.contract import helpers
from tests.optimizers.reference import RULES


def _model(dtype=np.float64, seed=0):
    return helpers.randomize(
        m.Sequential([m.LSTM(3, 4, dtype=dtype), m.LastStep(), m.Dense(4, 2, dtype=dtype)]), seed
    )


def _fill_gradients(model, seed):
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.grad = rng.normal(size=parameter.shape)


def _base(array):
    return array if array.base is None else array.base


def test_values_and_gradients_are_views_of_one_vector_each():
    model = _model()
    before = model.state_dict()
    _fill_gradients(model, 0)
    grads = [parameter.grad.copy() for parameter in model.parameters()]
    m.Adam(model.parameters(), 0.1)
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.value, before[name])
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)
    for kind in ["value", "grad"]:
        arrays = [getattr(parameter, kind) for parameter in model.parameters()]
        vector = _base(arrays[0])
        assert (vector.ndim, vector.size) == (1, model.parameter_count)
        assert vector.flags.c_contiguous
        assert all(np.shares_memory(array, vector) for array in arrays)
        marks = np.zeros(vector.size, int)  # every number belongs to exactly one parameter
        for array in arrays:
            start = (array.ctypes.data - vector.ctypes.data) // array.itemsize
            marks[start : start + array.size] += 1
            assert array.flags.c_contiguous
        assert np.all(marks == 1)


def test_forward_backward_and_assignment_stay_in_the_vector():
    model = _model()
    optimizer = m.SGD(model.parameters(), 0.1)
    values, grads = (_base(getattr(model.parameters()[0], k)) for k in ["value", "grad"])
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    model.backward(np.ones_like(model.forward(x)))
    assert np.count_nonzero(grads) > 0.9 * grads.size
    model.load_state_dict(_model(seed=1).state_dict())
    model.zero_grad()
    assert not grads.any()
    _fill_gradients(model, 1)
    optimizer.step()
    optimizer.zero_grad()
    assert not grads.any()
    for parameter in model.parameters():
        assert _base(parameter.value) is values
        assert _base(parameter.grad) is grads


def test_a_tied_parameter_is_updated_once():
    one, two = m.Dense(3, 3, rng=0, dtype=np.float64), m.Dense(3, 3, dtype=np.float64)
    two.W = one.W
    model = m.Sequential([one, two])
    optimizer = m.SGD([*model.parameters(), one.W], 1.0)
    before = one.W.value.copy()
    model.forward(np.ones((2, 3)))
    model.backward(np.ones((2, 3)))
    gradient = one.W.grad.copy()
    optimizer.step()
    assert two.W is one.W
    np.testing.assert_allclose(one.W.value, before - gradient, rtol=1e-14)


def test_two_optimizers_in_turn_over_the_same_parameters():
    model, alone = _model(), _model()
    first = m.SGD(model.parameters(), 0.1, momentum=0.9)
    second = m.Adam(model.parameters()[:3], 0.1)
    expected = {id(p): p for p in alone.parameters()}
    twins = [m.SGD(alone.parameters(), 0.1, momentum=0.9), None]
    shadow = {k: Parameter(p.value) for k, p in enumerate(alone.parameters()[:3])}
    twins[1] = m.Adam(shadow.values(), 0.1)
    for step in range(6):
        _fill_gradients(model, step)
        _fill_gradients(alone, step)
        if step % 2 == 0:
            first.step()
            twins[0].step()
            continue
        second.step()
        for k, parameter in shadow.items():  # the same step, on parameters of its own
            parameter.value = alone.parameters()[k].value
            parameter.grad = alone.parameters()[k].grad
        twins[1].step()
        for k, parameter in shadow.items():
            alone.parameters()[k].value = parameter.value
    for ours, plain in zip(model.parameters(), expected.values(), strict=True):
        np.testing.assert_array_equal(ours.value, plain.value)
    first.zero_grad()
    assert not any(parameter.grad.any() for parameter in model.parameters())


def test_a_copied_model_is_not_the_optimizers():
    model = _model()
    optimizer = m.SGD(model.parameters(), 0.1)
    twin = copy.deepcopy(model)
    before = helpers.snapshot(twin)
    _fill_gradients(model, 0)
    optimizer.step()
    optimizer.zero_grad()
    helpers.assert_same(before, helpers.snapshot(twin))


def test_model_and_optimizer_copied_together_go_on_alike():
    model = _model()
    optimizer = m.Adam(model.parameters(), 0.1)
    _fill_gradients(model, 0)
    optimizer.step()
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    for pair in [(model, optimizer), (twin, twin_optimizer)]:
        _fill_gradients(pair[0], 1)
        pair[1].step()
    helpers.assert_same(helpers.snapshot(model), helpers.snapshot(twin))
    twin_optimizer.zero_grad()
    assert all(parameter.grad.any() for parameter in model.parameters())


def test_a_trainer_whose_arrays_arrive_as_read_only_maps_goes_on_alike():
    """So joblib hands large arrays to its workers."""
    x, y = np.ones((4, 5, 3)), np.array([0, 1, 0, 1])
    model = _model()
    loss, metrics = m.SoftmaxCrossEntropy(), [m.ConfusionMatrix()]
    trainer = m.Trainer(model, loss, m.Adam(model.parameters(), 0.1), metrics=metrics)
    trainer.fit(x, y, epochs=1, progress=False)
    parts = []
    pickled = pickle.dumps(trainer, protocol=5, buffer_callback=parts.append)
    assert len(parts) > 3
    twin = pickle.loads(pickled, buffers=[bytes(part) for part in parts])
    for one in (trainer, twin):
        one.fit(x, y, epochs=1, progress=False)
    helpers.assert_same(helpers.snapshot(model), helpers.snapshot(twin.model))
    other = pickle.loads(pickled, buffers=[bytes(part) for part in parts]).model
    other.load_state_dict(twin.model.state_dict())
    other.zero_grad()


def test_each_dtype_has_its_vector_and_one_norm_over_all():
    model = m.Sequential([m.Dense(3, 4, rng=0, dtype=np.float64), m.Dense(4, 2, rng=1)])
    optimizer = m.SGD(model.parameters(), 1.0, clip_norm=1.0)
    before = model.state_dict()
    _fill_gradients(model, 0)
    norm = np.sqrt(sum(np.sum(p.grad.astype(float) ** 2) for p in model.parameters()))
    optimizer.step()
    for name, parameter in model.named_parameters():
        expected = before[name] - parameter.grad / norm
        np.testing.assert_allclose(parameter.value, expected, rtol=1e-5, atol=1e-6)
    assert [p.value.dtype for p in model.parameters()] == [np.float64] * 2 + [np.float32] * 2
    assert {slot.dtype for p in [optimizer] for b in p._buffers for slot in [b.values]} == {
        np.dtype(np.float64),
        np.dtype(np.float32),
    }


# ---------------------------------------------------------------- saving


@pytest.mark.parametrize("rule", RULES)
def test_a_saved_run_goes_on_exactly(rule):
    optimizer_class, _, keywords = RULES[rule]
    model, twin = _model(), _model()
    optimizer = optimizer_class(model.parameters(), 0.1, weight_decay=0.1, **keywords)
    for step in range(4):
        _fill_gradients(model, step)
        optimizer.step()
    other = optimizer_class(twin.parameters(), 0.5, weight_decay=0.1, **keywords)
    for step in range(6):  # a run of its own, longer than the saved one
        _fill_gradients(twin, 20 + step)
        other.step()
    twin.load_state_dict(model.state_dict())
    saved = optimizer.state_dict()
    other.load_state_dict(saved)
    for step in range(4, 8):
        for one, its in [(model, optimizer), (twin, other)]:
            _fill_gradients(one, step)
            its.step()
    assert (other.step_count, other.learning_rate) == (8, 0.1)
    helpers.assert_same(helpers.snapshot(model), helpers.snapshot(twin))
    assert saved["step"] == 4  # what was returned is a copy


def test_a_schedule_stays_a_schedule():
    parameter = Parameter(np.zeros(1))
    optimizer = m.SGD([parameter], lambda step: 0.5**step)
    optimizer.step()
    state = optimizer.state_dict()
    assert state["learning_rate"] is None
    other = m.SGD([Parameter(np.zeros(1))], lambda step: 0.5**step)
    other.load_state_dict(state)
    assert other.current_learning_rate() == 0.5


def _spoilt(change):
    state = m.Adam(_model().parameters(), 0.1).state_dict()
    model = _model()
    optimizer = m.Adam(model.parameters(), 0.1)
    _fill_gradients(model, 0)
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    change(state)
    return optimizer, state


SPOILT = {
    "the state has no slots": lambda s: s.pop("slots"),
    "the state belongs to parameters of sizes": lambda s: s["sizes"][0].reverse(),
    "slot m should have shape": lambda s: s["slots"][0].update(m=np.zeros(3)),
    "the step should be at least 0, got -1": lambda s: s.update(step=-1),
    "learning_rate should be greater than 0": lambda s: s.update(learning_rate=-1.0),
}


@pytest.mark.parametrize("message", SPOILT)
def test_a_state_that_does_not_fit_changes_nothing(message):
    optimizer, state = _spoilt(SPOILT[message])
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=f"^Adam: {message}"):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert (after["step"], after["learning_rate"]) == (1, 0.1)
    for name, slot in before["slots"][0].items():
        np.testing.assert_array_equal(after["slots"][0][name], slot)


def test_the_state_of_another_optimizer_is_refused():
    model = _model()
    _fill_gradients(model, 0)
    momentum = m.SGD(model.parameters(), 0.1, momentum=0.9)
    momentum.step()
    with pytest.raises(ValueError, match="Adam: .*SGD"):
        m.Adam(model.parameters(), 0.1).load_state_dict(momentum.state_dict())


@pytest.mark.parametrize("change", [lambda s: None, lambda s: {**s, "slots": []}])
def test_a_state_of_another_kind_is_named(change):
    optimizer = m.Adam([Parameter(np.zeros(1))], 0.1)
    with pytest.raises((TypeError, ValueError), match=r"^Adam: "):
        optimizer.load_state_dict(change(optimizer.state_dict()))


@pytest.mark.parametrize("layer", [m.RNN, m.LSTM, m.GRU])
def test_weights_that_move_between_forward_and_backward_are_those_of_backward(layer):
    """An optimizer that is made then gives them new storage; the gradient is the loop's."""
    x, found = np.random.default_rng(0).normal(size=(2, 5, 3)), []
    for engine in ("off", "auto"):
        one = layer(3, 4, rng=0, dtype=np.float64, engine=engine)
        y = one.forward(x)
        m.SGD(one.parameters(), 0.1)
        one.load_state_dict({name: 1.5 * array for name, array in one.state_dict().items()})
        found.append([one.backward(np.ones_like(y)), *(p.grad for p in one.parameters())])
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-13)
