"""Three spiral arms, a net of three dense layers, and gradients that vanish on the way back.

The data are 300 points on three interleaved arms; the net is 2-50-50-3. It is trained twice, once
with ReLU and once with the sigmoid between the layers, by plain gradient descent on all points at
once: 50,000 steps of size 0.1, with ``0.5 * 1e-3 * sum(W**2)`` added to the loss. Along the way the
script writes down how large the gradients of the first two layers are. A sigmoid is nowhere
steeper than 1/4, so that each one takes a good part of the gradient on its way back: the first
layer hears little at the start, and the loss hardly moves for a thousand steps.

The setup, and the results printed beside ours, are those of a well-known notebook on vanishing
gradients, grown out of A. Karpathy's case study for the Stanford course CS231n (2015).

    python examples/spiral.py                  # both nets, about half a minute together
    python examples/spiral.py --quick          # a taste, in a second or two
"""

from __future__ import annotations

import sys

import _pictures as pictures
import numpy as np
from _script import counting, parser_for, verdict

from minirnn import SGD, Dense, ReLU, Sequential, Sigmoid, SoftmaxCrossEntropy, Trainer
from minirnn.tasks import spiral

DECAY = 1e-3
SHOWN = (0, 1000, 5000, 49000)
PUBLISHED = {
    "ReLU": {0: 1.115, 1000: 0.342, 5000: 0.127, 49000: 0.1126, "accuracy": 0.99},
    "Sigmoid": {49000: 0.468, "accuracy": 0.96},
}


def build(activation, rng):
    """Return the 2-50-50-3 net: weights 0.1 * randn, biases 0."""
    dense = [Dense(2, 50, rng=rng), Dense(50, 50, rng=rng), Dense(50, 3, rng=rng)]
    for layer in dense:
        layer.W.value = 0.1 * rng.standard_normal(layer.W.shape)
    return Sequential([dense[0], activation(), dense[1], activation(), dense[2]])


def penalty(model):
    """Return the part of the loss that keeps weights small; biases go free."""
    return 0.5 * DECAY * sum(float(np.sum(p.value**2)) for p in model.parameters() if p.decay)


def magnitude(gradient):
    """Return the notebook's measure of a gradient: sum of magnitudes / (rows + columns).

    It is not quite the mean, which would divide by rows times columns; we keep it, so that our
    curves can be laid beside the published ones.
    """
    return float(np.abs(gradient).sum()) / sum(gradient.shape)


def train(name, activation, points, labels, iterations, rng):
    """Return the trained net, {iteration: loss}, and a row (iteration, layer 1, layer 2) a time."""
    model = build(activation, rng)
    # The optimizer's weight decay is the gradient of the penalty.
    optimizer = SGD(model.parameters(), learning_rate=0.1, weight_decay=DECAY)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer)
    losses, gradients = {}, []
    for step in counting(iterations, name, unit="step"):
        iteration = step - 1  # so many updates were made before
        extra = penalty(model) if iteration in SHOWN else None
        loss = trainer.train_step(points, labels)
        if extra is not None:
            losses[iteration] = loss + extra
        if iteration < 100 or iteration % 20 == 0:
            gradients.append((iteration, *(magnitude(model[k].W.grad) for k in (0, 2))))
    return model, losses, np.array(gradients)


def report(name, losses, accuracy):
    """Print our results beside the published ones; return whether they are as good."""
    published = PUBLISHED[name]
    print(f"\n{name:<22}{'ours':>10}{'published':>12}")
    for iteration, loss in losses.items():
        print(f"  loss at {iteration:>6,}      {loss:>10.4f}{published.get(iteration, '-'):>12}")
    print(f"  accuracy            {accuracy:>10.3f}{published['accuracy']:>12}")
    reached = losses.get(49000, np.inf) <= 1.05 * published[49000]
    return reached and accuracy >= published["accuracy"] - 0.02


def early_mean(gradients):
    """Return the mean size of the first layer's gradient at iterations 0, 20, ... 1000."""
    iteration = gradients[:, 0]
    return gradients[(iteration <= 1000) & (iteration % 20 == 0), 1].mean()


def main(argv=None) -> int:
    options = parser_for(__doc__, quick="1,001 iterations").parse_args(argv)
    rng = np.random.default_rng(options.seed)
    points, labels = spiral(rng=rng)

    models, gradients, reached = {}, {}, []
    for name, activation in [("ReLU", ReLU), ("Sigmoid", Sigmoid)]:
        iterations = 1001 if options.quick else 50_000
        model, losses, rows = train(name, activation, points, labels, iterations, rng)
        accuracy = float(np.mean(model.predict(points).argmax(axis=1) == labels))
        models[name], gradients[name] = model, rows
        reached.append(report(name, losses, accuracy))

    ratio = early_mean(gradients["ReLU"]) / early_mean(gradients["Sigmoid"])
    print(f"\nOver the first 1,000 steps, the first layer's gradient is {ratio:.1f} times")
    print("as large under ReLU as under the sigmoid.")
    pictures.save(pictures.spiral_regions, models, points, labels)
    pictures.save(pictures.spiral_gradients, gradients)
    return verdict(options.quick, all(reached), "the published results")


if __name__ == "__main__":
    sys.exit(main())
