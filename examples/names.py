"""Learn first names character by character, then invent some.

    python examples/names.py                     an LSTM on 5,163 US first names, under a minute
    python examples/names.py --cell gru          or rnn
    python examples/names.py --text towns.txt    a list of your own, one entry a line, UTF-8

A tenth of the names is held out. The losses are in nats per character (the natural logarithm of how
many characters the model hesitates between); beside them stands what counting pairs, triples and
quadruples of characters achieves. Training ends when the loss on the held-out names has not fallen
for three epochs, and the best weights stay. After ``--save names.model``, ``--load names.model
--epochs 0`` only invents.
"""

from __future__ import annotations

import sys
from pathlib import Path

import _pictures as pictures
import numpy as np
from _script import parser_for, read_text, saved_model, stop, whole_number
from ngrams import ngram_loss

from minirnn import (
    GRU,
    LSTM,
    RNN,
    Adam,
    Dense,
    Embedding,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    generate,
    save,
)
from minirnn.callbacks import EarlyStopping
from minirnn.data import PaddedBatches, Vocabulary

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
END = "\n"  # begins and ends every name


def read_names(path):
    """Return the lines of a text, each once."""
    lines = [line.strip() for line in read_text(path).splitlines()]
    names = list(dict.fromkeys(filter(None, lines)))
    if len(names) == 1:
        stop(f"{path} has one line only; it should have at least two, one name a line")
    return names


def build_model(cell, characters, hidden_size, rng):
    """Return a model from characters to the logits of the next character."""
    embedding = Embedding(characters, 32, rng=rng)
    recurrent = CELLS[cell](32, hidden_size, rng=rng)
    return Sequential([embedding, recurrent, Dense(hidden_size, characters, rng=rng)])


def batches(sequences, batch_size, rng=None):
    """Return batches of all characters but the last, and all but the first."""
    inputs, targets = [s[:-1] for s in sequences], [s[1:] for s in sequences]
    return PaddedBatches(inputs, targets, batch_size=batch_size, shuffle=rng is not None, rng=rng)


def invent(model, vocabulary, known, rng, count, longest):
    """Return up to `count` new names, written character by character."""
    found = {}
    for _ in range(20):
        drawn = generate(model, [END] * 64, longest, vocabulary=vocabulary, stop=END, rng=rng)
        new = [name for name in drawn if name and name not in known and len(name) < longest]
        found.update(dict.fromkeys(new))
    return list(found)[:count]


def main(argv=None) -> int:
    parser = parser_for(__doc__, quick="two epochs of a small model")
    default = Path(__file__).parent / "data" / "names.txt"
    parser.add_argument("--text", type=Path, default=default, metavar="FILE")
    parser.add_argument("--cell", choices=CELLS, default="lstm", help="default lstm")
    parser.add_argument("--hidden-size", type=whole_number(1), default=96, help="default 96")
    parser.add_argument("--epochs", type=whole_number(0), default=20, help="20; 0 only invents")
    parser.add_argument("--batch-size", type=whole_number(1), default=64, help="default 64")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the model")
    parser.add_argument("--load", type=Path, metavar="FILE", help="what --save wrote")
    options = parser.parse_args(argv)
    if options.quick:
        options.epochs, options.hidden_size = 2, 16
    if options.save and not options.save.parent.is_dir():
        stop(f"there is no folder {options.save.parent} to save in")
    rng = np.random.default_rng(options.seed)

    # Characters to integers; a tenth of the names held out.
    names = read_names(options.text)
    model = saved_model(options.load, "vocabulary") if options.load else None
    vocabulary = model.extras["vocabulary"] if model else Vocabulary.from_text([END, *names])
    try:
        sequences = [vocabulary.encode(f"{END}{name}{END}") for name in names]
    except ValueError as error:
        stop(f"{options.text} does not fit the saved model: {error}")
    held_out, size = max(1, len(sequences) // 10), len(vocabulary)
    shuffled = [sequences[k] for k in rng.permutation(len(sequences))]
    validation, training = shuffled[:held_out], shuffled[held_out:]
    print(f"{len(training)} names to learn from, {held_out} held out, {size} characters")

    # What counting achieves.
    ngrams = {f"{n}-gram": ngram_loss(training, validation, n, size) for n in range(1, 5)}
    listed = ", ".join(f"{name}: {loss:.3f}" for name, loss in ngrams.items())
    best = min(ngrams.values())
    print(f"Counting on the held-out names, nats per character: {listed}")

    # The model reads every character and predicts the next.
    model = model or build_model(options.cell, size, options.hidden_size, rng)
    print(model.summary())
    optimizer = Adam(model.parameters(), learning_rate=3e-3, clip_norm=5.0)
    callbacks = [EarlyStopping("val_loss", patience=3)]
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, callbacks=callbacks)
    if options.epochs:
        history = trainer.fit(
            batches(training, options.batch_size, rng),
            epochs=options.epochs,
            validation=batches(validation, 256),
        )
        print(f"\nBest validation loss {min(history['val_loss']):.3f}; best n-gram {best:.3f}")
        texts = {"title": "First names, character by character", "loss": "nats per character"}
        pictures.save(pictures.learning_curve, history, name="names", levels=ngrams, **texts)

    new = invent(model, vocabulary, set(names), rng, 20, 2 * max(map(len, sequences)))
    print(f"\n{len(new)} new names, none of them in the list:")
    for start in range(0, len(new), 5):
        print("  " + "  ".join(f"{name:<12}" for name in new[start : start + 5]).rstrip())
    if options.save:
        save(model, options.save, vocabulary=vocabulary)
        print(f"Model: {options.save}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
