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

import sys
from pathlib import Path

import _pictures as pictures
import numpy as np
from _script import parser_for, verdict

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


class Augmented:
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


def train(cell, images, labels, epochs, rng):
    """Return a model from rows of pixels to ten logits."""
    model = Sequential([CELLS[cell](8, 64, rng=rng), LastStep(), Dense(64, 10, rng=rng)])
    batches = Augmented(images, labels, rng)
    schedule = Cosine(3e-3, steps=epochs * len(batches))
    optimizer = Adam(model.parameters(), schedule, clip_norm=1.0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()])
    trainer.fit(batches, epochs=epochs)
    return model


def predictions(model, image):
    """Return the shares of the ten digits after each row, (8, 10), were it the last row."""
    model.eval()
    model.reset_state()
    return np.concatenate([Softmax().forward(model.step(row[None])) for row in image])


def main(argv=None) -> int:
    parser = parser_for(__doc__, quick="5 epochs")
    parser.add_argument("--cell", choices=CELLS, default="gru")
    options = parser.parse_args(argv)
    cell, epochs = options.cell, 5 if options.quick else 60

    images, labels = load()
    rng = np.random.default_rng(options.seed)
    model = train(cell, images[:TRAINING], labels[:TRAINING], epochs, rng)
    images, labels = images[TRAINING:], labels[TRAINING:]
    guesses = model.predict(images).argmax(axis=1)
    right = guesses == labels
    score = 100 * float(right.mean())

    print(f"\n{cell.upper()}: {right.sum()} of {len(labels)} test digits right")
    print(f"  ours                         {score:5.1f} %")
    print(f"  plain net in PyTorch         {PYTORCH[cell]:5.1f} %   (published)")
    shown = [*np.flatnonzero(right)[:4], *np.flatnonzero(~right)[:2]]
    after_each_row = [predictions(model, images[k]) for k in shown]
    pictures.save(pictures.digits, images[shown], labels[shown], guesses[shown], after_each_row)
    return verdict(options.quick, score >= DEMANDED, f"{DEMANDED:.0f} % or more")


if __name__ == "__main__":
    sys.exit(main())
