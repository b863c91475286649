"""Arrays in batches: what a training loop goes through, as often as it likes."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.data.nested import each, is_nested, leaves
from minirnn.data.shuffling import ShuffledBatches
from minirnn.typing import Array, RandomSource

__all__ = ["Batches"]


class Batches(ShuffledBatches):
    """Arrays, cut along axis 0.

    Parameters
    ----------
    *arrays : arrays (examples, ...)
        Inputs, targets, and where there are any, the mask of the inputs and that of the targets.
        All of the same length. Each may be a tuple or a dictionary of arrays; of several masks,
        one may be None.
    batch_size : int
        Examples a batch; the last batch has what is left.
    shuffle : bool
        A new random order at each pass.
    drop_last : bool
        Leave out a last batch that is not full.
    rng : None, int or numpy.random.Generator

    Yields
    ------
    tuples of arrays (batch, ...), one for each array given

    Examples
    --------
    >>> import numpy as np
    >>> [x.tolist() for x, y in Batches(np.arange(5), np.arange(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]

    Two inputs and a target:

    >>> batches = Batches((np.zeros((4, 7, 3)), np.ones((4, 2))), np.arange(4), batch_size=2)
    >>> batches
    <Batches: 4 examples in 2 batches of 2>
    >>> (sequences, facts), y = next(iter(batches))
    >>> sequences.shape, facts.shape, y.shape
    ((2, 7, 3), (2, 2), (2,))
    """

    def __init__(
        self,
        *arrays: Any,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        rng: RandomSource = None,
    ) -> None:
        if not arrays:
            raise TypeError("Batches: takes at least one array")
        names = ["inputs", "targets", "mask", "target_mask"]
        names += [f"array {k}" for k in range(4, len(arrays))]
        self.arrays = []
        first: Array | None = None
        for name, given in zip(names, arrays, strict=False):
            for leaf_name, leaf in leaves(given, name):
                if leaf is None and is_nested(given):
                    continue
                array = checks.as_array(self, leaf, leaf_name)
                first = array if first is None else first
                if array.ndim == 0 or len(array) != len(first):
                    swapped = array.ndim > 0 and first.ndim > 2 and len(array) == first.shape[1]
                    hint = f"; axis 1 of the inputs is {len(array)}: are batch and time swapped?"
                    raise ValueError(
                        f"Batches: axis 0 (batch) of the {leaf_name} should be as long as that of "
                        f"the inputs {first.shape}, got shape {array.shape}{hint * swapped}"
                    )
            self.arrays.append(each(lambda x: None if x is None else np.asarray(x), given))
        if first is None or first.ndim == 0:
            raise TypeError("Batches: takes at least one array with an axis of examples")
        super().__init__(len(first), batch_size, shuffle, drop_last, rng)

    def take(self, examples: Any) -> tuple[Any, ...]:
        """Return the batch of these examples, given as integers ``(batch,)``."""

        def taken(array: Array | None) -> Array | None:
            return None if array is None else array[examples]

        return tuple(each(taken, given) for given in self.arrays)
