r"""
The LSTM
========

Long short-term memory (Hochreiter and Schmidhuber 1997; the forget gate is by Gers, Schmidhuber and
Cummins 2000) has a second state beside :math:`h`: the memory :math:`c`. It is carried from step to
step by a sum, and three gates between 0 and 1 decide what is written, kept and shown.

.. math::

   i &= \sigma(x W_{xi} + h W_{hi} + b_i) && \text{how much of the candidate is written} \\
   f &= \sigma(x W_{xf} + h W_{hf} + b_f) && \text{how much of the memory is kept} \\
   o &= \sigma(x W_{xo} + h W_{ho} + b_o) && \text{how much of the memory is shown} \\
   g &= \tanh(x W_{xg} + h W_{hg} + b_g) && \text{the candidate} \\
   c' &= f \odot c + i \odot g \\
   h' &= o \odot \tanh(c')
"""

# %%
# The library's own lines
# -----------------------
# The four products are one: the weights of the gates stand side by side, in the order i, f, o, g.

import inspect

import matplotlib.pyplot as plt
import numpy as np

from minirnn import LSTM, LSTMCell, check_gradients

print(inspect.getsource(LSTMCell.forward))

# %%
# and back:

print(inspect.getsource(LSTMCell.backward))

# %%
# Line by line: the memory :math:`c'` gets a gradient from the later steps and one through the output.
#
# .. math::
#
#    \mathrm{d}c &= \mathrm{d}c' + \mathrm{d}h' \odot o \odot (1 - \tanh^2 c') \\
#    \mathrm{d}z_i &= \mathrm{d}c \odot g \odot i (1 - i) \qquad
#    \mathrm{d}z_f = \mathrm{d}c \odot c \odot f (1 - f) \\
#    \mathrm{d}z_o &= \mathrm{d}h' \odot \tanh c' \odot o (1 - o) \qquad
#    \mathrm{d}z_g = \mathrm{d}c \odot i \odot (1 - g^2)
#
# The gradient on the memory before is :math:`\mathrm{d}c \odot f`: no matrix, no derivative of a
# squashing function. With :math:`f` near 1 it comes back whole, however many steps there are.

cell = LSTMCell(3, 4, rng=0, dtype=np.float64)
rng = np.random.default_rng(0)
print(check_gradients(LSTM(3, 4, rng=0), rng.standard_normal((2, 5, 3))))

# %%
# By hand
# -------

x_t = rng.standard_normal((2, 3))
h, c = rng.standard_normal((2, 2, 4))


def sigmoid(z):
    """Return the logistic function."""
    return 1 / (1 + np.exp(-z))


z_i, z_f, z_o, z_g = np.split(x_t @ cell.Wx.value + h @ cell.Wh.value + cell.b.value, 4, axis=1)
c_next = sigmoid(z_f) * c + sigmoid(z_i) * np.tanh(z_g)
h_next = sigmoid(z_o) * np.tanh(c_next)
_, state, _ = cell.forward(x_t, (h, c))
assert np.allclose(state[0], h_next, rtol=0, atol=1e-14)
assert np.allclose(state[1], c_next, rtol=0, atol=1e-14)

# %%
# A memory that counts
# --------------------
# Set the weights by hand: write the input into the memory (i and g open, f open), show it. The memory
# becomes a running sum; an RNN's state, bounded by :math:`\tanh`, cannot do this.

counter = LSTM(1, 1, dtype=np.float64)
counter.cell.Wx.value = np.array([[0.0, 0.0, 0.0, 0.01]])  # only the candidate sees the input
counter.cell.Wh.value = np.zeros((1, 4))
counter.cell.b.value = np.array([10.0, 10.0, 10.0, 0.0])  # all three gates open
ones = (rng.random((1, 100, 1)) < 0.3).astype(float)
memory = []
counter.reset_state()
for t in range(100):
    counter.step(ones[:, t])
    memory.append(counter.state[1][0, 0] / 0.01)

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.step(
    np.arange(100), np.cumsum(ones[0, :, 0]), "k", linewidth=3, alpha=0.2, label="how many so far"
)
axes.plot(memory, label="memory c, scaled")
axes.set(xlabel="time step", title="One LSTM unit counts")
axes.legend()
plt.show()
