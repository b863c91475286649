"""From what a user hands to the trainer to batches of (inputs, targets, mask)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.data.batching import Batches
from minirnn.data.sequences import lengths_to_mask
from minirnn.typing import Array, Mask

__all__ = ["as_batches", "as_mask", "count_of", "real_steps", "run", "unpack", "validation_batches"]

_OWNER = "Trainer"


def as_batches(
    inputs: Any,
    targets: Any,
    mask: Any,
    lengths: Any,
    *,
    batch_size: int,
    shuffle: bool,
    rng: np.random.Generator,
) -> Iterable[Any]:
    """Return batches over arrays, or the batches that were given in place of arrays."""
    if targets is None:
        if mask is not None or lengths is not None:
            raise TypeError(
                f"{_OWNER}: mask and lengths go with arrays; a batch brings its own mask, as "
                f"(inputs, targets, mask)"
            )
        if isinstance(inputs, np.ndarray) or not isinstance(inputs, Iterable):
            raise TypeError(
                f"{_OWNER}: without targets, takes batches of (inputs, targets), got "
                f"{type(inputs).__name__}"
            )
        return inputs
    inputs = checks.as_array(_OWNER, inputs, "the input")
    targets = checks.as_array(_OWNER, targets, "the target")
    mask = as_mask(inputs, mask, lengths)
    arrays = (inputs, targets) if mask is None else (inputs, targets, mask)
    return Batches(*arrays, batch_size=batch_size, shuffle=shuffle, rng=rng)


def validation_batches(validation: Any, batch_size: int, rng: np.random.Generator) -> Any:
    """Return batches over ``(inputs, targets[, mask])``, or the batches given; None for None."""
    if validation is None:
        return None
    if isinstance(validation, tuple) and not isinstance(validation[0], tuple):
        x, y, mask = unpack(validation)
        return as_batches(x, y, mask, None, batch_size=batch_size, shuffle=False, rng=rng)
    arrays = isinstance(validation, list) and validation and hasattr(validation[0], "shape")
    if arrays or hasattr(validation, "shape") or not isinstance(validation, Iterable):
        raise TypeError(
            f"{_OWNER}: validation should be (inputs, targets) or (inputs, targets, mask) in round "
            f"brackets, or batches of these, got {type(validation).__name__}"
        )
    refuse_generator(validation, "validation")
    return validation


def refuse_generator(batches: Any, what: str = "the batches") -> None:
    """Raise if `batches` can be gone through only once."""
    if isinstance(batches, Iterator):
        raise TypeError(
            f"{_OWNER}: {what}: a generator is used up after one epoch; pass a list, or an object "
            f"whose __iter__ begins anew"
        )


def as_mask(inputs: Array, mask: Any, lengths: Any) -> Mask | None:
    """Return the mask over ``inputs (examples, time, ...)`` that a mask or lengths stand for."""
    if mask is not None and lengths is not None:
        raise TypeError(f"{_OWNER}: takes a mask or lengths, got both")
    if mask is None and lengths is None:
        return None
    if inputs.ndim < 2:
        raise ValueError(
            f"{_OWNER}: a mask needs inputs with a time axis, got shape {inputs.shape}"
        )
    if lengths is not None:
        mask = lengths_to_mask(lengths, inputs.shape[1])
    return checks.as_mask(_OWNER, mask, inputs.shape[:2])


def unpack(batch: Any) -> tuple[Any, Any, Any]:
    """Return inputs, targets, and the mask or None."""
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        got = f"{type(batch).__name__}"
        got += f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise TypeError(
            f"{_OWNER}: a batch should be (inputs, targets) or (inputs, targets, mask), got {got}"
        )
    return batch[0], batch[1], batch[2] if len(batch) == 3 else None


def count_of(batches: Any) -> int | None:
    """Return how many batches there are, where that is known."""
    try:
        return len(batches)
    except TypeError:
        return None


def run(model: Layer, inputs: Any, mask: Any) -> Array:
    """Return the model's output, with the mask if the model takes one."""
    if mask is not None and model.uses_mask:
        return model.forward(inputs, mask)  # type: ignore[no-any-return]
    return model.forward(inputs)  # type: ignore[no-any-return]


def real_steps(model: Layer, prediction: Array, mask: Any) -> Any:
    """Return the mask if it still says anything of the prediction.

    Once the time axis is gone there is one prediction a sequence, even if its shape happens to be
    that of the mask.
    """
    if mask is None or not model.keeps_time or np.ndim(prediction) < 3:
        return None
    return mask
