"""What a recorder found, in plain words, and where healthy ends."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from minirnn.insight.records import MARGIN, Record, RecurrentRecord
from minirnn.typing import Array

# Of `RecurrentRecord.reach` at the far end.
VANISHES, FADES, GROWS, EXPLODES = 1e-5, 1e-2, 1e2, 1e5
_VERDICTS = ("it vanishes", "it fades", "healthy", "it grows", "it explodes")
# Share of the values within MARGIN of a bound: of a sigmoid gate the lower one, since a forget gate
# that is always open is how an LSTM remembers; of anything else either, and half is common in a
# network that has learned to keep symbols. Share of the units of a ReLU that are always 0.
NEARLY_ALL, DEAD = 0.9, 0.25
# Median over the steps of norm(update) / norm(weight); 0.001 is a common rule of thumb.
TOO_SMALL, TOO_LARGE = 1e-6, 1e-1


class Finding(NamedTuple):
    """One sentence of the report."""

    name: str
    """Dotted name of the layer or parameter, or "updates"."""
    healthy: bool
    text: str


def findings(records: Iterable[Record], ratios: Mapping[str, Array] | None) -> list[Finding]:
    """Return the findings on each layer, in the order of the records, then on the updates.

    `ratios` maps the names of weights to ``norm(update) / norm(weight)`` at each step; None where
    no updates were recorded.
    """
    found = []
    for record in records:
        gradient = [_of_gradient(record)] if isinstance(record, RecurrentRecord) else []
        found += [Finding(record.whose, *said) for said in gradient + _of_signals(record)]
    return found if ratios is None else found + _of_updates(ratios)


def in_words(found: list[Finding]) -> str:
    """Return the findings as lines, with a last one that counts."""
    lines = [f"{finding.name}: {finding.text}" for finding in found]
    count = sum(not finding.healthy for finding in found)
    things = "1 thing" if count == 1 else f"{count} things"
    lines.append(f"{things} to look at." if count else "Healthy: nothing stands out.")
    return "\n".join(lines)


# ---------------------------------------------------------------- gradients


def _of_gradient(layer: RecurrentRecord) -> tuple[bool, str]:
    """Return whether the gradient on the state is healthy, and a sentence."""
    if layer.reach is None:
        return True, "no backward was recorded, so nothing is known of its gradient."
    nowhere = False if layer.gradient_mask is None else ~layer.gradient_mask.any(axis=0)
    if not (np.isfinite(layer.gradient_norms) | nowhere).all():
        return False, "the gradient on its state is not finite."
    steps = np.flatnonzero(~np.isnan(layer.reach))
    if not len(steps):
        return False, "the gradient on its state is 0: nothing of the loss arrives here."
    if len(steps) == 1:
        return True, "the gradient is on one step only: there is no way back in time to judge."
    steps = steps[::-1] if layer.reverse else steps
    first, last = int(steps[0]), int(steps[-1])
    ratio = float(layer.reach[first])
    verdict = _VERDICTS[bisect((VANISHES, FADES, GROWS, EXPLODES), ratio)]
    amount = "0" if ratio == 0 else f"{ratio:.1g}" if ratio < 0.095 else f"{ratio:.2g}"
    text = f"the gradient reaching step {first} is {amount} of that at step {last}: {verdict}."
    if ratio < FADES:
        back = abs(int(steps[layer.reach[steps] < FADES][-1]) - last)
        text += f" It falls below {_percent(FADES)} within {back} step{'s' * (back != 1)}."
    return verdict == "healthy", text


# ---------------------------------------------------------------- gates and activations


def _of_signals(record: Record) -> list[tuple[bool, str]]:
    """Return what is to be said of the values at bounds: what is wrong, or that nothing is."""
    if not record.signals:
        return [(True, "no forward was recorded.")]
    shares = record.saturation()
    said = []
    for signal, share in shares.items():
        low, high = record.bounds[signal]
        gate = isinstance(record, RecurrentRecord) and signal in record.gates and low == 0
        if gate and share.low > NEARLY_ALL:
            text = f"gate {signal} is closed nearly always: {_percent(share.low)} of its values are"
            said.append((False, f"{text} below {low + MARGIN * (high - low):g}."))
        elif not gate and share.total > NEARLY_ALL:
            text = f"{signal} is saturated: {_percent(share.total)} of its values are within 5 % of"
            said.append((False, f"{text} {low:g} or {high:g}, where hardly any gradient passes."))
    if record.dead is not None:
        healthy = not record.dead > DEAD
        text = f"{_percent(record.dead)} of its units are 0 for every input"
        said.append((healthy, f"{text}: {'healthy' if healthy else 'they are dead'}."))
    elif shares and not said:
        listed = ", ".join(f"{signal} {_percent(share.total)}" for signal, share in shares.items())
        said.append((True, f"values within 5 % of a bound: {listed}: healthy."))
    return said


# ---------------------------------------------------------------- updates


def _of_updates(ratios: Mapping[str, Array]) -> list[Finding]:
    if not ratios or not len(next(iter(ratios.values()))):
        return [Finding("updates", True, "no step of the optimizer was recorded.")]
    median = {name: float(np.median(steps)) for name, steps in ratios.items()}
    found = []
    for name, ratio in median.items():
        if ratio > TOO_LARGE or ratio < TOO_SMALL:
            large = "too large; try a smaller learning rate"
            verdict = large if ratio > TOO_LARGE else "hardly anything is learned here"
            text = f"a typical update is {ratio:.1g} of the weight: {verdict}."
            found.append(Finding(name, False, text))
    if not found:
        ends = [f"{end:.1g}" for end in (min(median.values()), max(median.values()))]
        size = ends[0] if ends[0] == ends[1] else f"between {ends[0]} and {ends[1]}"
        text = f"a typical update is {size} of the weight: healthy."
        found.append(Finding("updates", True, text))
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
