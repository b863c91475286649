"""Three spiral arms, a net of three dense layers, and gradients that vanish on the way back.

The data are 300 points on three interleaved arms; the net is 2-50-50-3. It is trained twice, once
with ReLU and once with the sigmoid between the layers, by plain gradient descent on all points at
once: 50,000 steps of size 0.1, with ``0.5 * 1e-3 * sum(W**2)`` added to the loss. Along the way the
script writes down how large the gradients of the first two layers are. A sigmoid is nowhere
steeper than 1/4, so that each one takes a good part of the gradient on its way back: the first
layer hears little at the start, and the loss hardly moves for a thousand steps.

The setup, and the figures printed beside ours, are those of a well-known notebook on vanishing
gradients, grown out of A. Karpathy's case study for the Stanford course CS231n (2015).

    python examples/spiral.py                  # both nets, about half a minute together
    python examples/spiral.py --quick          # a taste, in a second or two
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from _pictures import save_picture
from tqdm import tqdm

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
    for iteration in tqdm(range(iterations), desc=f"{name:7}", unit="step", disable=None):
        extra = penalty(model) if iteration in SHOWN else None
        loss = trainer.train_step(points, labels)
        if extra is not None:
            losses[iteration] = loss + extra
        if iteration < 100 or iteration % 20 == 0:
            gradients.append((iteration, *(magnitude(model[k].W.grad) for k in (0, 2))))
    return model, losses, np.array(gradients)


def report(name, losses, accuracy):
    """Print our figures beside the published ones; return whether they are as good."""
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


def draw_regions(plt, results, points, labels):
    """Colour the plane by the class that each net sees there."""
    side = np.linspace(-1.2, 1.2, 300)
    plane = np.stack(np.meshgrid(side, side), axis=-1)
    arms = ["#c44e52", "#4c72b0", "#55a868"]
    figure, axes = plt.subplots(1, 2, figsize=(10, 5.2), layout="constrained")
    for ax, (name, (model, _, _, accuracy)) in zip(axes, results.items(), strict=True):
        seen = model.predict(plane).argmax(axis=-1)
        ax.contourf(side, side, seen, levels=[-0.5, 0.5, 1.5, 2.5], colors=arms, alpha=0.28)
        for arm, colour in enumerate(arms):
            x, y = points[labels == arm].T
            ax.scatter(x, y, s=22, color=colour, edgecolor="white", linewidth=0.6)
        ax.set(title=f"{name}: {accuracy:.1%} of the points right", aspect="equal")
        ax.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
    return figure


def draw_gradients(plt, results):
    """Plot how large the gradients of the first two layers are, from step to step."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
    for ax, (name, (_, _, gradients, _)) in zip(axes, results.items(), strict=True):
        iteration = gradients[:, 0] + 1  # the axis is logarithmic, and log 0 is nowhere
        ax.loglog(iteration, gradients[:, 2], color="#dd8452", label="second layer")
        ax.loglog(iteration, gradients[:, 1], color="#4c72b0", label="first layer")
        if name == "Sigmoid":
            relu = results["ReLU"][2]
            style = {"color": "#4c72b0", "linestyle": ":", "linewidth": 1.2}
            ax.loglog(relu[:, 0] + 1, relu[:, 1], **style, label="first layer under ReLU")
        ax.set(title=name, xlabel="iteration")
        ax.grid(which="major", alpha=0.3)
        ax.legend(frameon=False, loc="upper right")
    axes[0].set_ylabel("size of the gradient, sum |dW| / (rows + columns)")
    return figure


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of the points and the weights")
    parser.add_argument("--quick", action="store_true", help="1,001 iterations; no score demanded")
    arguments = parser.parse_args(argv)
    rng = np.random.default_rng(arguments.seed)
    points, labels = spiral(rng=rng)

    results, reached = {}, []
    for name, activation in [("ReLU", ReLU), ("Sigmoid", Sigmoid)]:
        iterations = 1001 if arguments.quick else 50_000
        model, losses, gradients = train(name, activation, points, labels, iterations, rng)
        accuracy = float(np.mean(model.predict(points).argmax(axis=1) == labels))
        results[name] = (model, losses, gradients, accuracy)
        reached.append(report(name, losses, accuracy))

    relu, sigmoid = (early_mean(gradients) for _, _, gradients, _ in results.values())
    print(f"\nOver the first 1,000 steps, the first layer's gradient is {relu / sigmoid:.1f} times")
    print("as large under ReLU as under the sigmoid.")
    save_picture(
        "spiral_regions",
        lambda plt: draw_regions(plt, results, points, labels),
        "the plane, coloured by the class that each net sees there, with the 300 points",
    )
    save_picture(
        "spiral_gradients",
        lambda plt: draw_gradients(plt, results),
        "size of the first two layers' gradients over the iterations, ReLU beside sigmoid",
    )
    if arguments.quick:
        print("Quick setting: no score is demanded.")
        return 0
    print("The published figures are reached." if all(reached) else "A score was missed.")
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
