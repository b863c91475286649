"""Arrays in batches: what a training loop goes through, as often as it likes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.data.nested import each, leaves, rows_of
from minirnn.typing import Array, RandomSource


class ShuffledBatches:
    """Base of batches that are taken out of `count` examples.

    Re-iterable: every ``for`` begins a new pass, in a new order where that is asked for. A subclass
    writes `take`.
    """

    def __init__(
        self, count: int, batch_size: int, shuffle: bool, drop_last: bool, rng: RandomSource
    ) -> None:
        self.count = count
        self.batch_size = checks.positive_int(self, "batch_size", batch_size)
        self.shuffle = checks.flag(self, "shuffle", shuffle)
        self.drop_last = checks.flag(self, "drop_last", drop_last)
        self.rng = checks.generator(self, rng)
        if count == 0:
            raise ValueError(f"{type(self).__name__}: there are no examples")
        if drop_last and count < self.batch_size:
            raise ValueError(
                f"{type(self).__name__}: with drop_last, {count} examples do not make one batch of "
                f"{self.batch_size}"
            )

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.batch_size)
        return full if self.drop_last or not rest else full + 1

    @property
    def sizes(self) -> list[int]:
        """How many examples the batches of a pass have: each size once, in order."""
        rest = 0 if self.drop_last else self.count % self.batch_size
        return [self.batch_size] * (self.count >= self.batch_size) + [rest] * (rest > 0)

    def take(self, examples: Any) -> tuple[Any, ...]:
        """Return the batch of these examples, given as integers ``(batch,)``."""
        raise NotImplementedError

    def first(self) -> tuple[Any, ...]:
        """Return the first batch as it would be without shuffling; no generator is touched."""
        return self.take(np.arange(self.sizes[0]))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        order = self.rng.permutation(self.count) if self.shuffle else np.arange(self.count)
        for k in range(len(self)):
            yield self.take(order[k * self.batch_size : (k + 1) * self.batch_size])

    def __repr__(self) -> str:
        options = ", shuffle=True" * self.shuffle + ", drop_last=True" * self.drop_last
        return (
            f"<{type(self).__name__}: {self.count} examples in {len(self)} batches of "
            f"{self.batch_size}{options}>"
        )


class Batches(ShuffledBatches):
    """Arrays, cut along axis 0.

    Parameters
    ----------
    *arrays : arrays (examples, ...)
        Inputs, targets, and where there are any, the mask of the inputs, that of the targets, and
        the sample weights; None for what is not there. All of the same length. Each may be a tuple
        or a dictionary of arrays.
    batch_size : int
        Examples a batch; the last batch has what is left.
    shuffle : bool
        A new random order at each pass.
    drop_last : bool
        Leave out a last batch that is not full.
    rng : None, int or numpy.random.Generator

    Yields
    ------
    tuples of arrays (batch, ...), one for each array given, and None for None

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
        names = ["inputs", "targets", "mask", "target_mask", "sample_weight"]
        names += [f"array {k}" for k in range(5, len(arrays))]
        first: Array | None = None
        for name, given in zip(names, arrays or [()], strict=False):
            for leaf_name, leaf in leaves(given, name):
                if leaf is None and first is not None:
                    continue
                array = checks.as_array(self, leaf, leaf_name)
                first = array if first is None else first
                if array.shape[:1] != first.shape[:1]:
                    hint = ""
                    if first.ndim > 2 and array.shape[:1] == first.shape[1:2]:
                        hint = (
                            f"; axis 1 of the inputs is {len(array)}: are batch and time swapped?"
                        )
                    raise ValueError(
                        f"Batches: axis 0 (batch) of the {leaf_name} should be as long as that of "
                        f"the inputs {first.shape}, got shape {array.shape}{hint}"
                    )
            if first is None or first.ndim == 0:
                raise TypeError("Batches: takes at least one array with an axis of examples")
        assert first is not None
        self.arrays = each(lambda x: None if x is None else np.asarray(x), arrays)
        super().__init__(len(first), batch_size, shuffle, drop_last, rng)

    def take(self, examples: Any) -> tuple[Any, ...]:
        """Return the batch of these examples, given as integers ``(batch,)``."""
        return rows_of(self.arrays, examples)  # type: ignore[no-any-return]
