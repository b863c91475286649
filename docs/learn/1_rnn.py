r"""
A recurrent network, one step at a time
=======================================

A recurrent network reads a sequence :math:`x_1, x_2, \dots` and keeps a *state* :math:`h`, a vector
that sums up what it has read so far. At each step the same function makes the next state from the
input and the state before:

.. math::

   z_t &= x_t W_x + h_{t-1} W_h + b \\
   h_t &= \tanh(z_t)

:math:`W_x` is ``(input, hidden)``, :math:`W_h` is ``(hidden, hidden)`` and :math:`b` is
``(hidden,)``. A row of :math:`x_t` is one example of the batch.
"""

# %%
# The library's own lines
# -----------------------
# In minirnn one time step is a *cell*. This is the forward method of the simplest one:

import inspect

import matplotlib.pyplot as plt
import numpy as np

from minirnn import RNN, Recurrent, RNNCell

print(inspect.getsource(RNNCell.forward))

# %%
# It returns three things: the output of the step, the next state (a tuple, here of one array), and a
# *cache* of what the way back will need. The cell itself remembers nothing between calls.

rng = np.random.default_rng(0)
cell = RNNCell(input_size=3, hidden_size=4, rng=rng, dtype=np.float64)
x_t = rng.standard_normal((2, 3))  # a batch of two
(h,) = cell.initial_state(batch_size=2)  # zeros
y_t, (h_next,), cache = cell.forward(x_t, (h,))
print(h_next)

# %%
# The same by hand:

z = x_t @ cell.Wx.value + h @ cell.Wh.value + cell.b.value
assert np.allclose(h_next, np.tanh(z), rtol=0, atol=1e-15)

# %%
# Over time
# ---------
# `Recurrent` runs a cell over a whole sequence. Its heart is the loop that you would write:

x = rng.standard_normal((2, 6, 3))  # (batch, time, features)
state = cell.initial_state(2)
outputs = []
for t in range(6):
    y_t, state, _ = cell.forward(x[:, t], state)
    outputs.append(y_t)
by_hand = np.stack(outputs, axis=1)

layer = Recurrent(cell)
y = layer.forward(x)
print("largest difference:", np.abs(y - by_hand).max())
assert np.allclose(y, by_hand, rtol=0, atol=1e-14)

# %%
# ``RNN(3, 4)`` is short for ``Recurrent(RNNCell(3, 4))``.
#
# What the state remembers
# ------------------------
# Feed one pulse at the first step and nothing after it. What is left of it in the state shows how
# long this network, untrained, remembers.

layer = RNN(1, 8, rng=3, dtype=np.float64)
pulse = np.zeros((1, 30, 1))
pulse[0, 0, 0] = 1.0
h = layer.forward(pulse)[0]

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(h)
axes.set(xlabel="time step", ylabel="state, eight units", title="The echo of one pulse")
axes.axhline(0, color="gray", linewidth=0.5)
plt.show()

# %%
# The recurrent weights begin orthogonal: they turn the state without making it longer or shorter. The
# :math:`\tanh` makes it a little shorter at each step, so that the echo fades.
