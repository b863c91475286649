r"""
Attention
=========

A decoder that has to write a sentence from one state vector has to remember everything in it.
Attention (Bahdanau, Cho and Bengio 2015; Luong, Pham and Manning 2015) lets it look back: for each
step of the output, a weighted mean of all states of the encoder, with weights that depend on what the
decoder is about to write.

.. math::

   e_{ts} &= \operatorname{score}(q_t, k_s) \\
   a_{ts} &= \frac{\exp e_{ts}}{\sum_{s'} \exp e_{ts'}} \\
   \text{context}_t &= \sum_s a_{ts} k_s

with one of three scores: :math:`q \cdot k` (dot), :math:`q W k^\top` (general) or
:math:`v^\top \tanh(q W_q + k W_k)` (additive). What is padding in the source gets the weight 0.
"""

# %%
# The layer
# ---------

import matplotlib.pyplot as plt
import numpy as np

from minirnn import Attention, check_gradients

rng = np.random.default_rng(0)
attention = Attention(4, 4, score="dot", dtype=np.float64)
query, key = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 5, 4))
context = attention.forward(query, key)
print(context.shape, attention.weights.shape)

# %%
# By hand:

scores = query @ key.transpose(0, 2, 1)
weights = np.exp(scores - scores.max(axis=2, keepdims=True))
weights /= weights.sum(axis=2, keepdims=True)
assert np.allclose(attention.weights, weights, rtol=0, atol=1e-14)
assert np.allclose(context, weights @ key, rtol=0, atol=1e-14)

# %%
# The gradients of all three scores, on both inputs:

for score in ("dot", "general", "additive"):
    layer = Attention(4, 4, score=score, rng=1, dtype=np.float64)
    assert check_gradients(layer, query, key).passed

# %%
# A memory that is looked up
# --------------------------
# Keys far apart from one another make attention a look-up: the query that resembles the third key
# gets the third row.

keys = 6 * np.eye(6)[None]
queries = keys[:, [2, 0, 5, 5, 1]] + 0.4 * rng.standard_normal((1, 5, 6))
lookup = Attention(6, 6, score="dot", dtype=np.float64)
lookup.forward(queries, keys)

figure, axes = plt.subplots(figsize=(4.5, 3.5), layout="constrained")
image = axes.imshow(lookup.weights[0], cmap="viridis", vmin=0, vmax=1)
axes.set(xlabel="key", ylabel="query", title="Weights")
figure.colorbar(image)
plt.show()

# %%
# :doc:`Sequence to sequence </sequence-to-sequence>` puts it between an encoder and a decoder.
