"""Layers of one's own that break the contract in silence: found on the first batch."""

from types import SimpleNamespace

import numpy as np
import pytest

import minirnn as m
from tests.contract import helpers

X = np.random.default_rng(0).normal(size=(4, 3, 2))
Y = np.random.default_rng(1).normal(size=(4, 3, 2))


class Scale(m.Layer):
    def __init__(self):
        self.w = m.Parameter(np.ones(2))

    def forward(self, x):
        self.x = x
        return x * self.w.value

    def backward(self, grad):
        self.w.grad += (grad * self.x).sum(axis=(0, 1))
        return grad * self.w.value


class Assigning(Scale):
    def backward(self, grad):
        self.w.grad = (grad * self.x).sum(axis=(0, 1))
        return grad * self.w.value


class Filling(Scale):
    def backward(self, grad):
        self.w.grad[:] = (grad * self.x).sum(axis=(0, 1))
        return grad * self.w.value


class Changing(Scale):
    def forward(self, x):
        x *= 2
        return super().forward(x)


class Forgetful(Scale):
    def backward(self, grad):
        x = self.__dict__.pop("x")
        self.w.grad += (grad * x).sum(axis=(0, 1))
        return grad * self.w.value


class Decay(m.Cell):
    """A cell that assigns: only its last step would count."""

    def __init__(self, assigning):
        self.input_size = self.hidden_size = self.output_size = 2
        self.w = m.Parameter(np.full(2, 0.5))
        self.assigning = assigning

    def initial_state(self, batch_size):
        return (np.zeros((batch_size, 2)),)

    def forward(self, x_t, state):
        h = self.w.value * state[0] + x_t
        return h, (h,), state[0]

    def backward(self, grad_y, grad_state, cache):
        grad = grad_y + grad_state[0]
        mine = (grad * cache).sum(axis=0)
        if self.assigning:
            self.w.grad = mine
        else:
            self.w.grad += mine
        return grad, (grad * self.w.value,)


def _trainer(layer, optimizer=m.SGD):
    model = m.Sequential([m.Tanh(), layer, m.Dense(2, 2, rng=0, dtype=np.float64)])
    return m.Trainer(model, m.MeanSquaredError(), optimizer(model.parameters(), 0.1), rng=0)


@pytest.mark.parametrize("make", [Assigning, Filling, lambda: m.Recurrent(Decay(True))])
def test_gradients_that_are_assigned_are_noticed(make):
    trainer = _trainer(make())
    before = trainer.model.state_dict()
    with pytest.raises(RuntimeError, match=r"backward assigns the gradient of layers\.1.*grad \+="):
        trainer.train_step(X, Y)
    helpers.assert_same(trainer.model.state_dict(), before)


def test_a_forward_that_changes_its_input_is_noticed():
    trainer = _trainer(Changing())
    with pytest.raises(RuntimeError, match="Changing.*: forward changes its input in place"):
        trainer.train_step(X, Y)
    assert "forward" not in vars(trainer.model[1])


@pytest.mark.parametrize("make", [Scale, Forgetful, lambda: m.Recurrent(Decay(False))])
def test_sound_layers_train_as_in_a_loop_by_hand(make):
    trainer, by_hand = _trainer(make()), _trainer(make())
    for _ in range(3):
        loss = by_hand.loss.forward(by_hand.model.forward(X), Y)
        by_hand.optimizer.zero_grad()
        by_hand.model.backward(by_hand.loss.backward())
        by_hand.optimizer.step()
        assert trainer.train_step(X, Y) == loss
    helpers.assert_same(trainer.model.state_dict(), by_hand.model.state_dict())
    assert "forward" not in vars(trainer.model[1])


def test_weights_for_a_loss_that_does_not_take_them():
    class Plain(m.MeanSquaredError):
        def forward(self, prediction, target, mask=None):
            return super().forward(prediction, target, mask)

    trainer = _trainer(Scale())
    trainer.loss = Plain()
    trainer.train_step(X, Y)
    for call in (trainer.train_step, trainer.evaluate):
        with pytest.raises(TypeError, match=r"forward of Plain does not take sample_weight; write"):
            call(X, Y, sample_weight=np.ones(4))


class Boxed(m.Layer):
    """A layer that keeps another one where no parameters are looked for."""

    def __init__(self, keep):
        self.kept = keep(Scale())

    def inside(self):
        return getattr(self.kept, "scale", None) or next(iter(self.kept))

    def forward(self, x):
        return self.inside().forward(x)

    def backward(self, grad):
        return self.inside().backward(grad)


@pytest.mark.parametrize("keep", [lambda one: {one}, lambda one: SimpleNamespace(scale=one)])
def test_parameters_that_nothing_finds(keep):
    model = m.Sequential([m.Dense(2, 2, rng=0, dtype=np.float64), Boxed(keep)])
    trainer = m.Trainer(model, m.MeanSquaredError(), m.SGD(model.parameters(), 0.1))
    with pytest.raises(RuntimeError, match=r"^Boxed: kept holds a parameter of shape \(2,\) where"):
        trainer.train_step(X, Y)


def test_a_list_is_where_parameters_are_found_and_what_gets_no_gradient_may_be_anywhere():
    model = m.Sequential([m.Dense(2, 2, rng=0, dtype=np.float64), Boxed(lambda one: [one])])
    model[1].teacher = SimpleNamespace(layer=Scale())
    m.Trainer(model, m.MeanSquaredError(), m.SGD(model.parameters(), 0.1)).train_step(X, Y)
