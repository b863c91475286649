"""Dates as people write them, translated to ISO dates by an encoder, a decoder and attention.

    the twenty-first of March 1987   ->   1987-03-21
    Sat, 3/21/87                     ->   1987-03-21

The encoder reads a date character by character, in both directions. The decoder writes the ten
characters of the ISO date, and before each one looks at what the encoder has made of the
characters that matter for it: that is drawn. It is not told which those are.

A tenth of all dates from 1950 to 2049 is held out: the model has never seen them in any form. At
least 99 % of them must come out right, all ten characters.

    python examples/translate.py                                       # under a minute
    python examples/translate.py "14 juillet 1989" "May 4th, 1977"     # dates of your own
    python examples/translate.py --quick
"""

from __future__ import annotations

import sys
from datetime import date, timedelta

import _pictures as pictures
import numpy as np
from _script import parser_for, stop, verdict

from minirnn import (
    GRU,
    Accuracy,
    Adam,
    Attention,
    Bidirectional,
    Dense,
    Embedding,
    EncoderDecoder,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from minirnn.data import Vocabulary, pad_sequences
from minirnn.schedules import Cosine

DEMANDED = 99.0
FIRST, LAST = date(1950, 1, 1), date(2049, 12, 31)
START, END = ">", "."
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre",
}
MONTHS = {language: names.split() for language, names in MONTHS.items()}
FIRST_TWENTY = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
ORDINALS = FIRST_TWENTY.split()
ORDINALS += [f"twenty-{one}" for one in ORDINALS[:9]] + ["thirtieth", "thirty-first"]


def suffix(day):
    """Return st, nd, rd or th."""
    return {1: "st", 2: "nd", 3: "rd"}.get(day % 10 if day // 10 != 1 else 0, "th")


# Dots: the day first. Slashes: the month first.
FORMS = [
    lambda d, en: f"{d.day} {en} {d.year}",
    lambda d, en: f"{d.day}{suffix(d.day)} {en[:3]} {d.year}",
    lambda d, en: f"{en} {d.day}, {d.year}",
    lambda d, en: f"{en[:3]} {d.day}{suffix(d.day)}, {d.year}",
    lambda d, en: f"{WEEKDAYS[d.weekday()]}, {en} {d.day}, {d.year}",
    lambda d, en: f"{WEEKDAYS[d.weekday()][:3]}, {d.month}/{d.day}/{d.year % 100:02}",
    lambda d, en: f"the {ORDINALS[d.day - 1]} of {en} {d.year}",
    lambda d, en: f"{d.day}-{en[:3]}-{d.year % 100:02}",
    lambda d, en: f"{d.month}/{d.day}/{d.year}",
    lambda d, en: f"{d.day}.{d.month}.{d.year}",
    lambda d, en: f"{d.day:02}.{d.month:02}.{d.year % 100:02}",
    lambda d, en: f"{d.day}. {MONTHS['de'][d.month - 1]} {d.year}",
    lambda d, en: f"le {d.day} {MONTHS['fr'][d.month - 1]} {d.year}",
    lambda d, en: f"{d.day} de {MONTHS['es'][d.month - 1]} de {d.year}",
]


def write(day, rng):
    """Return a date in a form drawn at random."""
    return FORMS[rng.integers(len(FORMS))](day, MONTHS["en"][day.month - 1])


def split(rng, share=0.1):
    """Return all dates in two lists: to learn from, and held out."""
    dates = [FIRST + timedelta(days) for days in range((LAST - FIRST).days + 1)]
    order = rng.permutation(len(dates))
    cut = int(share * len(dates))
    return [dates[k] for k in order[cut:]], [dates[k] for k in order[:cut]]


def characters():
    """Return the vocabularies of what is read and of what is written."""
    rng = np.random.default_rng(0)
    days = [FIRST + timedelta(int(k)) for k in rng.integers(0, 36524, 20_000)]
    return Vocabulary.from_text([write(day, rng) for day in days]), Vocabulary(
        f"0123456789-{START}{END}"
    )


class Pairs:
    """Dates in new forms every epoch: (source, target so far), target, and the masks of both."""

    def __init__(self, dates, read, written, *, batch_size, batches, rng):
        self.dates, self.read, self.written = dates, read, written
        self.batch_size, self.batches, self.rng = batch_size, batches, rng

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            chosen = [
                self.dates[k] for k in self.rng.integers(len(self.dates), size=self.batch_size)
            ]
            source, mask = encode([write(day, self.rng) for day in chosen], self.read)
            target = np.stack([self.written.encode(START + str(day) + END) for day in chosen])
            shifted, target = target[:, :-1], target[:, 1:]
            yield (source, shifted), target, (mask, None), np.ones(target.shape, bool)


def encode(texts, vocabulary):
    """Return tokens (batch, time) and their mask, sequences padded to the longest."""
    return pad_sequences([vocabulary.encode(text) for text in texts])


def build(read, written, hidden_size, rng):
    """Return a model from characters that are read to the logits of the next one written."""
    half = hidden_size // 2
    encoder = Sequential(
        [
            Embedding(len(read), 32, rng=rng),
            Bidirectional(GRU(32, half, rng=rng), GRU(32, half, rng=rng)),
        ]
    )
    decoder = [
        Embedding(len(written), 32, rng=rng),
        GRU(32, hidden_size, rng=rng),
        Dense(hidden_size + hidden_size, len(written), rng=rng),
    ]
    attention = Attention(hidden_size, hidden_size, score="general", rng=rng)
    return EncoderDecoder(encoder, decoder, attention)


def train(model, pairs, epochs):
    """Train the model; Pairs can be gone through once an epoch."""
    schedule = Cosine(4e-3, steps=epochs * len(pairs))
    optimizer = Adam(model.parameters(), schedule, clip_norm=1.0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()])
    trainer.fit(pairs, epochs=epochs)


def translate(model, texts, read, written):
    """Return the ISO dates of texts, and where the decoder looked (texts, characters, time)."""
    source, mask = encode(texts, read)
    start, end = (int(written.encode(one)[0]) for one in (START, END))
    decoded = model.greedy(source, start=start, end=end, max_length=12, mask=mask)
    return [written.decode(row) for row in decoded.sequences(end)], decoded.attention


def main(argv=None) -> int:
    parser = parser_for(__doc__, quick="a small net, 20 batches")
    parser.add_argument("dates", nargs="*", help="dates of your own, to be translated at the end")
    options = parser.parse_args(argv)
    epochs, batches, hidden_size = (2, 10, 16) if options.quick else (9, 100, 128)

    rng = np.random.default_rng(options.seed)
    known, held_out = split(rng)
    read, written = characters()
    for text in options.dates:
        try:
            read.encode(text)
        except ValueError as error:
            stop(f"{text!r} cannot be read: {error}")
    model = build(read, written, hidden_size, rng)
    print(f"{len(known):,} dates to learn from, {len(held_out):,} held out, {len(FORMS)} forms")
    train(model, Pairs(known, read, written, batch_size=64, batches=batches, rng=rng), epochs)

    days = held_out[: 200 if options.quick else len(held_out)]
    texts = [write(day, rng) for day in days]
    guesses, attention = translate(model, texts, read, written)
    right = np.array([guess == str(day) for guess, day in zip(guesses, days, strict=True)])
    score = 100 * float(right.mean())
    print(f"\n{right.sum():,} of {len(days):,} unseen dates right, {score:.2f} %")
    for k in [*np.flatnonzero(right)[:4], *np.flatnonzero(~right)[:4]]:
        print(f"  {texts[k]:34} -> {guesses[k]}" + ("" if right[k] else f", should be {days[k]}"))
    if options.dates:
        answers, _ = translate(model, options.dates, read, written)
        for text, answer in zip(options.dates, answers, strict=True):
            print(f"  {text:34} -> {answer}")

    longest = sorted(range(min(40, len(texts))), key=lambda k: -len(texts[k]))[:3]
    pictures.save(pictures.translate, [(texts[k], guesses[k], attention[k]) for k in longest])
    return verdict(options.quick, score >= DEMANDED, f"{DEMANDED:.0f} % or more")


if __name__ == "__main__":
    sys.exit(main())
