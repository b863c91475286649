"""What batches of examples have in common: their number, their order, their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.typing import RandomSource

__all__ = ["ShuffledBatches"]


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
        self.shuffle = shuffle
        self.drop_last = drop_last
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
