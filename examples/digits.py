"""Handwritten digits, read row by row like a text of eight lines.

An image of 8 x 8 pixels is a sequence of eight rows, eight numbers each. A recurrent layer reads it
from top to bottom, and after the last row says which digit it was. It trains on the first 1,297
images and is tested on the last 500, which are by other writers.

Beside a plain net, two things help. In training no image comes twice the same: some are moved by a
pixel, and all get a little noise. And the learning rate falls to nothing along a cosine. Both were
chosen without a look at the test images, on parts of the training images held out in turn.

Published, for comparison: a plain net of 64 units in PyTorch, 30 epochs, gets 93.9 % right with an
RNN, 93.2 % with a GRU, 89.7 % with an LSTM. Here 94 % or more is demanded of each.

Data: the test part of the optical digits of the UCI Machine Learning Repository (Alpaydin and
Kaynak, 1998, CC BY 4.0), as scikit-learn bundles it.

    python examples/digits.py                # a GRU, our best; some seconds
    python examples/digits.py --cell rnn     # or lstm
    python examples/digits.py --quick
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from _pictures import save_picture

from minirnn import (
    GRU,
    LSTM,
    RNN,
    Accuracy,
    Adam,
    Dense,
    LastStep,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
    Trainer,
)
from minirnn.data import Batches
from minirnn.schedules import Cosine

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
PYTORCH = {"rnn": 93.9, "lstm": 89.7, "gru": 93.2}
TRAINING = 1297
DEMANDED = 94.0


class Disturbed:
    """The training images in a new order every epoch, each time moved and blurred anew.

    Anything that can be gone through once an epoch will do as training data.
    """

    def __init__(self, images, labels, rng):
        self.batches = Batches(images, labels, batch_size=32, shuffle=True, rng=rng)
        self.rng = rng

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for images, labels in self.batches:
            moved = move(images, self.rng)
            yield moved + 0.2 * self.rng.standard_normal(images.shape, dtype=np.float32), labels


def move(images, rng, share=0.3):
    """Move a share of the images by one pixel in any direction; what comes in is blank."""
    steps = rng.integers(-1, 2, size=(len(images), 2))
    steps[rng.random(len(images)) >= share] = 0
    row, column = np.arange(8)[:, None] + 1, np.arange(8) + 1  # of an image with a blank frame
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    pairs = zip(framed, steps, strict=True)
    return np.stack([image[row + down, column + right] for image, (down, right) in pairs])


def load():
    """Return images (1797, 8, 8) in 0..1 and labels (1797,)."""
    with np.load(Path(__file__).parent / "data" / "digits.npz") as data:
        return data["images"].astype(np.float32) / 16, data["labels"].astype(int)


def train(cell, images, labels, epochs, rng, progress=True):
    """Return a model from rows of pixels to ten logits."""
    model = Sequential(
        [
            CELLS[cell](8, 64, rng=rng),
            LastStep(),
            Dense(64, 10, rng=rng),
        ]
    )
    batches = Disturbed(images, labels, rng)
    schedule = Cosine(3e-3, steps=epochs * len(batches))
    optimizer = Adam(model.parameters(), schedule, clip_norm=1.0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()])
    trainer.fit(batches, epochs=epochs, progress=progress)
    return model


def thoughts(model, image):
    """Return what the model would say after each row, (8, 10), were it the last: one step a row."""
    model.eval()
    model.reset_state()
    return np.concatenate([Softmax().forward(model.step(row[None])) for row in image])


def draw(plt, model, images, labels):
    """Show six test images, and how the model's mind is made up from row to row."""
    guesses = model.predict(images).argmax(axis=1)
    right, wrong = np.flatnonzero(guesses == labels), np.flatnonzero(guesses != labels)
    shown = [*right[:4], *wrong[:2]]
    figure, axes = plt.subplots(2, len(shown), figsize=(2.1 * len(shown), 4.6), sharey="row")
    for (above, below), k in zip(axes.T, shown, strict=True):
        above.imshow(images[k], cmap="gray_r", vmin=0, vmax=1)
        verdict = "read as" if guesses[k] == labels[k] else "misread as"
        above.set_title(f"{labels[k]}, {verdict} {guesses[k]}", fontsize=10)
        above.set(xticks=[], yticks=[])
        below.imshow(thoughts(model, images[k]), cmap="Blues", vmin=0, vmax=1)
        below.set(xticks=range(10), yticks=range(8))
        below.tick_params(length=0, labelsize=8)
        below.set_xlabel("digit")
    axes[1, 0].set_yticks(range(8), [f"row {k}" for k in range(1, 9)])
    figure.tight_layout()
    return figure


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cell", choices=CELLS, default="gru")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, the noise, the order")
    parser.add_argument("--quick", action="store_true", help="5 epochs; no score demanded")
    arguments = parser.parse_args(argv)
    cell, epochs = arguments.cell, 5 if arguments.quick else 60

    images, labels = load()
    rng = np.random.default_rng(arguments.seed)
    model = train(cell, images[:TRAINING], labels[:TRAINING], epochs, rng)
    images, labels = images[TRAINING:], labels[TRAINING:]
    right = model.predict(images).argmax(axis=1) == labels
    score = 100 * float(right.mean())

    print(f"\n{cell.upper()}: {right.sum()} of {len(labels)} test digits right")
    print(f"  ours                         {score:5.1f} %")
    print(f"  plain net in PyTorch         {PYTORCH[cell]:5.1f} %   (published)")
    save_picture(
        "digits",
        lambda plt: draw(plt, model, images, labels),
        "six test digits, and below each what the net would say after every row",
    )
    if arguments.quick:
        print("Quick setting: no score is demanded.")
        return 0
    print(f"{DEMANDED:.0f} % or more: {'reached' if score >= DEMANDED else 'missed'}.")
    return 0 if score >= DEMANDED else 1


if __name__ == "__main__":
    sys.exit(main())
