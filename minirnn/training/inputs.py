"""From what a user hands to the trainer to batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minirnn import checks
from minirnn.data.batches import Batches
from minirnn.data.nested import each
from minirnn.data.sequences import lengths_to_mask


class Batch(NamedTuple):
    """What one update is made from; each but the weights may be nested, see `data.nested`."""

    inputs: Any
    targets: Any = None
    mask: Any = None
    target_mask: Any = None
    sample_weight: Any = None


def as_batch(batch: Any) -> Batch:
    """Return what a user's iterable yields as a `Batch`."""
    if isinstance(batch, Batch):
        return batch
    if not isinstance(batch, tuple | list) or not 2 <= len(batch) <= 5:
        raise TypeError(
            f"Trainer: a batch should be (inputs, targets), with mask, target_mask and "
            f"sample_weight behind them where there are any, got {checks.kind_of(batch)}"
        )
    return Batch(*batch)


def as_batches(
    data: Batch,
    lengths: Any = None,
    *,
    batch_size: int | None,
    shuffle: bool = False,
    rng: np.random.Generator,
) -> Iterable[Any]:
    """Return batches over arrays, or the batches that were given in place of arrays."""
    if data.targets is None:
        others = {**data._asdict(), "inputs": None, "lengths": lengths, "batch_size": batch_size}
        wrong = [name for name, value in others.items() if value is not None]
        if wrong:
            raise TypeError(
                f"Trainer: {' and '.join(wrong)} {'goes' if len(wrong) == 1 else 'go'} with arrays "
                f"of inputs and targets; batches bring their own size, and masks as (inputs, "
                f"targets, mask)"
            )
        if not _are_batches(data.inputs):
            raise TypeError(
                f"Trainer: there are inputs and no targets; pass both, or batches of (inputs, "
                f"targets); got {checks.kind_of(data.inputs)}"
            )
        return data.inputs  # type: ignore[no-any-return]
    inputs, target_mask = as_arrays(data.inputs), data.target_mask
    if target_mask is not None:
        of_each = np.shape(target_mask if isinstance(data.targets, tuple | dict) else data.targets)
        shape = of_each[: np.ndim(target_mask)]
        target_mask = checks.as_mask("Trainer: target_mask", target_mask, shape)
    whole = data._replace(
        inputs=inputs, mask=as_mask(inputs, data.mask, lengths), target_mask=target_mask
    )
    size = 32 if batch_size is None else batch_size
    return Batches(*whole, batch_size=size, shuffle=shuffle, rng=rng)


def validation_batches(validation: Any, batch_size: int | None, rng: np.random.Generator) -> Any:
    """Return batches over ``(inputs, targets[, mask[, ...]])``, or those given; None for None."""
    if validation is None:
        return None
    several = isinstance(validation, tuple) and len(validation) > 1
    if several and not all(isinstance(one, tuple) for one in validation):  # as batches would be
        return as_batches(as_batch(validation), batch_size=batch_size, rng=rng)
    if not _are_batches(validation):
        hint = "; take inputs and targets out of it" * isinstance(validation, dict)
        raise TypeError(
            f"Trainer: validation should be (inputs, targets) or (inputs, targets, mask) in round "
            f"brackets, or batches of these, got {checks.kind_of(validation)}{hint}"
        )
    refuse_generator(validation, "validation")
    return validation


def _are_batches(given: Any) -> bool:
    """Return whether it may be batches: something to go through that is not made of arrays."""
    if isinstance(given, list | tuple):
        return not any(hasattr(item, "shape") for item in given[:1])
    arrays = isinstance(given, dict | str) or hasattr(given, "shape")
    return isinstance(given, Iterable) and not arrays


def refuse_generator(batches: Any, what: str = "the batches") -> None:
    """Raise if `batches` can be gone through only once."""
    if isinstance(batches, Iterator):
        raise TypeError(
            f"Trainer: {what}: a generator is used up after one epoch; pass a list, or an object "
            f"whose __iter__ begins anew"
        )


def as_arrays(inputs: Any) -> Any:
    """Return the inputs, one or several, as arrays."""
    if isinstance(inputs, list) and inputs and all(np.ndim(x) > 1 for x in inputs):
        shapes = {np.shape(x) for x in inputs}
        if len(shapes) > 1 and len({shape[0] for shape in shapes}) == 1:
            raise TypeError(
                f"Trainer: the inputs are a list of {len(inputs)} arrays; several inputs of a "
                f"model go in round brackets, as a tuple, or in a dictionary"
            )
    return each(lambda x: checks.as_array("Trainer", x, "the input"), inputs)


def as_mask(inputs: Any, mask: Any, lengths: Any = None) -> Any:
    """Return the mask over ``inputs (examples, time, ...)`` that a mask or lengths stand for.

    For several inputs, a mask for each in the form of the inputs (None where there is none).
    """
    if mask is not None and lengths is not None:
        raise TypeError("Trainer: takes a mask or lengths, got both")
    given = mask if lengths is None else lengths
    if given is None:
        return None
    if isinstance(inputs, tuple | dict):
        keys = _keys(inputs)
        if type(given) is not type(inputs) or set(_keys(given)) != set(keys):
            raise TypeError(
                f"Trainer: with several inputs, there should be a mask for each, or lengths, in "
                f"the form of the inputs ({checks.kind_of(inputs)}), got {checks.kind_of(given)}; "
                f"for the targets, pass target_mask"
            )
        masks = [as_mask(inputs[k], mask and mask[k], lengths and lengths[k]) for k in keys]
        return dict(zip(keys, masks, strict=True)) if isinstance(inputs, dict) else tuple(masks)
    shape = np.shape(inputs)
    if len(shape) < 2:
        raise ValueError(f"Trainer: a mask needs inputs with a time axis, got shape {shape}")
    if lengths is not None:
        mask = lengths_to_mask(lengths, shape[1])
    return checks.as_mask("Trainer", mask, shape[:2])


def _keys(inputs: Any) -> list[Any]:
    return list(inputs) if isinstance(inputs, dict) else list(range(len(inputs)))


def count_of(batches: Any) -> int | None:
    """Return how many batches there are, where that is known."""
    try:
        return len(batches)
    except TypeError:
        return None
