"""Stacked and bidirectional networks, against their formulas written out.

`Rnn` is the small class that many introductions end with: tanh layers on top of one another,
without bias, fed with ``[seq, batch, features]``. Here it is a `Sequential` of `RNN` layers, and
its `bidirectional` flag, which it leaves for later, is a `Bidirectional` around two of
them. The script runs the formulas as plain loops on the same weights,

    h_t = tanh(Wx^T x_t + Wh^T h_{t-1})        columns are examples, layer by layer

and prints the largest difference, in float64. There is nothing to train.

    python examples/stacked.py                 # a second
    python examples/stacked.py --quick         # smaller sizes
"""

from __future__ import annotations

import sys

import numpy as np
from _script import parser_for

from minirnn import RNN, Bidirectional, Sequential


class Rnn:
    """A stack of tanh layers; with `bidirectional`, one for each direction in every place.

    `model` is the `Sequential` inside, to be trained like any other.
    """

    def __init__(self, input_size, hidden_size, num_layers, bidirectional=False, *, rng=None):
        rng = np.random.default_rng(rng)

        def layer(size):
            return RNN(size, hidden_size, rng=rng, dtype=np.float64)  # its bias begins at zero

        sizes = [input_size] + [hidden_size * (1 + bidirectional)] * (num_layers - 1)
        self.model = Sequential(
            [Bidirectional(layer(s), layer(s)) if bidirectional else layer(s) for s in sizes]
        )

    def feed(self, x):
        """Run the stack over x [seq, batch, features].

        Returns the top layer's outputs [seq, hidden, batch], and the last state [hidden, batch] of
        each layer, from the lowest to the top one. A bidirectional layer has twice the outputs, and
        two last states: that of the forward direction, then that of the backward one, which ends at
        the first step.
        """
        y = self.model.forward(np.transpose(x, (1, 0, 2)))
        last_states = [state.T for layer in self.model for state in layer.state]
        return y.transpose(1, 2, 0), last_states


def plain_layer(cell, columns):
    """Run one tanh layer as its formula says; columns is a list of [features, batch]."""
    h, outputs = np.zeros((cell.hidden_size, columns[0].shape[1])), []
    for column in columns:
        h = np.tanh(cell.Wx.value.T @ column + cell.Wh.value.T @ h)
        outputs.append(h)
    return outputs


def plain_feed(net, x):
    """Do what `Rnn.feed` does, in plain loops over layers and steps."""
    columns, last_states = [step.T for step in x], []
    for layer in net.model:
        if isinstance(layer, Bidirectional):
            ahead = plain_layer(layer.forward_layer.cell, columns)
            back = plain_layer(layer.backward_layer.cell, columns[::-1])
            last_states += [ahead[-1], back[-1]]
            columns = [np.concatenate(both) for both in zip(ahead, back[::-1], strict=True)]
        else:
            columns = plain_layer(layer.cell, columns)
            last_states.append(columns[-1])
    return np.array(columns), last_states


def main(argv=None) -> int:
    options = parser_for(__doc__, quick="smaller sizes").parse_args(argv)
    rng = np.random.default_rng(options.seed)
    seq, batch, features, hidden = (7, 3, 4, 5) if options.quick else (100, 32, 40, 64)
    x = rng.standard_normal((seq, batch, features))

    print(f"input [seq, batch, features] = {list(x.shape)}\n")
    worst = 0.0
    for bidirectional in (False, True):
        for num_layers in (1, 2, 3):
            net = Rnn(features, hidden, num_layers, bidirectional, rng=rng)
            outputs, states = net.feed(x)
            plain_outputs, plain_states = plain_feed(net, x)
            pairs = [(outputs, plain_outputs), *zip(states, plain_states, strict=True)]
            difference = max(float(np.abs(ours - plain).max()) for ours, plain in pairs)
            worst = max(worst, difference)
            kind = "bidirectional" if bidirectional else "one direction"
            print(f"{num_layers} layers, {kind}: outputs {list(outputs.shape)}, ", end="")
            print(f"{len(states)} last states {list(states[0].shape)}, difference {difference:.1e}")
    print(f"\nlargest difference from the formulas: {worst:.1e}")
    return 0 if worst < 1e-12 else 1


if __name__ == "__main__":
    sys.exit(main())
