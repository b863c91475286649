"""From what a user hands to the trainer to batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minirnn import checks
from minirnn.data.batches import Batches
from minirnn.data.nested import each, is_nested, leaves
from minirnn.data.sequences import lengths_to_mask
from minirnn.typing import Array

__all__ = [
    "ArrayBatches",
    "Batch",
    "as_arrays",
    "as_batch",
    "as_batches",
    "as_mask",
    "count_of",
    "validation_batches",
]

_OWNER = "Trainer"


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
    if not isinstance(batch, tuple | list) or not 2 <= len(batch) <= 4:
        got = f"{type(batch).__name__}"
        got += f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        got = _told(batch) if isinstance(batch, dict) else got
        raise TypeError(
            f"{_OWNER}: a batch should be (inputs, targets), (inputs, targets, mask) or (inputs, "
            f"targets, mask, target_mask), got {got}"
        )
    return Batch(*batch)


class ArrayBatches(Batches):
    """The arrays that `fit` was given, cut into batches; `whole` is all of them."""

    def __init__(self, whole: Batch, **options: Any) -> None:
        given = {name: array for name, array in whole._asdict().items() if array is not None}
        super().__init__(*given.values(), **options)
        self.whole, self._names = whole, list(given)

    def take(self, examples: Any) -> Batch:
        """Return the batch of these examples, given as integers ``(batch,)``."""
        return Batch(**dict(zip(self._names, super().take(examples), strict=True)))


def as_batches(
    data: Batch,
    lengths: Any,
    *,
    batch_size: int | None,
    shuffle: bool,
    rng: np.random.Generator,
) -> Iterable[Any]:
    """Return batches over arrays, or the batches that were given in place of arrays."""
    if data.targets is None:
        return _given_batches(data, {"lengths": lengths, "batch_size": batch_size})
    inputs = as_arrays(data.inputs)
    targets = each(lambda y: checks.as_array(_OWNER, y, "the target"), data.targets)
    mask = as_mask(inputs, data.mask, lengths)
    target_mask = _target_mask(data.target_mask, targets)
    whole = Batch(inputs, targets, mask, target_mask, data.sample_weight)
    size = 32 if batch_size is None else batch_size
    return ArrayBatches(whole, batch_size=size, shuffle=shuffle, rng=rng)


def _given_batches(data: Batch, options: dict[str, Any]) -> Iterable[Any]:
    """Return the batches, if that is what came without targets, and nothing came beside them."""
    others = {**data._asdict(), **options}
    wrong = [name for name, value in others.items() if name != "inputs" and value is not None]
    if wrong:
        raise TypeError(
            f"{_OWNER}: {' and '.join(wrong)} {'goes' if len(wrong) == 1 else 'go'} with "
            f"arrays of inputs and targets; batches bring their own size, and masks as "
            f"(inputs, targets, mask)"
        )
    batches = data.inputs
    if is_nested(batches) and all(hasattr(leaf, "shape") for _, leaf in leaves(batches)):
        raise TypeError(f"{_OWNER}: there are inputs and no targets; write fit(inputs, targets)")
    if isinstance(batches, np.ndarray | str) or not isinstance(batches, Iterable):
        raise TypeError(
            f"{_OWNER}: without targets, takes batches of (inputs, targets), got "
            f"{type(batches).__name__}"
        )
    return batches


def validation_batches(validation: Any, batch_size: int | None, rng: np.random.Generator) -> Any:
    """Return batches over ``(inputs, targets[, mask[, ...]])``, or those given; None for None."""
    if validation is None:
        return None
    if isinstance(validation, tuple) and len(validation) > 1 and not is_nested(validation[1]):
        data = as_batch(validation)
        return as_batches(data, None, batch_size=batch_size, shuffle=False, rng=rng)
    if isinstance(validation, dict) or _is_arrays(validation):
        got = type(validation).__name__
        if isinstance(validation, dict):
            got = f"{_told(validation)}; take inputs and targets out of it"
        raise TypeError(
            f"{_OWNER}: validation should be (inputs, targets) or (inputs, targets, mask) in round "
            f"brackets, or batches of these, got {got}"
        )
    refuse_generator(validation, "validation")
    return validation


def _told(given: dict[Any, Any]) -> str:
    """Return what an error says of a dictionary that came in place of a tuple."""
    keys = ", ".join(map(repr, given))
    return f"a dictionary with the keys {keys}" if keys else "an empty dictionary"


def _is_arrays(validation: Any) -> bool:
    """Return whether it is an array, a list of arrays, or nothing that batches could be."""
    if isinstance(validation, list):
        return bool(validation) and hasattr(validation[0], "shape")
    return hasattr(validation, "shape") or not isinstance(validation, Iterable)


def refuse_generator(batches: Any, what: str = "the batches") -> None:
    """Raise if `batches` can be gone through only once."""
    if isinstance(batches, Iterator):
        raise TypeError(
            f"{_OWNER}: {what}: a generator is used up after one epoch; pass a list, or an object "
            f"whose __iter__ begins anew"
        )


def as_arrays(inputs: Any) -> Any:
    """Return the inputs, one or several, as arrays."""
    if isinstance(inputs, list) and inputs and all(np.ndim(x) > 1 for x in inputs):
        shapes = {np.shape(x) for x in inputs}
        if len(shapes) > 1 and len({shape[0] for shape in shapes}) == 1:
            raise TypeError(
                f"{_OWNER}: the inputs are a list of {len(inputs)} arrays; several inputs of a "
                f"model go in round brackets, as a tuple, or in a dictionary"
            )
    return each(lambda x: checks.as_array(_OWNER, x, "the input"), inputs)


def as_mask(inputs: Any, mask: Any, lengths: Any) -> Any:
    """Return the mask over ``inputs (examples, time, ...)`` that a mask or lengths stand for.

    For several inputs, a mask for each in the form of the inputs (None where there is none).
    """
    if mask is not None and lengths is not None:
        raise TypeError(f"{_OWNER}: takes a mask or lengths, got both")
    if mask is None and lengths is None:
        return None
    if is_nested(inputs):
        masks, lengths = (_one_for_each(inputs, given) for given in (mask, lengths))
        found = {key: as_mask(inputs[key], masks[key], lengths[key]) for key in masks}
        return found if isinstance(inputs, dict) else tuple(found.values())
    shape = np.shape(inputs)
    if len(shape) < 2:
        raise ValueError(f"{_OWNER}: a mask needs inputs with a time axis, got shape {shape}")
    if lengths is not None:
        mask = lengths_to_mask(lengths, shape[1])
    return checks.as_mask(_OWNER, mask, shape[:2])


def _one_for_each(inputs: Any, given: Any) -> dict[Any, Any]:
    """Return masks or lengths by the keys of several inputs; None for each where there are none."""
    keys = list(inputs) if isinstance(inputs, dict) else list(range(len(inputs)))
    if given is None:
        return dict.fromkeys(keys)
    found = list(given) if isinstance(given, dict) else list(range(len(given)))
    if type(given) is not type(inputs) or set(found) != set(keys):
        form, got = f"a {type(inputs).__name__} of {len(inputs)}", type(given).__name__
        if isinstance(inputs, dict):
            form = f"a dictionary of {keys}"
        if isinstance(given, dict):
            got = f"a dictionary of {found}"
        raise TypeError(
            f"{_OWNER}: with several inputs, there should be a mask for each, or lengths, in the "
            f"form of the inputs ({form}), got {got}; for the targets, pass target_mask"
        )
    return {key: given[key] for key in keys}


def _target_mask(mask: Any, targets: Any) -> Array | None:
    if mask is None:
        return None
    array = checks.as_array(_OWNER, mask, "target_mask")
    if not is_nested(targets) and array.shape != targets.shape[: array.ndim]:
        raise ValueError(
            f"{_OWNER}: target_mask should have shape {targets.shape[:2]} (batch, time), as the "
            f"targets {targets.shape}, got {array.shape}"
        )
    return checks.as_mask(_OWNER, array, array.shape)


def count_of(batches: Any) -> int | None:
    """Return how many batches there are, where that is known."""
    try:
        return len(batches)
    except TypeError:
        return None
