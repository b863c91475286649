"""Twenty steps of each optimizer against the same rule, scalar by scalar."""

import inspect
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


@pytest.mark.parametrize("kind", [m.SGD, m.AdamW])
def test_a_group_decays_where_the_optimizer_does_not(kind):
    one, other = Parameter(np.array([1.0])), Parameter(np.array([1.0]))
    optimizer = kind([one, m.ParameterGroup([other], weight_decay=0.5)], 0.1)
    optimizer.step()
    assert one.value[0] == 1
    assert other.value[0] == pytest.approx(0.95, rel=1e-15)


def test_a_rate_of_zero_moves_no_value_but_the_momentum():
    w = Parameter(np.array([1.0]))
    optimizer = m.SGD([w], lambda step: [0.0, 0.1][step], momentum=0.5)
    for expected in (1.0, 0.85):  # v = 1, then v = 0.5 + 1
        w.grad = [1.0]
        optimizer.step()
        assert w.value[0] == pytest.approx(expected, rel=1e-15)


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
    one.grad = [0.0]
    optimizer.step()
    assert optimizer.grad_norm == 4.0


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


def _own(update):
    return type("Own", (Optimizer,), {"update": update})


def _ready(optimizer_class, **keywords):
    parameter = Parameter(np.ones(2))
    parameter.grad = [1.0, -2.0]
    return parameter, optimizer_class([parameter], 0.1, **keywords)


def test_an_own_update_that_rebinds_changes_nothing_and_is_refused():
    def update(self, value, grad, learning_rate, slots):
        value = value - learning_rate * grad

    parameter, optimizer = _ready(_own(update))
    with pytest.raises(RuntimeError, match=r"Own: update changed nothing.*write value -= "):
        optimizer.step()
    assert optimizer.step_count == 0
    np.testing.assert_array_equal(parameter.value, [1, 1])


def test_an_own_update_that_returns_is_refused():
    def update(self, value, grad, learning_rate, slots):
        value *= 0.5
        return value - learning_rate * grad

    parameter, optimizer = _ready(_own(update))
    with pytest.raises(TypeError, match=r"Own: update returned ndarray, which is ignored"):
        optimizer.step()
    np.testing.assert_array_equal(parameter.value, [1, 1])


def test_an_own_update_that_rebinds_a_slot_is_warned_of():
    def update(self, value, grad, learning_rate, slots):
        m = slots["m"]
        m = 0.9 * m + grad
        value -= learning_rate * m

    _, optimizer = _ready(_own(update))
    with pytest.warns(RuntimeWarning, match=r"Own: slot m is zero after an update.*m\[:\] = "):
        optimizer.step()
    optimizer.step()  # said once


def test_a_slot_may_be_assigned():
    def update(self, value, grad, learning_rate, slots):
        slots["m"] = 0.5 * slots["m"] + grad
        value -= learning_rate * slots["m"]

    parameter, optimizer = _ready(_own(update))
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(parameter.value, [1 - 0.25, 1 + 0.5])
    with pytest.raises(ValueError, match=r"slot m should have shape \(2,\).*got \(3,\)"):
        optimizer._buffers[0].slots["m"] = np.zeros(3)


def test_steps_too_small_to_show_are_no_mistake():
    parameter = Parameter(np.ones(3, np.float32))
    optimizer = m.SGD([parameter], 1e-30)
    parameter.grad = [1e-3, 0, 0]
    optimizer.step()
    np.testing.assert_array_equal(parameter.value, [1, 1, 1])


def test_without_a_gradient_or_a_rate_nothing_is_known_yet():
    def update(self, value, grad, learning_rate, slots):
        value = value - learning_rate * grad

    parameter, optimizer = _ready(_own(update))
    optimizer.learning_rate = lambda step: 0.0
    optimizer.step()
    optimizer.learning_rate, parameter.grad = 0.1, [0.0, 0.0]
    optimizer.step()
    parameter.grad = [1.0, 0.0]
    with pytest.raises(RuntimeError, match="Own: update changed nothing"):
        optimizer.step()


def test_an_own_optimizer_without_super_says_so():
    class Own(Optimizer):
        def __init__(self, parameters, rate):
            self.rate = rate

    optimizer = Own([Parameter(np.ones(1))], 0.1)
    for use in (optimizer.step, optimizer.zero_grad, lambda: optimizer.parameters):
        with pytest.raises(AttributeError, match=r"Own: .* not there yet; does __init__ call"):
            use()
    with pytest.raises(AttributeError, match="'Own' object has no attribute 'typo'"):
        optimizer.typo  # noqa: B018
    assert repr(optimizer) == "Own(rate=0.1)"


def test_what_every_optimizer_takes_stands_in_each_signature():
    for kind in (m.SGD, m.RMSProp, m.Adagrad, m.Adam, m.AdamW, m.Nadam, Optimizer):
        names = list(inspect.signature(kind).parameters)
        assert names[:2] == ["parameters", "learning_rate"]
        assert {"weight_decay", "clip_norm", "clip_value"} < set(names)
        with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
            kind([Parameter(np.ones(1))], 0.1, nonsense=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing_without_clipping_too(bad):
    parameter, optimizer = _ready(m.SGD)
    parameter.grad = [bad, 1.0]
    with pytest.raises(FloatingPointError, match=f"SGD: the norm of the gradient is {bad}"):
        optimizer.step()
    np.testing.assert_array_equal(parameter.value, [1, 1])


def test_a_finite_gradient_whose_norm_is_not_needed_may_be_huge():
    parameter, optimizer = _ready(m.SGD)
    parameter.grad = [1e200, 0.0]
    optimizer.step()
    np.testing.assert_array_equal(parameter.value, [-1e199, 1])
    assert optimizer.grad_norm == math.inf


def test_flags_are_flags():
    for make in (
        lambda p: m.SGD(p, 0.1, momentum=0.9, nesterov="no"),
        lambda p: m.RMSProp(p, 0.1, centered=1),
        lambda p: m.Adam(p, 0.1, amsgrad="yes"),
    ):
        with pytest.raises(TypeError, match="should be True or False, got"):
            make([Parameter(np.ones(1))])


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("clip_norm", -1.0, "SGD: clip_norm should be greater than 0, got -1"),
        ("clip_value", 0.0, "SGD: clip_value should be greater than 0, got 0"),
        ("weight_decay", -0.1, "SGD: weight_decay should be at least 0, got -0.1"),
        ("momentum", 1.5, "SGD: momentum should be at least 0 and below 1, got 1.5"),
        ("learning_rate", 0.0, "SGD: learning_rate should be greater than 0, got 0"),
    ],
)
def test_a_setting_assigned_later_is_checked_as_well(name, wrong, message):
    optimizer = m.SGD([Parameter(np.ones(1))], 0.1, momentum=0.5, clip_norm=1.0)
    before = getattr(optimizer, name)
    with pytest.raises(ValueError, match=message):
        setattr(optimizer, name, wrong)
    assert getattr(optimizer, name) == before
    setattr(optimizer, name, 0.25)
    assert getattr(optimizer, name) == 0.25


def test_centered_does_not_fall_below_zero_by_rounding():
    parameter = Parameter(np.ones(1, np.float32))
    optimizer = m.RMSProp([parameter], 1e-3, centered=True, rho=0.5)
    for _ in range(60):
        parameter.grad = [0.1]
        optimizer.step()
        assert np.isfinite(parameter.value).all()


# ---------------------------------------------------------------- groups


@pytest.mark.parametrize("rule", RULES)
def test_a_group_goes_its_own_way(rule):
    optimizer_class, _, keywords = RULES[rule]
    together, apart = _parameters(), _parameters()
    W, b, U = together.values()
    group = m.ParameterGroup([W, b], rate_factor=0.5, weight_decay=0.3)
    one = optimizer_class([group, U], lambda t: 0.1 / (t + 1), weight_decay=0.1, **keywords)
    W, b, U = apart.values()
    others = [
        optimizer_class([W, b], lambda t: 0.05 / (t + 1), weight_decay=0.3, **keywords),
        optimizer_class([U], lambda t: 0.1 / (t + 1), weight_decay=0.1, **keywords),
    ]
    for step in range(5):
        for parameters in (together, apart):
            for name, gradient in _gradients(step, parameters).items():
                parameters[name].grad = gradient
        one.step()
        for other in others:
            other.step()
    for name, parameter in together.items():
        np.testing.assert_allclose(parameter.value, apart[name].value, rtol=1e-13)


def test_one_norm_over_all_groups():
    parameters = _parameters()
    W, b, U = parameters.values()
    optimizer = m.SGD([m.ParameterGroup([W], rate_factor=2.0), b, U], 1.0, clip_norm=0.5)
    gradients = _gradients(0, parameters)
    before = {name: p.value.copy() for name, p in parameters.items()}
    for name, gradient in gradients.items():
        parameters[name].grad = gradient
    optimizer.step()
    norm = math.sqrt(sum(np.sum(gradient**2) for gradient in gradients.values()))
    for name, factor in [("W", 2.0), ("b", 1.0), ("U", 1.0)]:
        expected = before[name] - factor * 0.5 / norm * gradients[name]
        np.testing.assert_allclose(parameters[name].value, expected, rtol=1e-12)


def test_a_factor_of_zero_freezes():
    parameters = _parameters()
    W, b, U = parameters.values()
    frozen = m.ParameterGroup([W], rate_factor=0.0)
    optimizer = m.AdamW([frozen, b, U], 0.1, weight_decay=0.1)
    before = W.value.copy()
    for name, gradient in _gradients(0, parameters).items():
        parameters[name].grad = gradient
    optimizer.step()
    np.testing.assert_array_equal(W.value, before)
    assert optimizer.parameters == [W, b, U]


def test_wrong_groups():
    W, b, _ = _parameters().values()
    with pytest.raises(ValueError, match=r"SGD: a parameter of shape \(3,\) is in two groups"):
        m.SGD([m.ParameterGroup([W, b]), b], 0.1)
    with pytest.raises(ValueError, match="ParameterGroup: rate_factor should be at least 0"):
        m.ParameterGroup([W], rate_factor=-1.0)
    with pytest.raises(ValueError, match="ParameterGroup: weight_decay should be at least 0"):
        m.ParameterGroup([W], weight_decay=-1.0)
    with pytest.raises(ValueError, match="ParameterGroup: the list of parameters is empty"):
        m.ParameterGroup([])
    with pytest.raises(TypeError, match="SGD: takes a list of parameters, got ParameterGroup"):
        m.SGD(m.ParameterGroup([W]), 0.1)
    with pytest.raises(TypeError, match=r"a dict; a group is ParameterGroup\(parameters"):
        m.SGD([{"params": [W]}], 0.1)


def test_groups_are_saved_and_other_groups_refused():
    def make(grouped, seed):
        W, b, U = _parameters().values()
        members = [m.ParameterGroup([W], rate_factor=0.5), b, U] if grouped else [W, b, U]
        optimizer = m.Adam(members, 0.1)
        rng = np.random.default_rng(seed)
        for parameter in (W, b, U):
            parameter.grad = rng.normal(size=parameter.shape)
        optimizer.step()
        return optimizer

    one, other = make(True, 0), make(True, 1)
    other.load_state_dict(one.state_dict())
    for mine, its in zip(one._buffers, other._buffers, strict=True):
        for name, slot in mine.slots.items():
            np.testing.assert_array_equal(its.slots[name], slot)
    with pytest.raises(ValueError, match="belongs to parameters of sizes"):
        make(False, 0).load_state_dict(one.state_dict())


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_variance_that_rounds_below_zero_is_zero(dtype):
    """Of a constant gradient nothing is left once the mean is subtracted."""
    grads = np.random.default_rng(0).normal(size=500).astype(dtype)
    w = Parameter(np.zeros(500, dtype))
    optimizer = m.RMSProp([w], 1.0, centered=True, epsilon=0.5)
    for _ in range(400):
        before = w.value.copy()
        w.grad = grads
        optimizer.step()
    np.testing.assert_allclose(before - w.value, 2 * grads, rtol=1e-2)
