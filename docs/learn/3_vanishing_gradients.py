r"""
Vanishing and exploding gradients
=================================

On its way from step :math:`T` back to step :math:`t` the gradient is multiplied by one Jacobian for
each step:

.. math::

   \frac{\partial L}{\partial h_t} = \frac{\partial L}{\partial h_T}
   \prod_{k=t+1}^{T} \operatorname{diag}(1 - h_k^2)\, W_h^\top

If these shrink vectors, the product goes to zero exponentially, and nothing is learned from what
happened long ago. If they stretch vectors, it explodes. Hochreiter found this in 1991; Bengio,
Simard and Frasconi described it in 1994, Pascanu, Mikolov and Bengio in 2013.
"""

# %%
# The factor is in the recurrent weights
# --------------------------------------
# Take an orthogonal :math:`W_h`, which keeps lengths, and scale it.

import matplotlib.pyplot as plt
import numpy as np

from minirnn import LSTM, RNN, Adam, Dense, LastStep, Sequential, SoftmaxCrossEntropy, Trainer

rng = np.random.default_rng(0)
x = 0.1 * rng.standard_normal((32, 60, 2))
steps = np.arange(60)


def gradient_norms(layer):
    """Return the norm of the gradient on the input at each step, for a loss at the last step."""
    layer.forward(x)
    grad = np.zeros((32, 60, 24))
    grad[:, -1] = 1.0
    return np.linalg.norm(layer.backward(grad), axis=(0, 2))


figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for scale in (0.8, 0.95, 1.0, 1.1):
    layer = RNN(2, 24, rng=1, dtype=np.float64)
    layer.cell.Wh.value *= scale
    norms = gradient_norms(layer)
    axes.semilogy(steps, norms / norms[-1], label=f"RNN, weights times {scale}")
lstm = LSTM(2, 24, forget_bias=4.0, rng=1, dtype=np.float64)
norms = gradient_norms(lstm)
axes.semilogy(steps, norms / norms[-1], "k--", label="LSTM, forget bias 4")
axes.set(xlabel="time step of the input", ylabel="gradient, of that at the end")
axes.legend()
plt.show()

# %%
# A factor of 0.8 a step leaves :math:`0.8^{59}`, about two millionths. The LSTM, whose memory is
# carried on by a sum and not by a product with a matrix, keeps most of it.
#
# What it means for learning
# --------------------------
# The sign of the first of forty numbers is the answer; the others are noise.

rng = np.random.default_rng(1)
inputs = rng.standard_normal((600, 40, 1))
answers = (inputs[:, 0, 0] > 0).astype(int)


def accuracy(layer):
    """Train for a few epochs and return the accuracy on sequences not trained on."""
    model = Sequential([layer, LastStep(), Dense(24, 2, rng=3)])
    optimizer = Adam(model.parameters(), 0.01, clip_norm=1.0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, rng=4)
    trainer.fit(inputs[:500], answers[:500], epochs=12, batch_size=25, progress=False)
    return (model.predict(inputs[500:]).argmax(axis=1) == answers[500:]).mean()


forgetful = RNN(1, 24, rng=2)
forgetful.cell.Wh.value *= 0.8
print(f"RNN, weights times 0.8:  {accuracy(forgetful):.2f}")
print(f"LSTM, forget bias 4:     {accuracy(LSTM(1, 24, forget_bias=4.0, rng=2)):.2f}")

# %%
# Guessing gives 0.5.
#
# Exploding is the smaller trouble: clip the norm of the whole gradient, as ``clip_norm=1.0`` does
# above. The direction stays, the step becomes bounded. Vanishing needs another cell:
# :doc:`the LSTM </learn_built/4_lstm>`.
