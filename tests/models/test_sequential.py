"""Sequential: a chain of layers that is itself a layer."""

import re

import numpy as np
import pytest

import minirnn as m
from minirnn import Layer, Sequential
from tests.contract import helpers


def _model(dtype=np.float64):
    return Sequential(
        [
            Sequential([m.Dense(3, 4, rng=0, dtype=dtype), m.Tanh(), m.Dropout(0.5, rng=1)]),
            m.LSTM(4, 5, rng=2, dtype=dtype),
            m.Dense(5, 2, rng=3, dtype=dtype),
        ]
    )


def _x(shape=(2, 6, 3), seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_it_is_its_layers_one_after_the_other():
    model = _model().eval()
    x, y = _x(), _x()
    for layer in model:
        y = layer.forward(y)
    np.testing.assert_array_equal(model.forward(x), y)
    grad = _x(y.shape, 1)
    model.zero_grad()
    grad_x = model.backward(grad)
    grads = [p.grad.copy() for p in model.parameters()]
    model.zero_grad()
    for layer in reversed(list(model)):
        grad = layer.backward(grad)
    np.testing.assert_array_equal(grad_x, grad)
    for expected, parameter in zip(grads, model.parameters(), strict=True):
        np.testing.assert_array_equal(parameter.grad, expected)


def test_len_index_iteration():
    layers = [m.Dense(3, 4), m.Tanh(), m.Dense(4, 2)]
    model = Sequential(layers)
    layers.append(m.ReLU())  # the caller's list is the caller's
    assert len(model) == 3
    assert list(model) == layers[:3]
    assert model[0] is layers[0]
    assert model[-1] is layers[2]
    with pytest.raises(IndexError):
        model[3]
    assert len(Sequential(layer for layer in layers)) == 4


def test_a_slice_is_a_model_of_the_same_layers():
    model = _model()
    part = model[:2]
    assert type(part) is m.Sequential
    assert list(part) == model.layers[:2]
    np.testing.assert_array_equal(part.predict(_x()), model[1].predict(model[0].predict(_x())))
    with pytest.raises(ValueError, match="Sequential: the list of layers is empty"):
        model[1:1]


def test_only_what_holds_a_state_has_one():
    plain = m.Sequential([m.Dense(3, 3), m.Tanh()])
    model = m.Sequential([plain, m.GRU(3, 4)])
    assert (plain.uses_state, model.uses_state) == (False, True)
    model.forward(_x())
    assert model.state[0] is None


def test_nesting_changes_no_number():
    one, two, three = m.Dense(3, 4, rng=0), m.GRU(4, 5, rng=1), m.Dense(5, 2, rng=2)
    mask = helpers.make_mask("trailing", 2, 6)
    y = Sequential([one, two, three]).forward(_x(), mask)
    nested = Sequential([Sequential([one, Sequential([two])]), three])
    np.testing.assert_array_equal(nested.forward(_x(), mask), y)
    names = [name for name, _ in nested.named_parameters()]
    assert names[0] == "layers.0.layers.0.W"
    assert names[2] == "layers.0.layers.1.layers.0.cell.Wx"


# ---------------------------------------------------------------- refusals


def test_the_same_object_twice_is_refused_wherever_it_stands():
    dense, tanh = m.Dense(3, 3), m.Tanh()
    with pytest.raises(ValueError, match="Sequential: layers 0 and 2 hold the same Tanh object"):
        Sequential([tanh, dense, tanh])
    with pytest.raises(ValueError, match="layers 0 and 1 hold the same Dense object"):
        Sequential([Sequential([dense, tanh]), Sequential([dense])])
    rnn = m.RNN(3, 3)
    with pytest.raises(ValueError, match="the same RNN object"):
        Sequential([m.Bidirectional(rnn, m.RNN(3, 3)), rnn])


def test_a_shared_parameter_is_no_shared_layer():
    one, two = m.Dense(3, 3, rng=0, dtype=np.float64), m.Dense(3, 3, dtype=np.float64)
    two.W = one.W
    model = Sequential([one, m.Tanh(), two])
    assert model.parameter_count == 9 + 3 + 3
    assert m.check_gradients(model, _x((4, 3))).passed


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([], ValueError, "Sequential: the list of layers is empty"),
        (
            [m.Tanh(), m.Dense],
            TypeError,
            r"layer 1 should be a Layer, got the class Dense.*Dense\(",
        ),
        ([m.Tanh(), np.tanh], TypeError, "layer 1 should be a Layer, got ufunc"),
        (m.Tanh(), TypeError, r"Sequential: takes a list of layers, got Tanh.*Sequential\(\["),
        (None, TypeError, "Sequential: takes a list of layers, got NoneType"),
    ],
)
def test_what_is_no_list_of_layers_is_refused(layers, error, message):
    with pytest.raises(error, match=message):
        Sequential(layers)


def test_a_layer_of_several_inputs_is_named_where_it_gets_one():
    model = Sequential([m.GRU(3, 4), m.Attention(4, 4)])
    with pytest.raises(TypeError, match=r"^Attention \(layer 1 of the model\): .* 'keys'"):
        model.forward(_x())
    for around in (m.Residual, lambda layer: m.Parallel([layer, m.Tanh()])):
        with pytest.raises(TypeError, match="Attention.* 'keys'"):
            around(m.Attention(4, 4)).forward(_x())


class Scaled(m.Layer):
    """Of two inputs, and of a mask that is not the second one."""

    uses_mask = True

    def forward(self, x, gain, mask=None):
        return x * gain[..., None]


@pytest.mark.parametrize("around", [Sequential, lambda layers: m.Residual(*layers), m.Parallel])
def test_a_layer_of_several_inputs_does_not_take_the_mask_for_one(around):
    for layer, name in ((Scaled(), "gain"), (m.Attention(3, 3, rng=0), "keys")):
        with pytest.raises(TypeError, match=rf"missing 1 required positional argument: '{name}'"):
            around([layer]).forward(np.ones((2, 5, 3)), np.ones((2, 5), bool))


def test_an_error_names_the_layer():
    model = Sequential([m.Dense(3, 4, rng=0), m.Tanh(), m.LSTM(4, 2, rng=1)])
    before = helpers.snapshot(model)
    with pytest.raises(
        ValueError, match=r"^LSTM \(layer 2 of the model\): the input should be \(batch, time, f"
    ):
        model.forward(_x()[0])
    helpers.assert_same(before, helpers.snapshot(model))


def test_an_error_in_a_nested_model_names_both_places():
    inner = Sequential([m.Tanh(), m.LSTM(4, 2)])
    model = Sequential([m.Dense(3, 4), m.ReLU(), inner])
    with pytest.raises(
        ValueError, match=r"^LSTM \(layer 1 of layer 2 of the model\): the input should be"
    ):
        model.forward(_x()[0])


def test_an_error_of_any_kind_is_located():
    class Fails(Layer):
        def forward(self, x):
            raise self.error

    fails = Fails()
    model = Sequential([m.Tanh(), fails])
    for error in [ZeroDivisionError("oh"), KeyError("oh")]:
        fails.error = error
        with pytest.raises(type(error), match=r"Fails \(layer 1 of the model\): oh"):
            model.forward(_x())
    fails.error = KeyError(3)
    with pytest.raises(KeyError) as caught:
        model.forward(_x())
    assert "layer 1 of the model (Fails)" in caught.value.__notes__[0]


def test_a_refused_forward_leaves_the_carried_state():
    model = Sequential([m.LSTM(3, 4, stateful=True, rng=0), m.LastStep()])
    model.forward(_x())
    before = helpers.snapshot(model)
    with pytest.raises(ValueError, match="LastStep .*no valid step"):
        model.forward(_x(), helpers.make_mask("empty row", 2, 6))
    helpers.assert_same(before, helpers.snapshot(model))


def test_backward_after_a_refused_forward_is_that_of_the_one_before_or_an_error():
    model = Sequential([m.Dense(3, 4, rng=0, dtype=np.float64), m.LastStep()])
    y = model.forward(_x())
    model.backward(np.ones_like(y))
    expected = model[0].W.grad.copy()
    with pytest.raises(ValueError, match="LastStep .*no valid step"):
        model.forward(_x(seed=1), helpers.make_mask("empty row", 2, 6))
    model.zero_grad()
    try:
        model.backward(np.ones_like(y))
    except RuntimeError:
        return
    np.testing.assert_array_equal(model[0].W.grad, expected)


# ---------------------------------------------------------------- modes, masks, streams


@pytest.mark.parametrize("fails", [False, True])
def test_predict_is_in_evaluation_mode_and_restores_each_layers_own(fails):
    model = _model()
    frozen = model[0][2]
    frozen.eval()
    modes = [layer.training for _, layer in model.named_layers()]
    assert sorted(set(modes)) == [False, True]
    if fails:
        with pytest.raises(ValueError, match=re.escape("axis 2 (features) should be 3, got 7")):
            model.predict(np.ones((2, 6, 7)))
    else:
        y = model.predict(_x())
        np.testing.assert_array_equal(y, model.predict(_x()))
        np.testing.assert_array_equal(y, model.eval().forward(_x()))
        model.train()
        assert not np.array_equal(y, model.forward(_x()))
        return
    assert [layer.training for _, layer in model.named_layers()] == modes


class Spy(Layer):
    """Passes everything through, and writes down the mask."""

    def __init__(self, uses_mask=True, keeps_time=True, drop=False):
        self.uses_mask, self.keeps_time, self.drop = uses_mask, keeps_time, drop

    def forward(self, x, mask="not given"):
        self.seen = mask
        return x[:, -1] if self.drop else x


def test_the_mask_goes_to_those_who_use_it_until_time_ends():
    mask = helpers.make_mask("trailing", 2, 6)
    spies = [Spy(), Spy(uses_mask=False), Spy(), Spy(keeps_time=False, drop=True), Spy()]
    model = Sequential([spies[0], Sequential(spies[1:3]), *spies[3:]])
    model.forward(_x(), mask)
    np.testing.assert_array_equal(spies[0].seen, mask)
    assert isinstance(spies[1].seen, str)
    np.testing.assert_array_equal(spies[2].seen, mask)
    np.testing.assert_array_equal(spies[3].seen, mask)
    assert isinstance(spies[4].seen, str)
    assert not model.keeps_time
    assert model[1].keeps_time


def test_equal_sizes_by_chance_do_not_bring_the_mask_back():
    class Average(Layer):
        keeps_time = False

        def forward(self, x):
            return np.repeat(x.mean(axis=1)[:, None], 6, axis=1)  # (batch, 6 heads, features)

    spy = Spy()
    Sequential([Average(), spy]).forward(_x(), helpers.make_mask("trailing", 2, 6))
    assert isinstance(spy.seen, str)


def test_a_layer_that_drops_time_in_silence_is_found():
    class Half(Layer):
        def forward(self, x):
            return x[:, ::2]

    with pytest.raises(ValueError, match=r"Half \(layer 0 of the model\): .*keeps_time = False"):
        Sequential([Half(), m.GRU(3, 4)]).forward(_x(), helpers.make_mask("gaps", 2, 6))


def test_nan_in_the_padding_reaches_no_layer():
    mask = helpers.make_mask("gaps", 2, 6)
    model = Sequential([m.Dense(3, 4, rng=0), m.GRU(4, 5, rng=1), m.Dense(5, 2, rng=2)])
    y = model.forward(helpers.with_padding(_x(), mask, np.nan), mask)
    np.testing.assert_array_equal(y, model.forward(helpers.with_padding(_x(), mask, 0), mask))
    model.backward(mask[:, :, None] * np.ones(2))
    assert all(np.isfinite(p.grad).all() for p in model.parameters())


def test_step_by_step_is_the_whole_sequence():
    model = Sequential([m.Embedding(7, 3, rng=0, dtype=np.float64), _model(), m.Softmax()])
    tokens = np.random.default_rng(0).integers(0, 7, (2, 6))
    y = model.predict(tokens)
    for _ in range(2):
        model.reset_state()
        steps = np.stack([model.step(tokens[:, t]) for t in range(6)], axis=1)
        np.testing.assert_allclose(steps, y, rtol=1e-12)


def test_a_step_keeps_nothing_for_backward():
    model = _model()
    y = model.forward(_x())
    expected = model.backward(np.ones_like(y))
    model.step(_x((2, 3)))
    np.testing.assert_array_equal(model.backward(np.ones_like(y)), expected)


def test_backward_parameters_stops_at_the_first_layer_that_learns():
    class Untouchable(m.Tanh):
        def backward(self, grad):
            raise AssertionError("nobody needs this gradient")

    model = Sequential([Untouchable(), m.Dense(3, 4, rng=0), m.Tanh()])
    y = model.forward(_x())
    model.backward_parameters(np.ones_like(y))
    assert np.abs(model[1].W.grad).min() > 0
    bare = Sequential([Untouchable()])
    bare.forward(_x())
    assert bare.backward_parameters(_x()) is None


@pytest.mark.parametrize("kind", [m.Dense, m.LSTM])
def test_a_backward_of_ones_own_is_called_in_training_too(kind):
    class Doubled(kind):
        def backward(self, grad):  # takes no need_grad_x
            return super().backward(2 * grad)

    plain, doubled = Sequential([kind(3, 4, rng=0)]), Sequential([Doubled(3, 4, rng=0)])
    for model in (plain, doubled):
        model.backward_parameters(np.ones_like(model.forward(_x())))
    for one, two in zip(plain.parameters(), doubled.parameters(), strict=True):
        np.testing.assert_allclose(two.grad, 2 * one.grad, rtol=1e-6)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [m.Dense(3, 2, rng=0)],
        lambda: [m.Dense(3, 3, rng=0), m.Softmax()],
        lambda: [m.GRU(3, 4, rng=0), m.Dense(4, 2, rng=1), m.Tanh()],
    ],
)
def test_masked_steps_give_zeros_and_take_no_gradient_behind_any_last_layer(layers):
    mask = helpers.make_mask("trailing", 2, 6)
    model = Sequential(layers())
    for _, p in model.named_parameters():
        p.value += 0.5  # biases too
    y = model.forward(_x(), mask)
    assert not y[~mask].any()
    grad_x = model.backward(np.where(mask[..., None], np.ones_like(y), np.nan))
    assert not grad_x[~mask].any()
    assert all(np.isfinite(p.grad).all() for p in model.parameters())
    assert m.check_gradients(model, _x(), mask=mask).passed


@pytest.mark.parametrize("kind", [m.Sequential, m.Parallel])
def test_a_layer_may_be_replaced(kind):
    model = kind([m.LSTM(3, 3, rng=0), m.LSTM(3, 3, rng=1)])
    x = np.ones((2, 4, 3))
    model.forward(x)
    model.layers[0] = m.GRU(3, 3, rng=2)
    names = [f"layers.0.cell.{name}" for name in ("Wx", "Wh", "b", "bn")]
    assert list(model.state_dict()) == names + [f"layers.1.cell.{n}" for n in ("Wx", "Wh", "b")]

    model.forward(x)
    before = model.state
    model.layers[1].forward = None  # an error after the new layer
    with pytest.raises(TypeError):
        model.forward(2 * x)
    assert model.state[0] is before[0]


def test_a_replaced_layer_is_checked_and_followed_as_the_first_one_was():
    model = m.Sequential([m.GRU(3, 4, rng=0), m.LastState(), m.Dense(4, 2, rng=1)])
    model.forward(_x())
    model.layers[0] = m.GRU(3, 4, rng=0, reverse=True)
    y = model.forward(_x())
    np.testing.assert_array_equal(y, model[2].predict(model[0].state[0]))
    for wrong, message in [
        (m.GRU(3, 5), r"layer 0 \(GRU\) gives 5 features, but layer 2 \(Dense\) takes 4"),
        (m.GRUCell(3, 4), "layer 0 is a GRUCell, one time step"),
        (model[2], "layers 0 and 2 hold the same Dense"),
        (m.Dense(3, 4), "LastState: should stand behind a recurrent layer"),
    ]:
        model.layers[0] = wrong
        with pytest.raises((TypeError, ValueError), match=message):
            model.forward(_x())
    both = m.Parallel([m.Dense(3, 2), m.Dense(3, 4)])
    both.layers[1] = m.LastStep()
    with pytest.raises(ValueError, match="the outputs should have the same shape but"):
        both.forward(_x())
