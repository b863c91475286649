"""What the scripts share: options, progress, the verdict at the end, texts of one's own."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minirnn import CheckpointError, load


def parser_for(description: str, *, quick: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every script: --seed and --quick."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--quick", action="store_true", help=f"{quick}; no score to reach")
    return parser


def counting(count: int, label: str, unit: str = "update") -> Iterator[int]:
    """Count from 1 with a progress bar, or with a line every ten seconds where there is none."""
    if sys.stderr.isatty():
        yield from tqdm(range(1, count + 1), desc=label, unit=unit, leave=False)
        return
    latest = time.monotonic()
    for k in range(1, count + 1):
        yield k
        if time.monotonic() > latest + 10:
            latest = time.monotonic()
            print(f"{label}: {k:,} of {count:,} {unit}s", flush=True)


def verdict(quick: bool, reached: bool, goal: str) -> int:
    """Say whether the goal was reached; return the exit status."""
    if quick:
        print("Quick setting: no score is demanded.")
        return 0
    print(f"{'Reached' if reached else 'Missed'}: {goal}.")
    return 0 if reached else 1


def stop(message: str) -> Any:
    """End the script with one line."""
    raise SystemExit(f"{Path(sys.argv[0]).name}: {message}")


def whole_number(low: int) -> Callable[[str], int]:
    """Return what checks an option that counts from `low`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(f"should be a whole number from {low}, got {text}")
        return int(text)

    return number


def read_text(path: Path) -> str:
    """Return the UTF-8 text of a file, or end the script with what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        stop(f"{path} is not a UTF-8 text")
    except OSError as error:
        stop(f"{path} cannot be read: {error.strerror}")
    if "\0" in text:
        stop(f"{path} is a binary file, not a text")
    if not text.strip():
        stop(f"{path} is empty")
    return text


def saved_model(path: Path, *extras: str) -> Any:
    """Return a model that `minirnn.save` wrote, with these among its `extras`."""
    try:
        model = load(path)
    except (OSError, CheckpointError) as error:
        stop(f"{path} is not a model that --save wrote: {error}")
    missing = [name for name in extras if name not in model.extras]
    if missing:
        stop(f"{path} is not a model that this script wrote: it has no {', '.join(missing)}")
    return model
