"""The running average of the weights: by hand, applied, saved."""

import numpy as np
import pytest

import minirnn as m
from minirnn import Parameter, WeightAverage

STEPS = np.array([[1.0, 5.0], [2.0, 3.0], [6.0, 1.0]])


def _averaged(decay, steps=STEPS):
    parameter = Parameter(np.zeros(2))
    average = WeightAverage([parameter], decay=decay)
    for weights in steps:
        parameter.value = weights
        average.update()
    return parameter, average


@pytest.mark.parametrize(
    ("decay", "expected"),
    [(None, STEPS.mean(axis=0)), (0.75, 0.75 * (0.75 * STEPS[0] + 0.25 * STEPS[1]) + STEPS[2] / 4)],
)
def test_by_hand(decay, expected):
    parameter, average = _averaged(decay)
    with average.applied():
        np.testing.assert_allclose(parameter.value, expected, rtol=1e-14)
    np.testing.assert_array_equal(parameter.value, STEPS[-1])


@pytest.mark.parametrize("decay", [None, 0.9])
def test_as_in_torch(decay):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    rng = np.random.default_rng(0)
    steps = rng.normal(size=(7, 3))
    module = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    theirs = AveragedModel(
        module, multi_avg_fn=None if decay is None else get_ema_multi_avg_fn(decay)
    )
    parameter = Parameter(np.zeros((1, 3)))
    average = WeightAverage([parameter], decay=decay)
    for weights in steps:
        parameter.value = weights[None]
        average.update()
        with torch.no_grad():
            module.weight.copy_(torch.tensor(weights)[None])
        theirs.update_parameters(module)
    average.apply()
    np.testing.assert_allclose(parameter.value, theirs.module.weight.detach(), rtol=1e-12)


def test_the_weights_come_back_after_an_error_too():
    parameter, average = _averaged(None)
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    np.testing.assert_array_equal(parameter.value, STEPS[-1])


def test_it_follows_an_optimizer_and_its_flat_vector():
    layer = m.Dense(2, 1, rng=0, dtype=np.float64)
    average = WeightAverage(layer.parameters())
    optimizer = m.SGD(layer.parameters(), 0.1)
    seen = []
    for step in range(4):
        layer.W.grad = [[step], [1.0]]
        optimizer.step()
        average.update()
        seen.append(layer.W.value.copy())
    with average.applied():
        np.testing.assert_allclose(layer.W.value, np.mean(seen, axis=0), rtol=1e-13)
        y = layer.forward(np.ones((1, 2)))
    assert y != layer.forward(np.ones((1, 2)))


@pytest.mark.parametrize("decay", [None, 0.75])
def test_saved_and_gone_on_with(decay):
    parameter, average = _averaged(decay, STEPS[:1])
    other_parameter, other = _averaged(decay, STEPS[2:])
    state = average.state_dict()
    other.load_state_dict(state)
    for weights in STEPS[1:]:
        for one, its in [(parameter, average), (other_parameter, other)]:
            one.value = weights
            its.update()
    average.apply()
    other.apply()
    np.testing.assert_array_equal(parameter.value, other_parameter.value)
    assert state["count"] == 1  # a copy


def test_before_any_update_and_wrong_states():
    _, average = _averaged(None, STEPS[:0])
    with pytest.raises(RuntimeError, match="there is no average before the first update"):
        average.apply()
    average.load_state_dict(average.state_dict())
    with pytest.raises(ValueError, match="has 0 averages after 2 updates, and there are 1 param"):
        average.load_state_dict({"count": 2, "averages": []})
    with pytest.raises(ValueError, match=r"average 0 should have shape \(2,\), got \(3,\)"):
        average.load_state_dict({"count": 2, "averages": [np.zeros(3)]})
    assert average.count == 0
    with pytest.raises(ValueError, match="decay should be at least 0 and below 1, got 1"):
        WeightAverage([Parameter([1.0])], decay=1.0)
    with pytest.raises(TypeError, match=r"write model.parameters\(\)"):
        WeightAverage(m.Dense(2, 1))
