"""Twenty steps of each optimizer against the same rule, scalar by scalar."""

import math

import numpy as np
import pytest

import minirnn as m
from minirnn import Optimizer, Parameter
from tests.optimizers.reference import RULES

SHAPES = {"W": (2, 3), "b": (3,), "U": (2,)}
STEPS = 20


def _parameters(dtype=np.float64):
    rng = np.random.default_rng(0)
    return {
        name: Parameter(rng.normal(size=shape).astype(dtype), decay=name != "b")
        for name, shape in SHAPES.items()
    }


def _gradients(step, parameters):
    """Gradients that depend on the values, so that an early mistake does not heal."""
    rng = np.random.default_rng(100 + step)
    return {name: 0.3 * p.value + rng.normal(size=p.shape) for name, p in parameters.items()}


def _flat(arrays):
    return [float(number) for array in arrays for number in np.ravel(array)]


def _run(rule, weight_decay=0.0, dtype=np.float64, rate=0.05, transform=None, **limits):
    """Run both sides for STEPS steps; return our numbers and those of the plain rule."""
    optimizer_class, plain, keywords = RULES[rule]
    parameters = _parameters(dtype)
    optimizer = optimizer_class(
        parameters.values(), rate, weight_decay=weight_decay, **keywords, **limits
    )
    values, memory = _flat(p.value for p in parameters.values()), {}
    decay = [weight_decay if p.decay else 0.0 for p in parameters.values() for _ in range(p.size)]
    for step in range(STEPS):
        gradients = _gradients(step, parameters)
        for name, parameter in parameters.items():
            parameter.grad = gradients[name]
        grads = _flat(p.grad for p in parameters.values())
        optimizer.step()
        if transform is not None:
            grads = transform(grads)
        now = rate(step) if callable(rate) else rate
        plain(values, grads, memory, step + 1, rate=now, decay=decay, **keywords)
    return _flat(p.value for p in parameters.values()), values


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("rule", RULES)
def test_twenty_steps(rule, weight_decay):
    ours, plain = _run(rule, weight_decay)
    np.testing.assert_allclose(ours, plain, rtol=1e-11)


@pytest.mark.parametrize("rule", RULES)
def test_twenty_steps_in_float32(rule):
    ours, plain = _run(rule, 0.3, np.float32)
    np.testing.assert_allclose(ours, plain, rtol=2e-4, atol=2e-5)


def test_l2_and_decoupled_decay_differ():
    adam, _ = _run("Adam", 0.3)
    decoupled, _ = _run("AdamW", 0.3)
    assert np.abs(np.array(adam) - decoupled).max() > 0.05
    np.testing.assert_array_equal(_run("Adam")[0], _run("AdamW")[0])


@pytest.mark.parametrize("rule", RULES)
def test_a_schedule_is_called_from_step_0_and_once_a_step(rule):
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.1 / (1 + step)

    ours, plain = _run(rule, 0.1, rate=schedule)
    np.testing.assert_allclose(ours, plain, rtol=1e-11)
    assert [step for k, step in enumerate(asked) if k % 2 == 0] == list(range(STEPS))


@pytest.mark.parametrize("rule", ["SGD momentum", "Adam", "AdamW"])
def test_clip_norm_is_over_all_parameters_together(rule):
    norms = []

    def clip(grads):
        norm = math.sqrt(sum(g * g for g in grads))
        norms.append(norm)
        return [g * min(1.0, 3.0 / norm) for g in grads]

    ours, plain = _run(rule, 0.3, transform=clip, clip_norm=3.0)
    np.testing.assert_allclose(ours, plain, rtol=1e-11)
    assert min(norms) < 3.0 < max(norms)  # both kinds of steps were there


@pytest.mark.parametrize("rule", ["SGD momentum", "Adam", "AdamW"])
def test_clip_value_is_element_by_element(rule):
    def clip(grads):
        return [min(max(g, -0.4), 0.4) for g in grads]

    ours, plain = _run(rule, 0.3, transform=clip, clip_value=0.4)
    np.testing.assert_allclose(ours, plain, rtol=1e-11)


def test_norm_first_then_value():
    def clip(grads):
        norm = math.sqrt(sum(g * g for g in grads))
        return [min(max(g * min(1.0, 3.0 / norm), -0.4), 0.4) for g in grads]

    ours, plain = _run("SGD", 0.3, transform=clip, clip_norm=3.0, clip_value=0.4)
    np.testing.assert_allclose(ours, plain, rtol=1e-11)


def test_grad_norm_is_that_before_clipping():
    one, two = Parameter(np.zeros(1)), Parameter(np.zeros((1, 1), np.float32))
    optimizer = m.SGD([one, two], 1.0, clip_norm=1.0)
    one.grad, two.grad = [3.0], [[4.0]]
    optimizer.step()
    assert optimizer.grad_norm == pytest.approx(5.0, rel=1e-7)
    np.testing.assert_allclose([one.value[0], two.value[0, 0]], [-0.6, -0.8], rtol=1e-6)
    optimizer.clip_norm = None
    optimizer.step()
    assert optimizer.grad_norm is None


def test_a_norm_too_large_for_float32_is_still_clipped():
    parameter = Parameter(np.zeros(2, np.float32))
    optimizer = m.SGD([parameter], 1.0, clip_norm=5.0)
    parameter.grad = [3e30, 4e30]
    optimizer.step()
    np.testing.assert_allclose(parameter.value, [-3, -4], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_norm_that_is_not_finite_changes_nothing(bad):
    parameter = Parameter(np.ones(2))
    optimizer = m.Adam([parameter], 0.1, clip_norm=1.0)
    parameter.grad = [1.0, 1.0]
    optimizer.step()
    before, state = parameter.value.copy(), optimizer.state_dict()
    parameter.grad = [bad, 1.0]
    with pytest.raises(FloatingPointError, match=f"Adam: the norm of the gradient is {bad}"):
        optimizer.step()
    np.testing.assert_array_equal(parameter.value, before)
    after = optimizer.state_dict()
    assert after["step"] == state["step"] == 1
    for name, slot in state["slots"][0].items():
        np.testing.assert_array_equal(after["slots"][0][name], slot)


@pytest.mark.parametrize("rule", RULES)
def test_a_step_leaves_the_gradients_as_they_are(rule):
    optimizer_class, _, keywords = RULES[rule]
    parameters = _parameters()
    optimizer = optimizer_class(
        parameters.values(), 0.1, weight_decay=0.2, clip_norm=0.5, clip_value=0.1, **keywords
    )
    gradients = _gradients(0, parameters)
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]
    optimizer.step()
    for name, parameter in parameters.items():
        np.testing.assert_array_equal(parameter.grad, gradients[name])


def test_zero_gradients_move_nothing_but_what_decays():
    parameters = _parameters()
    before = {name: p.value.copy() for name, p in parameters.items()}
    m.AdamW(parameters.values(), 0.5, weight_decay=0.2).step()
    np.testing.assert_allclose(parameters["W"].value, 0.9 * before["W"], rtol=1e-14)
    np.testing.assert_array_equal(parameters["b"].value, before["b"])


# ---------------------------------------------------------------- one's own


def test_an_optimizer_of_ones_own():
    class HeavySign(Optimizer):
        def update(self, value, grad, learning_rate, slots):
            slots["sum"] += grad
            value -= learning_rate * np.sign(slots["sum"])

    one, two = Parameter(np.zeros(2)), Parameter(np.zeros((1, 1)), decay=False)
    optimizer = HeavySign([one, two], lambda step: 1.0 / (step + 1), clip_value=5.0)
    one.grad, two.grad = [3.0, -1.0], [[9.0]]
    optimizer.step()
    one.grad, two.grad = [-4.0, 0.5], [[-4.0]]
    optimizer.step()
    np.testing.assert_allclose(one.value, [-0.5, 1.5])
    np.testing.assert_allclose(two.value, [[-1.5]])
    assert optimizer.step_count == 2


def test_an_own_update_cannot_spoil_the_gradients():
    class Careless(Optimizer):
        def update(self, value, grad, learning_rate, slots):
            grad *= 2

    parameter = Parameter(np.ones(2))
    parameter.grad = [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        Careless([parameter], 0.1).step()
    np.testing.assert_array_equal(parameter.grad, [1, 2])
    with pytest.raises(NotImplementedError, match="Optimizer has no update method"):
        Optimizer([parameter], 0.1).step()
