"""Learn first names character by character, then invent some.

    python examples/names.py                     an LSTM on 5,163 US first names, under a minute
    python examples/names.py --cell gru          or rnn
    python examples/names.py --text towns.txt    a list of your own, one entry a line, UTF-8

A tenth of the names is held out. After each epoch the script prints the loss on the training part
and on the held-out part, in nats per character (the natural logarithm of how many characters the
model hesitates between), beside what counting pairs, triples and quadruples of characters achieves.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import _pictures as pictures
import numpy as np
from _pictures import save_picture
from ngrams import ngram_loss
from tqdm import tqdm

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
)
from minirnn.callbacks import Callback
from minirnn.data import PaddedBatches, Vocabulary

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
END = "\n"  # begins and ends every name


def read_names(path: Path) -> list[str]:
    """Return the lines of a text, each once; a text that cannot be learned from ends the script."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        stop(f"{path} is not a UTF-8 text")
    except OSError as error:
        stop(f"{path} cannot be read: {error.strerror}")
    if "\0" in text:
        stop(f"{path} is a binary file, not a text")
    names = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not names:
        stop(f"{path} is empty; it should have one name a line")
    if len(names) == 1:
        stop(f"{path} has one line only; it should have at least two, one name a line")
    return names


def build_model(cell: str, characters: int, hidden_size: int, rng: Any) -> Sequential:
    """Return a model from characters to the logits of the next character."""
    embedding_size = 32
    return Sequential(
        [
            Embedding(characters, embedding_size, rng=rng),
            CELLS[cell](embedding_size, hidden_size, rng=rng),
            Dense(hidden_size, characters, rng=rng),
        ]
    )


def invent(
    model: Sequential, vocabulary: Vocabulary, known: set[str], rng: Any, count: int, longest: int
) -> list[str]:
    """Return up to `count` new names, sampled character by character with `model.step`."""
    found: dict[str, None] = {}
    for _ in range(20):
        model.reset_state()
        tokens = np.full(64, vocabulary.encode(END)[0])  # 64 names at a time
        drawn = []
        for _ in range(longest):
            logits = model.step(tokens)
            noise = rng.gumbel(size=logits.shape)  # argmax of logits + noise draws from softmax
            tokens = (logits + noise).argmax(axis=1)
            drawn.append(tokens)
        for row in np.stack(drawn, axis=1):
            name, end, _ = vocabulary.decode(row).partition(END)
            if end and name and name not in known:
                found[name] = None
    return list(found)[:count]


class PrintEpoch(Callback):
    """Print a line of losses at the end of each epoch."""

    def __init__(self, best_ngram: float) -> None:
        self.best_ngram = best_ngram

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Print the line."""
        loss, val_loss = (trainer.history[name][-1] for name in ("loss", "val_loss"))
        tqdm.write(f"{trainer.epoch:5}  {loss:8.3f}  {val_loss:10.3f}  {self.best_ngram:11.3f}")


def main(argv: list[str] | None = None) -> int:
    """Train, compare with n-grams, invent names."""
    options = parse(argv)
    started = time.perf_counter()
    if options.save and not options.save.parent.is_dir():
        stop(f"there is no folder {options.save.parent} to save in")
    names = read_names(options.text)
    rng = np.random.default_rng(options.seed)
    saved = load(options.load) if options.load else {}
    cell = options.cell or str(saved.get("cell", "lstm"))
    hidden_size = options.hidden_size or int(saved.get("hidden_size", 96))

    # Characters to integers; a tenth of the names held out.
    vocabulary = (
        Vocabulary(str(saved["characters"])) if saved else Vocabulary.from_text([END, *names])
    )
    try:
        sequences = [vocabulary.encode(f"{END}{name}{END}") for name in names]
    except ValueError as error:
        stop(f"{options.text} does not fit the saved weights: {error}")
    order = rng.permutation(len(sequences))
    held_out = max(1, len(sequences) // 10)
    validation = [sequences[k] for k in order[:held_out]]
    training = [sequences[k] for k in order[held_out:]]
    print(f"{len(training)} names to learn from, {held_out} held out, {len(vocabulary)} characters")

    # What counting achieves.
    ngrams = [ngram_loss(training, validation, n, len(vocabulary)) for n in (1, 2, 3, 4)]
    listed = ", ".join(f"{n}: {loss:.3f}" for n, loss in enumerate(ngrams, 1))
    print(f"Character n-grams on the held-out names, nats per character: {listed}")

    # The model reads every character and predicts the next.
    model = build_model(cell, len(vocabulary), hidden_size, rng)
    if saved:
        try:
            model.load_state_dict({k[2:]: v for k, v in saved.items() if k.startswith("w.")})
        except ValueError as error:
            reason = str(error).replace("\n  ", "; ")
            stop(f"{options.load} does not fit --cell {cell} --hidden-size {hidden_size}: {reason}")
    print(model.summary())
    trainer = Trainer(
        model,
        SoftmaxCrossEntropy(),
        Adam(model.parameters(), learning_rate=3e-3, clip_norm=5.0),
        callbacks=[PrintEpoch(min(ngrams))],
    )
    if options.epochs:
        print("\nepoch  training  validation  best n-gram   (nats per character)")
        history = trainer.fit(
            PaddedBatches(
                [s[:-1] for s in training],
                [s[1:] for s in training],
                batch_size=options.batch_size,
                shuffle=True,
                rng=rng,
            ),
            epochs=options.epochs,
            validation=PaddedBatches(
                [s[:-1] for s in validation], [s[1:] for s in validation], batch_size=256
            ),
            progress=sys.stderr.isatty(),
        )
        best = min(history["val_loss"])
        print(f"\nBest validation loss {best:.3f}; best n-gram {min(ngrams):.3f}")

    new = invent(model, vocabulary, set(names), rng, 20, 2 * max(len(s) for s in sequences))
    print(f"\n{len(new)} new names, none of them in the list:")
    for start in range(0, len(new), 5):
        print("  " + "  ".join(f"{name:<12}" for name in new[start : start + 5]).rstrip())
    if len(new) < 20:
        print("  (the rest of what it said is in the list, or never came to an end)")

    if options.epochs:
        save_picture(
            pictures.learning_curve,
            history,
            name="names",
            title="First names, character by character",
            loss="nats per character",
            levels={f"{n}-gram": loss for n, loss in enumerate(ngrams, 1)},
        )
    if options.save:
        save(options.save, model, vocabulary, cell, hidden_size)
    print(f"{time.perf_counter() - started:.0f} s in all")
    return 0


# ---------------------------------------------------------------- files and options


def save(path: Path, model: Sequential, vocabulary: Vocabulary, cell: str, size: int) -> None:
    """Write the weights, and what is needed to build the model again, as an .npz file."""
    weights = {f"w.{name}": array for name, array in model.state_dict().items()}
    try:
        with path.open("wb") as file:
            np.savez(file, characters=vocabulary.characters, cell=cell, hidden_size=size, **weights)
    except OSError as error:
        stop(f"{path} cannot be written: {error.strerror}")
    print(f"Weights: {path}")


def load(path: Path) -> dict[str, Any]:
    """Return what `save` wrote."""
    try:
        with np.load(path, allow_pickle=False) as file:
            saved = dict(file)
    except OSError as error:
        stop(f"{path} cannot be read: {error.strerror or error}")
    except Exception:  # whatever a file that is no .npz makes NumPy say
        stop(f"{path} is not a file that --save wrote")
    if not {"characters", "cell", "hidden_size"} <= set(saved):
        stop(f"{path} is not a file that --save wrote")
    return saved


def stop(message: str) -> Any:
    """End the script with one line."""
    raise SystemExit(f"names.py: {message}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""

    def at_least(low: int) -> Any:
        def number(text: str) -> int:
            if not text.isdecimal() or int(text) < low:
                raise argparse.ArgumentTypeError(f"should be a whole number from {low}, got {text}")
            return int(text)

        return number

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--cell", choices=sorted(CELLS), help="kind of recurrent layer (default lstm)")
    add("--hidden-size", type=at_least(1), metavar="N", help="units of the layer (default 96)")
    add("--epochs", type=at_least(0), default=20, metavar="N", help="default 20; 0 only invents")
    add("--batch-size", type=at_least(1), default=64, metavar="N", help="default 64")
    add("--seed", type=at_least(0), default=0, metavar="N", help="default 0")
    add("--text", type=Path, default=Path(__file__).parent / "data" / "names.txt", metavar="FILE")
    add("--save", type=Path, metavar="FILE", help="write the weights")
    add("--load", type=Path, metavar="FILE", help="begin from weights that --save wrote")
    add("--quick", action="store_true", help="two epochs of a small model, to see that it runs")
    options = parser.parse_args(argv)
    if options.quick:
        options.epochs, options.hidden_size = 2, options.hidden_size or 16
    return options


if __name__ == "__main__":
    sys.exit(main())
