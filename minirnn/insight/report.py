"""What a recorder found, in plain words.

Gradients on the state
    By `RecurrentRecord.reach` at the far end: the part of a gradient that comes in at the latest
    step and arrives at the first one. Below `VANISHES` it vanishes, below `FADES` it fades, above
    `GROWS` it grows, above `EXPLODES` it explodes; in between it is healthy.

Gates and activations
    A value is at a bound if it is within 5 % of the range from it. A sigmoid gate is closed nearly
    always if more than `NEARLY_ALL` of its values are at 0. (Open nearly always is no fault: an
    LSTM that remembers keeps its forget gate open.) A tanh, or a sigmoid that is not a gate, is
    saturated if more than `NEARLY_ALL` of its values are at either bound; half of them is common in
    a network that has learned to keep symbols. At most `DEAD` of the units of a ReLU should be 0
    for every input.

Updates
    By the median over the recorded steps of norm(update) / norm(weight). Above `TOO_LARGE` the
    learning rate is too large, below `TOO_SMALL` hardly anything is learned; about 0.001 is a
    common rule of thumb. Biases, which begin at zero, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from minirnn.insight.records import ActivationRecord, RecurrentRecord, Saturation
from minirnn.typing import Array, Mask

__all__ = ["Finding", "findings", "in_words"]

VANISHES, FADES, GROWS, EXPLODES = 1e-5, 1e-2, 1e2, 1e5
NEARLY_ALL, DEAD = 0.9, 0.25
TOO_SMALL, TOO_LARGE = 1e-6, 1e-1


class Finding(NamedTuple):
    """One sentence of the report.

    Attributes
    ----------
    name : str
        Dotted name of the layer or parameter, or "updates".
    healthy : bool
    text : str
    """

    name: str
    healthy: bool
    text: str


def findings(
    layers: Iterable[RecurrentRecord],
    activations: Iterable[ActivationRecord],
    ratios: Mapping[str, Array] | None,
) -> list[Finding]:
    """Return the findings on each layer, in the order of the model, then on the updates.

    Parameters
    ----------
    layers, activations : iterables of records
    ratios : mapping from names of weights to arrays (steps,), or None
        ``norm(update) / norm(weight)``; None where no updates were recorded.
    """
    found: list[Finding] = []
    for layer in layers:
        found += [_of_gradient(layer), *_of_gates(layer)]
    found += map(_of_activation, activations)
    return found if ratios is None else found + _of_updates(ratios)


def in_words(found: list[Finding]) -> str:
    """Return the findings as lines, with a last one that counts."""
    lines = [f"{finding.name}: {finding.text}" for finding in found]
    count = sum(not finding.healthy for finding in found)
    things = "1 thing" if count == 1 else f"{count} things"
    lines.append(f"{things} to look at." if count else "Healthy: nothing stands out.")
    return "\n".join(lines)


# ---------------------------------------------------------------- gradients


def _of_gradient(layer: RecurrentRecord) -> Finding:
    def say(healthy: bool, text: str) -> Finding:
        return Finding(f"{layer.name} ({layer.kind})", healthy, text)

    if layer.reach is None:
        return say(True, "no backward was recorded, so nothing is known of its gradient.")
    if not np.isfinite(layer.gradient_norms[_counted(layer)]).all():
        return say(False, "the gradient on its state is not finite.")
    steps = np.flatnonzero(~np.isnan(layer.reach))
    if not len(steps):
        return say(False, "the gradient on its state is 0: nothing of the loss arrives here.")
    if layer.reverse:
        steps = steps[::-1]
    first, last = steps[0], steps[-1]
    if first == last:
        return say(True, "the gradient is on one step only: there is no way back in time to judge.")
    ratio = float(layer.reach[first])
    verdict, healthy = _verdict(ratio)
    amount = "0" if ratio == 0 else f"{ratio:.1g}" if ratio < 0.095 else f"{ratio:.2g}"
    text = f"the gradient reaching step {first} is {amount} of that at step {last}: {verdict}."
    lost = [int(t) for t in steps if layer.reach[t] < FADES]
    if not healthy and ratio < 1 and lost:
        back = abs(lost[-1] - int(last))
        text += f" It falls below {_percent(FADES)} within {back} step{'s' * (back != 1)}."
    return say(healthy, text)


def _counted(layer: RecurrentRecord) -> Mask:
    mask = layer.gradient_mask
    return np.ones(len(layer.gradient_norms), bool) if mask is None else np.any(mask, axis=0)


def _verdict(ratio: float) -> tuple[str, bool]:
    if ratio < VANISHES:
        return "it vanishes", False
    if ratio < FADES:
        return "it fades", False
    if ratio > EXPLODES:
        return "it explodes", False
    if ratio > GROWS:
        return "it grows", False
    return "healthy", True


# ---------------------------------------------------------------- saturation


def _of_gates(layer: RecurrentRecord) -> list[Finding]:
    if not layer.states:
        return []
    name = f"{layer.name} ({layer.kind})"
    found = []
    shares = layer.saturation()
    for signal, share in shares.items():
        low, high = layer.bounds[signal]
        gate = signal in layer.gates and low == 0
        if gate and share.low > NEARLY_ALL:
            text = f"gate {signal} is closed nearly always: {_percent(share.low)} of its values "
            found.append(Finding(name, False, f"{text}are below {low + 0.05 * (high - low):g}."))
        elif not gate and share.total > NEARLY_ALL:
            found.append(_saturated(name, f"{signal} is", share, (low, high)))
    if layer.dead is not None:
        found.append(_dead(name, layer.dead))
    if shares and all(finding.healthy for finding in found):
        listed = ", ".join(f"{signal} {_percent(share.total)}" for signal, share in shares.items())
        found.append(Finding(name, True, f"values within 5 % of a bound: {listed}: healthy."))
    return found


def _of_activation(activation: ActivationRecord) -> Finding:
    name = f"{activation.name} ({activation.kind})"
    if activation.latest is None:
        return Finding(name, True, "no forward was recorded.")
    if activation.dead is not None:
        return _dead(name, activation.dead)
    share, bounds = activation.saturation(), activation.bounds
    assert share is not None
    assert bounds is not None
    if share.total > NEARLY_ALL:
        return _saturated(name, "it is", share, bounds)
    return Finding(
        name, True, f"{_percent(share.total)} of its values are within 5 % of a bound: healthy."
    )


def _saturated(name: str, subject: str, share: Saturation, bounds: tuple[float, float]) -> Finding:
    low, high = bounds
    return Finding(
        name,
        False,
        f"{subject} saturated: {_percent(share.total)} of its values are within 5 % of {low:g} or "
        f"{high:g}, where hardly any gradient passes.",
    )


def _dead(name: str, share: float) -> Finding:
    healthy = not share > DEAD
    text = f"{_percent(share)} of its units are 0 for every input"
    return Finding(name, healthy, f"{text}: healthy." if healthy else f"{text}: they are dead.")


# ---------------------------------------------------------------- updates


def _of_updates(ratios: Mapping[str, Array]) -> list[Finding]:
    if not ratios or not len(next(iter(ratios.values()))):
        return [Finding("updates", True, "no step of the optimizer was recorded.")]
    median = {name: float(np.median(steps)) for name, steps in ratios.items()}
    found = [
        Finding(
            name,
            False,
            f"a typical update is {ratio:.1g} of the weight: too large; try a smaller learning "
            f"rate."
            if ratio > TOO_LARGE
            else f"a typical update is {ratio:.1g} of the weight: hardly anything is learned here.",
        )
        for name, ratio in median.items()
        if ratio > TOO_LARGE or ratio < TOO_SMALL
    ]
    if not found:
        ends = [f"{end:.1g}" for end in (min(median.values()), max(median.values()))]
        size = ends[0] if ends[0] == ends[1] else f"between {ends[0]} and {ends[1]}"
        text = f"a typical update is {size} of the weight: healthy."
        found.append(Finding("updates", True, text))
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
