r"""
The GRU
=======

The gated recurrent unit (Cho et al. 2014) does with one state and two gates what the LSTM does with
two states and three gates. The update gate :math:`z` is both: what is kept is what is not written.

.. math::

   r &= \sigma(x W_{xr} + h W_{hr} + b_r) && \text{reset gate} \\
   z &= \sigma(x W_{xz} + h W_{hz} + b_z) && \text{update gate} \\
   n &= \tanh(x W_{xn} + b_n + r \odot (h W_{hn} + b'_n)) && \text{candidate} \\
   h' &= (1 - z) \odot n + z \odot h

There are two variants. In the first paper the reset gate is applied to the state *before* the
product, :math:`(r \odot h) W_{hn}`. cuDNN, PyTorch and Keras apply it *after*, as written above,
since then all products of a step are one. minirnn has both; ``reset_after=True`` is the default.
"""

# %%
# The library's own lines
# -----------------------

import inspect

import matplotlib.pyplot as plt
import numpy as np

from minirnn import GRU, LSTM, RNN, GRUCell, check_gradients

print(inspect.getsource(GRUCell.forward))

# %%
# Both variants, checked:

rng = np.random.default_rng(0)
x = rng.standard_normal((2, 5, 3))
for reset_after in (True, False):
    layer = GRU(3, 4, reset_after=reset_after, rng=0, dtype=np.float64)
    for parameter in layer.parameters():
        parameter.value = 0.5 * rng.standard_normal(parameter.shape)
    report = check_gradients(layer, x)
    assert report.passed

# %%
# The state is a moving average
# -----------------------------
# With :math:`z` constant, :math:`h' = (1 - z) n + z h` is an exponential moving average of the
# candidates: :math:`z = 0.9` looks back about ten steps. The network learns, for each unit and each
# moment, how far to look.

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
signal = np.sign(np.sin(np.arange(120) / 12)) + 0.3 * rng.standard_normal(120)
axes.plot(np.tanh(signal), color="gray", linewidth=0.6, label="candidate")
for keep in (0.5, 0.9, 0.97):
    unit = GRU(1, 1, dtype=np.float64)
    for parameter in unit.parameters():
        parameter.value = np.zeros(parameter.shape)
    unit.cell.Wx.value = np.array([[0.0, 0.0, 1.0]])
    unit.cell.b.value = np.array([0.0, np.log(keep / (1 - keep)), 0.0])
    axes.plot(unit.forward(signal[None, :, None])[0, :, 0], label=f"z = {keep}")
axes.set(xlabel="time step")
axes.legend(ncols=4, loc="lower left", fontsize="small")
plt.show()

# %%
# How many numbers?
# -----------------

for kind in (RNN, GRU, LSTM):
    print(f"{kind.__name__:<5}{kind(64, 128).parameter_count:>8,} parameters")

# %%
# Three times those of the plain network, and ``bn``; the LSTM has four times.
