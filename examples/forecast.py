"""Forecast a column of numbers in a CSV file of your own.

A GRU reads the last values of the series and says the next ones all at once, as differences from
the last value. The file is split in time: the first 70 % to learn from, the next 15 % to stop in
time and to find out how far off the forecasts are, the last 15 % for the score. The error stands
beside those of two forecasts that need no learning: the last value, over and over (naive), and the
values one season before (seasonal naive). The interval around a forecast is as wide as it had to
be for nine of ten values in the middle part, at each distance into the future by itself.

    python examples/forecast.py                       yearly sunspots, ten years; a few seconds
    python examples/forecast.py sales.csv --column units --horizon 12 --season 12 --save sales.model
    python examples/forecast.py sales.csv --load sales.model      what comes after the file now
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import _pictures as pictures
import numpy as np
from _script import parser_for, read_text, saved_model, stop, verdict, whole_number

from minirnn import (
    GRU,
    AdamW,
    Dense,
    Dropout,
    LastStep,
    MeanSquaredError,
    Sequential,
    Trainer,
    save,
)
from minirnn.callbacks import EarlyStopping
from minirnn.data import Scaler, windows

SUNSPOTS = Path(__file__).parent / "data" / "sunspots.csv"


def read_column(path, column):
    """Return a column of numbers, given by its name, and the name; by default the last one."""
    rows = list(csv.DictReader(read_text(path).splitlines()))
    names = [name for name in (rows[0] if rows else []) if name]
    if column is None and names:
        column = names[-1]
    if column not in names:
        stop(f"{path} has no column {column}; it has {', '.join(names) or 'none'}")
    try:
        series = np.array([float(row[column]) for row in rows])
    except (TypeError, ValueError) as error:
        stop(f"{path}: column {column} should hold numbers only: {error}")
    if not np.isfinite(series).all():
        stop(f"{path}: column {column} has values that are not finite")
    return series, column


def build_model(horizon, rng):
    """Return a model from the last values ``(batch, length, 1)`` to differences from the last."""
    gru, dense = GRU(1, 32, rng=rng), Dense(32, horizon, rng=rng)
    dense.W.value *= 0.1  # it begins near the naive forecast
    return Sequential([gru, LastStep(), Dropout(0.2, rng=rng), dense])


def train(model, training, validation, epochs, rng):
    """Train, at most until the validation loss has not fallen for twenty epochs."""
    optimizer = AdamW(model.parameters(), 3e-3, weight_decay=0.1, clip_norm=1.0)
    callbacks = [EarlyStopping("val_loss", patience=20)]
    trainer = Trainer(model, MeanSquaredError(), optimizer, callbacks=callbacks, rng=rng)
    inputs, after = training
    val_inputs, val_after = validation
    trainer.fit(
        inputs,
        after - inputs[:, -1],
        epochs=epochs,
        validation=(val_inputs, val_after - val_inputs[:, -1]),
    )


def forecast(model, inputs):
    """Return the next values ``(batch, horizon)``."""
    return inputs[:, -1] + model.predict(inputs)


def seasonal_naive(inputs, horizon, season):
    """Return the values one season before, ``(batch, horizon)``; the last one for a season of 1."""
    return inputs[:, np.arange(horizon) % season - season, 0]


def error(guess, truth):
    """Return the root of the mean squared error."""
    return float(np.sqrt(np.mean((guess - truth) ** 2)))


def build_and_score(series, options):
    """Train on the first part, score on the last; return the model, and its extras, and errors."""
    horizon, season = options.horizon, options.season
    length = options.length or max(3 * season, 2 * horizon)
    rng = np.random.default_rng(options.seed)

    # Split in time. Each part may read what was before it, but its targets are its own values.
    known, middle = len(series) * 70 // 100, len(series) * 85 // 100
    if min(known - length, middle - known, len(series) - middle) < horizon:
        stop(f"{options.file}: {len(series)} rows are too few to read {length} and say {horizon}")
    scaler = Scaler().fit(series[:known])
    scaled = scaler.transform(series)
    ends = [(0, known), (known - length, middle), (middle - length, len(series))]
    training, validation, test = (windows(scaled[a:b], length, horizon) for a, b in ends)

    model = build_model(horizon, rng)
    train(model, training, validation, 2 if options.quick else 60, rng)
    misses = np.abs(forecast(model, validation[0]) - validation[1])
    width = np.quantile(misses, 0.9, axis=0) * scaler.scale  # at each distance into the future

    inputs, truth = test
    guess, truth = scaler.inverse(forecast(model, inputs)), scaler.inverse(truth)
    last, before = inputs[:, -1], seasonal_naive(inputs, horizon, season)
    errors = {
        "GRU": error(guess, truth),
        "naive: the last value": error(scaler.inverse(last), truth),
        f"seasonal naive: {season} rows before": error(scaler.inverse(before), truth),
    }
    print(f"\n{len(truth)} forecasts of {horizon} values in the last part of the file")
    for name, value in errors.items():
        print(f"  {name:<36}{value:10.4g}   (root of the mean squared error)")
    inside = np.mean(np.abs(guess - truth) <= width)
    print(f"  {inside:.0%} of the values were inside the interval, made to hold 90 %")
    return model, {"scaler": scaler, "length": length, "width": width}, errors


def main(argv=None) -> int:
    parser = parser_for(__doc__, quick="2 epochs")
    add, number = parser.add_argument, whole_number(1)
    add("file", type=Path, nargs="?", default=SUNSPOTS, metavar="FILE.csv")
    add("--column", metavar="NAME", help="which column; default: the last")
    add("--horizon", type=number, default=10, metavar="N", help="rows to forecast (default 10)")
    add("--season", type=number, default=11, metavar="N", help="rows in a season, 1: none (11)")
    add("--length", type=number, metavar="N", help="rows to read; default: three seasons")
    add("--save", type=Path, metavar="FILE", help="write the model")
    add("--load", type=Path, metavar="FILE", help="forecast with a model that --save wrote")
    options = parser.parse_args(argv)
    series, column = read_column(options.file, options.column)
    errors = None
    if options.load:
        model = saved_model(options.load, "scaler", "length", "width")
        extras = model.extras
        if len(series) < extras["length"]:
            stop(f"{options.file}: {len(series)} rows are too few to read {extras['length']}")
    else:
        model, extras, errors = build_and_score(series, options)
    if options.save:
        save(model, options.save, **extras)
        print(f"Model: {options.save}")

    # What comes after the end of the file.
    scaler, length, width = extras["scaler"], extras["length"], extras["width"]
    latest = scaler.transform(series)[np.newaxis, -length:, np.newaxis]
    ahead = scaler.inverse(forecast(model, latest)[0])
    print(f"\n{column} after the end of the file:")
    for k, (value, half) in enumerate(zip(ahead, width, strict=True)):
        row = len(series) + 1 + k
        print(f"  row {row}: {value:10.4g}   from {value - half:.4g} to {value + half:.4g}")
    pictures.save(pictures.forecast, series, ahead, width, column)
    if options.file != SUNSPOTS or errors is None:
        return 0
    gru, naive, _ = errors.values()
    return verdict(options.quick, gru < 0.7 * naive, "30 % less error than the naive forecast")


if __name__ == "__main__":
    sys.exit(main())
