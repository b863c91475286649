"""The contract of a layer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.core import Layer
from minirnn.gradcheck.arrays import mapped
from minirnn.masks import refuse_lost
from minirnn.testing.arrays import cast, changed, copied, flat, same
from minirnn.testing.findings import first_wrong_gradients, what_padding_changes
from minirnn.testing.layer_calls import (
    copies,
    gradients_add,
    latest_forward,
    refused_calls,
    state_dict,
    train_and_eval,
)
from minirnn.testing.report import Advice, NotApplicableError
from minirnn.testing.subject import LayerSubject, Subject, draw
from minirnn.typing import Array

# ---------------------------------------------------------------- gradients and masks


def gradients(s: Subject) -> Iterator[str]:
    """Compare every gradient with central differences, until one is wrong."""
    yield from first_wrong_gradients(s.thing, s.variants())


def padding(s: LayerSubject) -> Iterator[str]:
    """Put anything into the padding, and each sequence alone beside the padded batch."""
    if not s.thing.uses_mask:
        refuse_lost(s.thing)
        raise NotApplicableError("the layer takes no mask (uses_mask is False)")
    yield from what_padding_changes(s, "x = np.where(mask[:, :, None], x, 0)")
    mask, x = s.masks()["padding at the end"], s.sequence()
    together = s.made().eval().forward(*s.padded(mask, 0, 0), mask=mask)
    for row, length in enumerate(mask.sum(axis=1)):
        alone = s.made().eval().forward(x[row : row + 1, :length])
        ours = together[row : row + 1]
        if s.thing.keeps_time and together.ndim > 2:
            ours = ours[:, :length]
        if not same(alone, ours):
            yield (
                f"sequence {row} of {length} steps gives other numbers in a padded batch than "
                f"alone: a mean, a reversal or a state runs over the padding"
            )
            return


# ---------------------------------------------------------------- arrays


def dtype(s: LayerSubject) -> Iterator[str]:
    """Run in float32 and in float64."""
    floats = flat(s.inputs)[0].dtype.kind == "f"
    learned = bool(s.made().parameters())
    if learned or floats or s.x is None:
        yield from other_dtypes(s)
    if learned and floats:
        y = s.made(np.float32).forward(*s.inputs)
        if y.dtype != np.float32:
            yield Advice(
                f"with float32 parameters, a float64 input gives {y.dtype}: cast it once where it "
                f"comes in, x = np.asarray(x, self.W.value.dtype)"
            )


def other_dtypes(s: Subject) -> Iterator[str]:
    """Say which results have another dtype than inputs and parameters."""
    tokens = any(array.dtype.kind != "f" for array in flat(s.inputs))
    for kind in (np.float32, np.float64):
        for name, value in s.results(s.made(kind), cast(s.inputs, kind)).items():
            wrong = [a.dtype for a in flat(value) if a.dtype.kind == "f" and a.dtype != kind]
            if wrong and not (tokens and name == "the gradient on the input"):
                yield (
                    f"{name} is {wrong[0]} for {np.dtype(kind)} inputs and parameters: is there an "
                    f"array made without a dtype? np.zeros(shape, x.dtype)"
                )


def arrays(s: LayerSubject) -> Iterator[str]:
    """Hand over read-only and strided arrays, and look whether results share memory."""
    layer = s.made()
    y = layer.forward(*mapped(s.inputs, _awkward))
    found = {"the output": y} | s.after(layer, _awkward(draw(y)))
    if not same(s.results(s.made(), s.inputs), found):
        yield "read-only arrays that are not contiguous give other numbers than plain ones"
    for name, parameter in layer.named_parameters():
        for what in ("the output", "the gradient on the input"):
            if any(np.shares_memory(a, parameter.value) for a in flat(found[what])):
                yield f"{what} is a view of {name}, so a training step changes it: return a copy"


def _awkward(array: Array) -> Array:
    if array.ndim == 0:
        return array
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    strided = wide[..., ::2]
    strided.flags.writeable = False
    return strided


def later_calls(s: Subject) -> Iterator[str]:
    """Keep what calls return, go on, and look whether it still stands there."""
    thing = s.made()
    kept = s.results(thing, s.inputs)
    before = copied(kept)
    if isinstance(thing, Layer):
        thing.reset_state()
    s.results(thing, s.others(), seed=2)
    for parameter in thing.parameters() if isinstance(thing, Layer) else ():
        parameter.value += 1
    for name in changed(before, kept):
        yield f"{name} of a call is changed by the next one: return a new array each time"


def steps(s: LayerSubject) -> Iterator[str]:
    """Run one step after the other, and compare with forward over the sequence."""
    x = s.sequence()
    layer = s.made().eval()
    layer.reset_state()
    try:
        outputs = [layer.step(x[:, t]) for t in range(x.shape[1])]
    except (ValueError, NotImplementedError) as error:
        raise NotApplicableError(f"step refuses: {error}") from None
    for t, y_t in enumerate(outputs):
        full = s.made().eval()
        full.reset_state()
        y = full.forward(x[:, : t + 1])
        expected = y[:, -1] if s.thing.keeps_time and y.ndim > 2 else y
        if not same(np.asarray(y_t), expected):
            yield (
                f"step {t} gives other numbers than forward over the steps up to it: a layer that "
                f"remembers, or looks at several steps, writes a step(x_t) of its own (or refuses "
                f"it with a ValueError) and a reset_state"
            )
            return
    layer.reset_state()
    if not same(outputs, [layer.step(x[:, t]) for t in range(x.shape[1])]):
        yield "after reset_state, the same steps give other numbers: it should forget everything"


LAYER = [
    gradients,
    padding,
    dtype,
    arrays,
    later_calls,
    latest_forward,
    gradients_add,
    steps,
    train_and_eval,
    copies,
    state_dict,
    refused_calls,
]
