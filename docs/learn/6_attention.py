r"""
Attention
=========

A decoder that begins with one state vector has to remember in it everything that it is going to
write. Attention (Bahdanau, Cho and Bengio 2015; Luong, Pham and Manning 2015) lets it look back: for
each step of the output it takes a weighted mean of all states of the encoder, and the weights depend
on what it is about to write.

A query :math:`q_t` meets the keys :math:`k_s`, one for each step of the source:

.. math::

   e_{ts} &= q_t \cdot k_s && \text{score: dot} \\
          &= q_t W \cdot k_s && \text{general} \\
          &= v \cdot \tanh(q_t W_q + k_s W_k) && \text{additive} \\
   w_{ts} &= \exp e_{ts} \Big/ \textstyle\sum_{s'} \exp e_{ts'} && \text{weights: a softmax} \\
   y_t &= \textstyle\sum_s w_{ts} k_s && \text{the context}

The dot product needs no parameters, but queries and keys of one size; the general score is a dot
product after a change of basis; the additive one is a small network.
"""

# %%
# The library's own lines
# -----------------------
# The three scores, as they stand in :class:`minirnn.Attention`:

import inspect

import matplotlib.pyplot as plt
import numpy as np

from minirnn import (
    GRU,
    Adam,
    Attention,
    Dense,
    Embedding,
    EncoderDecoder,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    check_gradients,
)
from minirnn.insight import plot_attention

print(inspect.getsource(Attention._scores))

# %%
# Two sequences of three queries and five keys, of four features each. What comes out has a context
# for each query, and a weight for each query and each key:

rng = np.random.default_rng(0)
query, keys = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 5, 4))
attention = Attention(4, 4, score="general", rng=1, dtype=np.float64)
context = attention.forward(query, keys)
print(context.shape, attention.weights.shape)

# %%
# Written out in three lines:

scores = np.einsum("bti,ij,bsj->bts", query, attention.W.value, keys)
weights = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
assert np.allclose(attention.weights, weights, rtol=0, atol=1e-14)
assert np.allclose(context, np.einsum("bts,bsj->btj", weights, keys), rtol=0, atol=1e-14)

# %%
# Backwards
# ---------
# The context is linear in the weights, and the softmax has the Jacobian that it always has:
#
# .. math::
#
#    dw_{ts} &= dy_t \cdot k_s \\
#    de_{ts} &= w_{ts} \Big( dw_{ts} - \textstyle\sum_{s'} w_{ts'} \, dw_{ts'} \Big)
#
# From there it goes through the score to the queries and, a second time, to the keys, which were
# used twice: to be compared with, and to be averaged. For the general score:
#
# .. math::
#
#    dq_t &= \textstyle\sum_s de_{ts} \, W k_s \\
#    dk_s &= \textstyle\sum_t de_{ts} \, W^\top q_t + \sum_t w_{ts} \, dy_t \\
#    dW &= \textstyle\sum_{ts} de_{ts} \, q_t^\top k_s

dy = rng.standard_normal(context.shape)
dq, dk = attention.backward(dy)

W = attention.W.value
dw = np.einsum("btj,bsj->bts", dy, keys)
de = weights * (dw - (weights * dw).sum(axis=2, keepdims=True))
assert np.allclose(dq, np.einsum("bts,ij,bsj->bti", de, W, keys), rtol=0, atol=1e-13)
compared = np.einsum("bts,ij,bti->bsj", de, W, query)
averaged = np.einsum("bts,btj->bsj", weights, dy)
assert np.allclose(dk, compared + averaged, rtol=0, atol=1e-13)
assert np.allclose(attention.W.grad, np.einsum("bts,bti,bsj->ij", de, query, keys), atol=1e-13)

# %%
# Who derives a gradient by hand should not believe it before it is measured. Central differences,
# for all three scores, with a mask over the keys:

mask = np.arange(5) < np.array([[5], [2]])
for score in ("dot", "general", "additive"):
    layer = Attention(4, 4, score=score, rng=1, dtype=np.float64)
    print(check_gradients(layer, query, keys, mask=mask), end="\n\n")

# %%
# What is masked gets the weight 0, whatever stands there:

keys[1, 2:] = np.nan
attention.forward(query, keys, mask=mask)
print(attention.weights[1].round(2))

# %%
# A memory that is looked up
# --------------------------
# Keys far apart from one another make attention a look-up table that is differentiable: a query that
# resembles the third key gets the third row. The closer the keys, the softer the answer.

figure, both = plt.subplots(1, 2, figsize=(7, 3), sharey=True, layout="constrained")
noise = 0.4 * rng.standard_normal((1, 5, 6))
for axes, size in zip(both, (1.0, 3.0), strict=True):
    table = size * np.eye(6)[None]
    lookup = Attention(6, 6, dtype=np.float64)
    lookup.forward(table[:, [2, 0, 5, 5, 1]] + noise, table)
    image = axes.imshow(lookup.weights[0], cmap="viridis", vmin=0, vmax=1)
    axes.set(xlabel="key", title=f"keys of length {size:g}")
both[0].set(ylabel="query")
figure.colorbar(image, ax=both, label="weight")
plt.show()

# %%
# Learned
# -------
# Nobody tells a network where to look. Here one learns to write six digits backwards; the gradient of
# the cross-entropy, through the softmax above, is all that it gets.

start = 10


def reversed_digits(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return digits, what the decoder reads while it writes, and what it should write."""
    source = rng.integers(0, 10, (count, 6))
    target = source[:, ::-1]
    return source, np.hstack([np.full((count, 1), start), target[:, :-1]]), target


model = EncoderDecoder(
    Sequential([Embedding(10, 16, rng=rng), GRU(16, 32, rng=rng)]),
    [Embedding(11, 16, rng=rng), GRU(16, 32, rng=rng), Dense(64, 10, rng=rng)],
    Attention(32, 32, score="general", rng=rng),
)
trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters(), 0.01, clip_norm=1.0))
for update in range(401):
    source, target_in, target = reversed_digits(64)
    loss = trainer.train_step((source, target_in), target)
    if update % 100 == 0:
        print(f"update {update:3}: {loss:.3f} nats per digit, guessing {np.log(10):.3f}")

# %%
# It looks at the digit that it writes next, from the end of the source to its beginning:

source, target_in, target = reversed_digits(100)
written = model.forward((source, target_in)).argmax(axis=2)
print(f"{100 * np.mean(written == target):.1f} % of the digits right")

figure, axes = plt.subplots(figsize=(4, 3.4), layout="constrained")
read, wrote = map(str, source[0]), map(str, written[0])
plot_attention(model.attention, source=[*read], target=[*wrote], ax=axes)
plt.show()

# %%
# :doc:`Sequence to sequence </sequence-to-sequence>` goes on from here: unequal lengths, an end token,
# beam search.
