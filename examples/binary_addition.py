"""A recurrent net of 16 units learns to add, and proves it on all 65,536 pairs of bytes.

The net reads two numbers as one adds on paper: the lowest bit of both first, then the next ones. At
each step it writes one bit of the sum, and it has to remember a single thing: the carry. It trains
on random pairs, a fresh batch every time. Then it adds every pair there is, from 0 + 0 to 255 +
255, and every one of the nine bits of every sum must be right. A net that has really found the
carry can do more than it was taught, so at the end it adds numbers of 60 bits as well.

The task is a classic: G. Cottrell and F. Tsung, "Learning simple arithmetic procedures",
Connection Science 5, 1993, and many tutorials since. Its score is all or nothing.

    python examples/binary_addition.py            # a few seconds
    python examples/binary_addition.py --quick    # fewer batches
"""

from __future__ import annotations

import sys

import _pictures as pictures
import numpy as np
from _script import counting, parser_for, verdict

from minirnn import RNN, Adam, Dense, Sequential, SigmoidCrossEntropy, Trainer
from minirnn.tasks import all_binary_additions, binary_addition


def wrong_sums(model, inputs, targets):
    """Return how many sums have at least one wrong bit; an output above 0 is a 1."""
    bits = model.predict(inputs) > 0
    return int(np.any(bits != (targets > 0.5), axis=(1, 2)).sum())


def train(model, batches, rng):
    """Train on fresh random pairs; return [(pairs seen, wrong sums among all 65,536), ...]."""
    optimizer = Adam(model.parameters(), learning_rate=0.01, clip_norm=1.0)
    trainer = Trainer(model, SigmoidCrossEntropy(), optimizer)
    proof, curve = all_binary_additions(), []
    for batch in counting(batches, "training", unit="batch"):
        trainer.train_step(*binary_addition(64, rng=rng))
        if batch % 10 == 0:
            curve.append((64 * batch, wrong_sums(model, *proof)))
    return curve


def show_sum(model, first, second):
    """Print one addition, bit by bit, as the net writes it."""
    place = np.arange(9)
    pair = (np.array([first, second])[:, None] >> place) & 1  # lowest bit first
    bits = (model.predict(pair.T[None]) > 0).astype(int)[0, :, 0]
    for sign, row in [(" ", pair[0]), ("+", pair[1]), ("=", bits)]:
        print(f"  {sign} {' '.join(map(str, row[::-1]))}   {row @ 2**place:>4}")


def ones_met(inputs):
    """Return how many ones meet at each step: the two bits and the carry, 0 to 3."""
    bits, carry = inputs.sum(axis=2).astype(int), 0
    ones = np.zeros_like(bits)
    for k in range(bits.shape[1]):
        ones[:, k] = bits[:, k] + carry
        carry = ones[:, k] // 2
    return ones


def main(argv=None) -> int:
    options = parser_for(__doc__, quick="100 batches").parse_args(argv)
    rng = np.random.default_rng(options.seed)

    model = Sequential([RNN(2, 16, rng=rng), Dense(16, 1, rng=rng)])
    curve = train(model, 100 if options.quick else 1000, rng)

    show_sum(model, 200, 120)
    wrong = wrong_sums(model, *all_binary_additions())
    print(f"\nAll 65,536 pairs of bytes: {wrong:,} wrong sums (to reach: 0)")
    long_wrong = wrong_sums(model, *binary_addition(1000, bits=60, rng=rng))
    print(f"1,000 pairs of 60 bits, never seen in training: {long_wrong:,} wrong sums")

    inputs, _ = binary_addition(500, rng=0)
    states = model[0].forward(inputs).reshape(-1, 16)
    output = model[1].forward(states)[:, 0]
    pictures.save(pictures.binary_addition, curve, ones_met(inputs).reshape(-1), states, output)
    return verdict(options.quick, wrong == 0, "no sum is wrong")


if __name__ == "__main__":
    sys.exit(main())
