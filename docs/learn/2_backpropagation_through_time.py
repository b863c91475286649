r"""
Backpropagation through time
============================

How does the loss change with a weight that was used at every step? Write the network out over time:
the same cell, once for each step, each handing its state to the next. That is an ordinary deep
network whose layers share their weights, and the chain rule goes through it from the last step to
the first.

The loss depends on the state :math:`h_t` in two ways: through the output at step :math:`t`, and
through everything that comes later. So

.. math::

   \frac{\partial L}{\partial h_t}
   = \underbrace{\frac{\partial L}{\partial y_t}}_{\text{the step's own output}}
   + \underbrace{\frac{\partial L}{\partial z_{t+1}} W_h^\top}_{\text{handed back by step } t+1}

and for the simple network, with :math:`h_t = \tanh(z_t)`,

.. math::

   \frac{\partial L}{\partial z_t} &= \frac{\partial L}{\partial h_t} \odot (1 - h_t^2) \\
   \frac{\partial L}{\partial W_x} &= \sum_t x_t^\top \frac{\partial L}{\partial z_t} \qquad
   \frac{\partial L}{\partial W_h} = \sum_t h_{t-1}^\top \frac{\partial L}{\partial z_t} \qquad
   \frac{\partial L}{\partial b} = \sum_t \frac{\partial L}{\partial z_t}
"""

# %%
# One step back, in the library
# -----------------------------

import inspect

import matplotlib.pyplot as plt
import numpy as np

from minirnn import RNN, MeanSquaredError, RNNCell, check_gradients

print(inspect.getsource(RNNCell.backward))

# %%
# It is given the gradient on the step's output and that on the state it handed on; it returns the
# gradients on its input and on the state it was given. To the weights' gradients it *adds*: that is
# the sum over the steps.
#
# All steps back, by hand
# -----------------------

rng = np.random.default_rng(0)
layer = RNN(2, 3, rng=rng, dtype=np.float64)
x, target = rng.standard_normal((4, 5, 2)), rng.standard_normal((4, 5, 3))

h = layer.forward(x)
loss = MeanSquaredError()
print("loss:", loss.forward(h, target))
grad_y = loss.backward()

Wx, Wh = layer.cell.Wx.value, layer.cell.Wh.value
dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(3)
from_later = np.zeros((4, 3))
for t in reversed(range(5)):
    dh = grad_y[:, t] + from_later
    dz = dh * (1 - h[:, t] ** 2)
    before = h[:, t - 1] if t > 0 else np.zeros((4, 3))
    dWx += x[:, t].T @ dz
    dWh += before.T @ dz
    db += dz.sum(axis=0)
    from_later = dz @ Wh.T

# %%
# and by the layer:

layer.zero_grad()
grad_x = layer.backward(grad_y)
for name, mine in [("Wx", dWx), ("Wh", dWh), ("b", db)]:
    theirs = dict(layer.cell.named_parameters())[name].grad
    print(f"{name}: largest difference {np.abs(mine - theirs).max():.1e}")
    assert np.allclose(mine, theirs, rtol=1e-12, atol=1e-15)

# %%
# Do not believe it: check it
# ---------------------------
# A derivative is the limit of a difference. Move one number by a little in both directions, see how
# the result moves, and compare. `check_gradients` does this for every input and every parameter.

print(check_gradients(layer, x))

# %%
# Where the gradient comes from
# -----------------------------
# Let only the last step have a loss. The gradient on each earlier state is what came back through the
# steps between.

long = RNN(2, 32, rng=1, dtype=np.float64)
x = rng.standard_normal((16, 40, 2))
long.forward(x)
last_only = np.zeros((16, 40, 32))
last_only[:, -1] = rng.standard_normal((16, 32))
norms = []
grad = last_only[:, -1]
h = long.forward(x)
for t in reversed(range(40)):
    norms.append(np.linalg.norm(grad))
    grad = (grad * (1 - h[:, t] ** 2)) @ long.cell.Wh.value.T

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.semilogy(np.arange(40)[::-1], np.array(norms) / norms[0])
axes.set(
    xlabel="time step", ylabel="norm, of that at the end", title="The gradient on its way back"
)
plt.show()

# %%
# It shrinks by about the same factor at each step. :doc:`The next lesson </learn_built/3_vanishing_gradients>`
# is about that factor. To go through the arithmetic number by number, see
# :doc:`backpropagation in the browser </alive-bptt>`.
