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

import argparse
import sys

import numpy as np
from _pictures import save_picture
from tqdm import tqdm

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
    bar = tqdm(range(1, batches + 1), unit="batch", disable=None)
    for batch in bar:
        loss = trainer.train_step(*binary_addition(64, rng=rng))
        if batch % 10 == 0:
            curve.append((64 * batch, wrong_sums(model, *proof)))
            bar.set_postfix(loss=f"{loss:.4f}", wrong=f"{curve[-1][1]:,}")
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


def draw(plt, curve, model):
    """Plot the share of right sums on the way, and what the hidden units have come to stand for."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    seen, wrong = np.array(curve).T
    left.plot(seen, 100 - wrong / 655.36, color="#4c72b0", linewidth=2)
    left.set(xlabel="random pairs seen in training", ylabel="% of all 65,536 sums without an error")
    left.set(ylim=(-3, 103), xscale="log", title="Learning to add")
    left.grid(alpha=0.3)

    # Two readings of the 16 units: the net's own output, and the best linear guess at the carry.
    inputs, _ = binary_addition(500, rng=0)
    ones = ones_met(inputs).reshape(-1)
    states = model[0].forward(inputs).reshape(-1, 16)
    output = model[1].forward(states)[:, 0]
    with_one = np.column_stack([states, np.ones(len(states))])
    carry = with_one @ np.linalg.lstsq(with_one, ones // 2, rcond=None)[0]
    right.axhline(0, color="0.8", zorder=0)
    right.axvline(0.5, color="0.8", zorder=0)
    for count, colour in enumerate(["#8c8c8c", "#dd8452", "#4c72b0", "#55a868"]):
        group = ones == count
        label = f"{count}: write {count % 2}, carry {count // 2}"
        right.scatter(carry[group], output[group], s=14, alpha=0.6, color=colour, label=label)
    right.set(title="What the 16 hidden units say after each step")
    right.set(xlabel="carry, read from the units", ylabel="output: above 0, write a 1")
    right.legend(title="ones that meet at the step", loc="center", framealpha=0.9)
    return figure


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the pairs")
    parser.add_argument("--quick", action="store_true", help="100 batches; no score demanded")
    arguments = parser.parse_args(argv)
    rng = np.random.default_rng(arguments.seed)

    model = Sequential([RNN(2, 16, rng=rng), Dense(16, 1, rng=rng)])
    curve = train(model, 100 if arguments.quick else 1000, rng)

    show_sum(model, 200, 120)
    wrong = wrong_sums(model, *all_binary_additions())
    print(f"\nAll 65,536 pairs of bytes: {wrong:,} wrong sums (to reach: 0)")
    long_wrong = wrong_sums(model, *binary_addition(1000, bits=60, rng=rng))
    print(f"1,000 pairs of 60 bits, never seen in training: {long_wrong:,} wrong sums")
    save_picture(
        "binary_addition",
        lambda plt: draw(plt, curve, model),
        "right sums during training; the hidden units, which have learned to count the ones",
    )
    if arguments.quick:
        print("Quick setting: no score is demanded.")
        return 0
    return 0 if wrong == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
