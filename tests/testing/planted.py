"""Things that break the contract, each in one way that a user might; and what should be said."""

import numpy as np

from minirnn import Cell, Layer, Loss, Metric, Optimizer, Parameter
from minirnn.callbacks import Callback

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(2, 3))
SEQUENCES = RNG.normal(size=(2, 4, 3))
PREDICTION, TARGET = RNG.normal(size=(3, 4, 2)), RNG.normal(size=(3, 4, 2))


class Gain(Layer):
    """y = x * w; sound, and the base of those that are not."""

    def __init__(self):
        self.w = Parameter(np.array([0.5, -1.0, 2.0], np.float32))

    def forward(self, x):
        self.x = np.asarray(x, self.w.value.dtype)
        return self.x * self.w.value

    def backward(self, grad):
        self.w.grad += (grad * self.x).reshape(-1, 3).sum(axis=0)
        return grad * self.w.value


class OneGradientForAll(Gain):
    """Hands out the same array from every backward."""

    def backward(self, grad):
        grad_x = super().backward(grad)
        room = self.__dict__.setdefault("room", np.empty_like(grad_x))
        room[...] = grad_x
        return room


class CacheOnTheClass(Gain):
    """Keeps its input on the class, so that two layers share it."""

    def forward(self, x):
        type(self).x = np.asarray(x, self.w.value.dtype)
        return type(self).x * self.w.value


class NeverZero(Gain):
    """Does not clear its gradients."""

    def zero_grad(self):
        pass


class TakesAnyState(Gain):
    """Loads what fits, and says nothing of the rest."""

    def load_state_dict(self, state):
        for name, parameter in self.named_parameters():
            if name in state and np.shape(state[name]) == parameter.shape:
                parameter.value = state[name]


class SqueezesOne(Gain):
    """Loses the batch axis where the batch is one."""

    def forward(self, x):
        return np.squeeze(super().forward(x))


class RunningMean(Gain):
    """Moves its statistics in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.mean = np.zeros(3)

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * np.asarray(x).mean(axis=0)
        return super().forward(x) - self.mean.astype(self.w.value.dtype)


class Contiguous(Gain):
    """Reads the memory of its input, whatever the strides."""

    def forward(self, x):
        base = x if x.base is None else x.base
        flat = np.asarray(base).ravel()[: x.size]
        return super().forward(flat.reshape(x.shape))


class KeepsTraining(Layer):
    """A composite layer whose eval forgets the layer inside."""

    def __init__(self):
        self.inner = Gain()

    def forward(self, x):
        return self.inner.forward(x)

    def backward(self, grad):
        return self.inner.backward(grad)

    def eval(self):
        self.training = False
        return self


class CumulativeSum(Layer):
    """y_t = x_1 + ... + x_t, with a step; sound."""

    total = None

    def forward(self, x):
        return np.cumsum(x, axis=1)

    def backward(self, grad):
        return np.flip(np.cumsum(np.flip(grad, 1), axis=1), 1)

    def step(self, x_t):
        self.total = x_t if self.total is None else self.total + x_t
        return self.total

    def reset_state(self):
        self.total = None


class NeverForgets(CumulativeSum):
    """Carries its sum over reset_state."""

    def reset_state(self):
        pass


class Differences(Gain):
    """y_t = (x_t - x_{t-1}) w, which has nothing to say of a single step."""

    def forward(self, x):
        y = super().forward(x)
        return y[:, 1:] - y[:, :-1]

    def backward(self, grad):
        full = np.zeros((len(grad), grad.shape[1] + 1, 3), grad.dtype)
        full[:, 1:] += grad
        full[:, :-1] -= grad
        return super().backward(full)

    def step(self, x_t):
        raise ValueError("Differences: needs two steps")


class MaskedGain(Gain):
    """With a mask; sound."""

    uses_mask = True

    def forward(self, x, mask=None):
        if mask is not None:
            if np.shape(mask) != np.shape(x)[:2]:
                raise ValueError("MaskedGain: the mask should be (batch, time)")
            x = np.where(mask[:, :, None], x, 0)
        self.mask = mask
        return super().forward(x)

    def backward(self, grad):
        if self.mask is not None:
            grad = np.where(self.mask[:, :, None], grad, grad.dtype.type(0))
        return super().backward(grad)


class LeaksGradient(MaskedGain):
    """Hands gradients to masked steps."""

    def backward(self, grad):
        return Gain.backward(self, grad)


class ChangesTheMask(MaskedGain):
    """Writes into the mask it is given."""

    def forward(self, x, mask=None):
        y = super().forward(x, mask)
        if mask is not None:
            mask[:, 0] = True
        return y


class CountsPadding(MaskedGain):
    """Divides by the share of valid steps of the batch."""

    def forward(self, x, mask=None):
        self.share = 1.0 if mask is None else float(np.mean(mask))
        return super().forward(x, mask) / self.w.value.dtype.type(self.share)

    def backward(self, grad):
        return super().backward(grad / grad.dtype.type(self.share))


class CountsTheMask(MaskedGain):
    """Gives other numbers as soon as there is a mask."""

    def forward(self, x, mask=None):
        return super().forward(x, mask) * self.w.value.dtype.type(1 if mask is None else 2)


class SharedCopies(Gain):
    """A copy is the layer itself in disguise: they share the array of the weight."""

    def __deepcopy__(self, memo):
        twin = type(self)()
        twin.w.move(self.w.value, self.w.grad)
        return twin


class HalfTheParameters(Gain):
    """Has a backward_parameters of its own, which adds half of the gradient."""

    def backward_parameters(self, grad, grad_state=None):
        self.backward(grad / 2)


class LateRefusal(Gain):
    """Adds to a gradient before it looks at the shape."""

    def backward(self, grad):
        self.w.grad += 1
        if grad.shape != self.x.shape:
            raise ValueError("LateRefusal: wrong shape")
        self.w.grad -= 1
        return super().backward(grad)


class PlainCell(Cell):
    """h' = tanh(x W + h U); sound."""

    def __init__(self):
        self.input_size, self.hidden_size = 3, 2
        self.W = Parameter(RNG.normal(size=(3, 2)).astype(np.float32))
        self.U = Parameter(RNG.normal(size=(2, 2)).astype(np.float32))

    def forward(self, x, state):
        (h,) = state
        new = np.tanh(x @ self.W.value + h @ self.U.value)
        return new, (new,), (x, h, new)

    def backward(self, grad_y, grad_state, cache):
        x, h, new = cache
        dz = (grad_y + grad_state[0]) * (1 - new**2)
        self.W.grad += x.T @ dz
        self.U.grad += h.T @ dz
        return dz @ self.W.value.T, (dz @ self.U.value.T,)


class CountsItsSteps(PlainCell):
    """Decays with the number of calls."""

    def forward(self, x, state):
        self.calls = self.__dict__.get("calls", 0) + 1
        return super().forward(x, (state[0] / self.calls,))


class KnowsItsRow(PlainCell):
    """Treats the first row of the batch in another way."""

    def forward(self, x, state):
        first = np.zeros((len(x), 1), x.dtype)
        first[0] = 1
        return super().forward(x + first, state)


class WideGate(PlainCell):
    """Says that its gate stays between 0 and 1."""

    gates = {"new": (0.0, 1.0)}  # noqa: RUF012

    def forward(self, x, state):
        from collections import namedtuple

        y, state, cache = super().forward(x, state)
        return y, state, namedtuple("Cache", "x h new")(*cache)


class Squares(Loss):
    """Mean squared error; sound."""

    def forward(self, prediction, target, mask=None):
        gap = np.asarray(prediction) - target
        if mask is not None:
            gap = np.where(mask[..., None], gap, 0)
        self.size = gap.size if mask is None else int(mask.sum()) * gap.shape[-1]
        self.gap = gap
        return float((gap**2).sum() / self.size)

    def backward(self):
        if not hasattr(self, "gap"):
            raise RuntimeError("Squares: backward before forward")
        return 2 * self.gap / self.size


class SumOfSquares(Squares):
    """A sum, where a mean is expected."""

    def forward(self, prediction, target, mask=None):
        total = super().forward(prediction, target, mask) * self.size
        self.size = 1
        return total


class OncePerForward(Squares):
    """Gives up its gradient: a second backward gives zeros."""

    def backward(self):
        grad = super().backward()
        self.gap = np.zeros_like(self.gap)
        return grad


class Gap(Metric):
    """Mean absolute error; sound."""

    name = "error"
    higher_is_better = False

    def measure(self, prediction, target, mask):
        gap = np.abs(prediction - target)
        gap = gap if mask is None else gap[mask]
        return gap.sum(), gap.size


class ReadOnce(Gap):
    """Halves its total whenever it is read."""

    @property
    def value(self):
        value = self.mean()
        self.sums = self.sums * [0.5, 1]
        return value


class SharedList(Gap):
    """Collects in a list of the class, which all of them share."""

    seen_gaps: list = []  # noqa: RUF012 - the mistake

    def reset(self):
        self.seen_gaps.clear()

    def update(self, prediction, target, mask=None):
        gap = np.abs(prediction - target)
        self.seen_gaps.extend((gap if mask is None else gap[mask]).ravel().tolist())

    @property
    def value(self):
        if not self.seen_gaps:
            raise RuntimeError("SharedList: nothing yet")
        return float(np.mean(self.seen_gaps))


class HalvesGradients(Optimizer):
    """Works in the gradient's memory."""

    def update(self, value, grad, learning_rate, slots):
        grad *= learning_rate
        value -= grad


class KeepsOnSelf(Optimizer):
    """Momentum in an attribute, which no file carries."""

    def update(self, value, grad, learning_rate, slots):
        old = getattr(self, "momentum", np.zeros_like(grad))
        self.momentum = 0.9 * old + grad
        value -= learning_rate * self.momentum


class IgnoresTheRate(Optimizer):
    """A rate of its own."""

    def update(self, value, grad, learning_rate, slots):
        value -= 0.01 * grad


class StartsOver(Callback):
    """Halves the rate at the beginning, also of a resumed run."""

    def on_train_begin(self, trainer):
        trainer.optimizer.learning_rate *= 0.5


class CountsEpochs(Callback):
    """Counts without saving its count, and acts on it."""

    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, trainer):
        self.epochs += 1
        if self.epochs == 3:
            trainer.optimizer.learning_rate *= 0.1


SOUND = [
    (Gain, (ROWS,)), (CumulativeSum, (SEQUENCES,)), (MaskedGain, (SEQUENCES,)),
    (PlainCell, (ROWS,)), (Squares, (PREDICTION, TARGET)), (Gap, (PREDICTION, TARGET)),
]  # fmt: skip

PLANTED = [
    # what, on what, in which check, what is said
    (OneGradientForAll, (ROWS,), "later calls", "the gradient on the input of a call is changed"),
    (CacheOnTheClass, (ROWS,), "copies", "not on the class"),
    (NeverZero, (ROWS,), "gradients add", "zero_grad leaves gradients"),
    (TakesAnyState, (ROWS,), "state_dict", "a missing name"),
    (SqueezesOne, (ROWS,), "gradients", "a batch of one"),
    (RunningMean, (ROWS,), "train and eval", "two calls on the same numbers differ"),
    (Contiguous, (ROWS,), "arrays", "not contiguous"),
    (KeepsTraining, (ROWS,), "train and eval", "does not reach inner"),
    (NeverForgets, (SEQUENCES,), "steps", "reset_state"),
    (Differences, (SEQUENCES,), "gradients", "a single step: Differences.forward: output"),
    (LeaksGradient, (SEQUENCES,), "padding", "a gradient that is not zero"),
    (ChangesTheMask, (SEQUENCES,), "gradients", "mask: looks like an array changed in place"),
    (CountsPadding, (SEQUENCES,), "padding", "in a padded batch than alone"),
    (CountsTheMask, (SEQUENCES,), "padding", "True everywhere gives other results"),
    (SharedCopies, (ROWS,), "copies", "not a layer of its own"),
    (HalfTheParameters, (ROWS,), "gradients add", "backward_parameters adds other gradients"),
    (LateRefusal, (ROWS,), "refused calls", "changed by then"),
    (CountsItsSteps, (ROWS,), "stateless", "belongs in the state"),
    (KnowsItsRow, (ROWS,), "rows", "gives other numbers alone"),
    (WideGate, (ROWS,), "gates", "leaves its bounds 0 to 1"),
    (SumOfSquares, (PREDICTION, TARGET), "number", "not their sum"),
    (OncePerForward, (PREDICTION, TARGET), "order of calls", "second backward"),
    (ReadOnce, (PREDICTION, TARGET), "attributes", "read again"),
    (SharedList, (PREDICTION, TARGET), "reset", "share"),
    (HalvesGradients, (), "updates", "new = grad * ..."),
    (KeepsOnSelf, (), "resume", "not on self"),
    (IgnoresTheRate, (), "schedule", "use the rate"),
    (StartsOver, (), "training", "other weights"),
    (CountsEpochs, (), "training", "remembers epochs"),
]  # fmt: skip
