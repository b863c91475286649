"""A recurrent cell of your own: the minimal gated unit, checked and put to work.

A cell is one time step: `forward` from the input and the state to the next state, `backward` the
same way back. This one (Zhou, Wu, Zhang and Zhou, "Minimal gated unit for recurrent neural
networks", 2016, arXiv:1603.09420) is a GRU with a single gate, so two thirds of its parameters.
Nothing more has to be written: `Recurrent` runs it over time, under a mask, in reverse and in
chunks, and `check_gradients` compares every gradient with central differences. The script shows
each of these, then trains the cell beside the built-in ones on the temporal order task: two of the
symbols in a string of 30 to 35 are X or Y; which is the first, and which the second? The gated
cells learn that every time, the plain RNN only from some seeds.

    python examples/custom_cell.py             # 10 to 20 seconds
    python examples/custom_cell.py --quick     # a taste, in a second or two
"""

from __future__ import annotations

import sys

import _pictures as pictures
import numpy as np
from _script import counting, parser_for, verdict

from minirnn import (
    Accuracy,
    Adam,
    Cell,
    Dense,
    GRUCell,
    LastStep,
    Parameter,
    Recurrent,
    RNNCell,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    check_gradients,
)
from minirnn.tasks import temporal_order

UNITS, BATCH, EVERY = 32, 50, 20
# Accuracy of a run in PyTorch after 200 updates on the same task.
PYTORCH = {"GRU": "100 %", "RNN": "26 %"}


def sigmoid(x):
    return 0.5 + 0.5 * np.tanh(0.5 * x)  # equal to 1 / (1 + exp(-x)), and never overflows


class MinimalGatedCell(Cell):
    """A GRU with one gate f, which chooses what the candidate n sees of h, and lets n in.

    f  = sigmoid(x Wf + h Uf + bf)
    n  = tanh(x Wn + (f * h) Un + bn)
    h' = (1 - f) * h + f * n
    """

    def __init__(self, input_size, hidden_size, *, rng=None):
        self.input_size, self.hidden_size = input_size, hidden_size
        rng = np.random.default_rng(rng)

        def draw(rows):
            scaled = rng.standard_normal((rows, hidden_size)) / np.sqrt(rows)
            return Parameter(scaled.astype(np.float32))

        self.Wf, self.Uf = draw(input_size), draw(hidden_size)
        self.Wn, self.Un = draw(input_size), draw(hidden_size)
        self.bf = Parameter(np.zeros(hidden_size, np.float32), decay=False)
        self.bn = Parameter(np.zeros(hidden_size, np.float32), decay=False)

    def forward(self, x, state):
        """Return the output, the next state, and what backward needs."""
        (h,) = state
        f = sigmoid(x @ self.Wf.value + h @ self.Uf.value + self.bf.value)
        n = np.tanh(x @ self.Wn.value + (f * h) @ self.Un.value + self.bn.value)
        h_next = (1 - f) * h + f * n
        return h_next, (h_next,), (x, h, f, n)

    def backward(self, grad_y, grad_state, cache):
        """Return the gradients on x and on the state; add to those on the parameters."""
        x, h, f, n = cache
        dh = grad_y + grad_state[0]  # the next state is also the output
        dn = dh * f * (1 - n**2)  # from here on, dn and df belong to what is inside tanh, sigmoid
        d_seen = dn @ self.Un.value.T  # seen = f * h
        df = (dh * (n - h) + d_seen * h) * f * (1 - f)
        self.Wf.grad += x.T @ df
        self.Uf.grad += h.T @ df
        self.bf.grad += df.sum(axis=0)
        self.Wn.grad += x.T @ dn
        self.Un.grad += (f * h).T @ dn
        self.bn.grad += dn.sum(axis=0)
        grad_x = df @ self.Wf.value.T + dn @ self.Wn.value.T
        grad_h = dh * (1 - f) + d_seen * f + df @ self.Uf.value.T
        return grad_x, (grad_h,)


def check(rng):
    """Show what the cell can do as it stands; return the largest error of all."""
    cell = MinimalGatedCell(3, 4, rng=rng)
    x = rng.standard_normal((2, 6, 3))  # batch, time, features
    mask = np.array([[True] * 6, [True] * 4 + [False] * 2])
    report = check_gradients(Recurrent(cell), x, mask=mask)  # raises if a gradient is wrong
    print(report)

    y = Recurrent(cell).forward(x)
    backwards = Recurrent(cell, reverse=True).forward(x[:, ::-1])[:, ::-1]
    stateful = Recurrent(cell, stateful=True)
    chunks = np.concatenate([stateful.forward(x[:, :2]), stateful.forward(x[:, 2:])], axis=1)
    short = Recurrent(cell).forward(x[1:, :4])
    masked = Recurrent(cell).forward(x, mask)[1:, :4]
    stream = Recurrent(cell)
    steps = np.stack([stream.step(x[:, t]) for t in range(6)], axis=1)
    errors = {
        "reverse=True on reversed input": np.abs(backwards - y).max(),
        "stateful=True, in two chunks": np.abs(chunks - y).max(),
        "a masked sequence, beside it alone": np.abs(masked - short).max(),
        "step by step": np.abs(steps - y).max(),
    }
    print("\nlargest difference, which should be 0 but for rounding")
    for name, error in errors.items():
        print(f"  {name:<36}{error:.1e}")
    return max(map(float, errors.values()))


def train(name, cell, updates, test, rng):
    """Train on fresh strings; return [(updates so far, accuracy on the test strings)]."""
    model = Sequential([Recurrent(cell), LastStep(), Dense(UNITS, 4, rng=rng)])
    optimizer = Adam(model.parameters(), learning_rate=5e-3, clip_norm=1.0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()])
    curve = []
    for update in counting(updates, name):
        batch = temporal_order(BATCH, rng=rng)
        trainer.train_step(batch.inputs, batch.targets, batch.mask)
        if update % EVERY == 0:
            score = trainer.evaluate(test.inputs, test.targets, mask=test.mask, batch_size=500)
            curve.append((update, score["accuracy"]))
    return np.array(curve)


def percent(curve, after):
    """Return the accuracy after so many updates, as text."""
    reached = curve[curve[:, 0] == after, 1]
    return f"{100 * reached[0]:.1f} %" if len(reached) else "-"


def main(argv=None) -> int:
    options = parser_for(__doc__, quick="40 updates").parse_args(argv)
    rng = np.random.default_rng(options.seed)
    checked = check(rng) < 1e-6

    test = temporal_order(500, rng=rng)
    cells = {"minimal gated unit": MinimalGatedCell, "GRU": GRUCell, "RNN": RNNCell}
    cells = {name: kind(8, UNITS, rng=rng) for name, kind in cells.items()}
    updates = 40 if options.quick else 500
    curves = {name: train(name, cell, updates, test, rng) for name, cell in cells.items()}

    print(f"\n{'temporal order':<22}{'parameters':>10}{'after 200':>12}", end="")
    print(f"{f'after {updates}':>12}{'PyTorch after 200':>20}")
    print(f"  {'guessing':<20}{'':>10}{'25.0 %':>12}{'25.0 %':>12}{'25 %':>20}")
    for name, curve in curves.items():
        early, late = (percent(curve, after) for after in (200, updates))
        count, published = cells[name].parameter_count, PYTORCH.get(name, "-")
        print(f"  {name:<20}{count:>10,}{early:>12}{late:>12}{published:>20}")
    pictures.save(pictures.custom_cell, curves)
    reached = curves["minimal gated unit"][-1, 1] >= 0.99
    return verdict(options.quick and checked, checked and reached, "the cell answers 99 % or more")


if __name__ == "__main__":
    sys.exit(main())
