"""One long stream in batches that go on where the batch before stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minirnn import checks
from minirnn.typing import Array


class StreamBatches:
    """One long stream of tokens, cut for truncated backpropagation through time.

    The stream is laid out in `batch_size` rows; each batch is the next `steps` columns, so that row
    ``k`` of one batch goes on where row ``k`` of the batch before stopped. A layer with
    ``stateful=True`` carries its state across. Targets are the inputs one step on.

    Parameters
    ----------
    tokens : array (length,) or (length, ...)
    batch_size : int
        Rows, read side by side.
    steps : int
        Columns a batch: how far a gradient can go back.

    Yields
    ------
    inputs and targets, both (batch_size, steps, ...)
        What does not fill a batch at the end is left out.

    Examples
    --------
    >>> for x, y in StreamBatches(range(13), batch_size=2, steps=3):
    ...     print(x.tolist(), y.tolist())
    [[0, 1, 2], [6, 7, 8]] [[1, 2, 3], [7, 8, 9]]
    [[3, 4, 5], [9, 10, 11]] [[4, 5, 6], [10, 11, 12]]
    """

    def __init__(self, tokens: Any, *, batch_size: int, steps: int) -> None:
        self.batch_size = checks.positive_int(self, "batch_size", batch_size)
        self.steps = checks.positive_int(self, "steps", steps)
        stream = checks.as_array(self, tokens, "tokens")
        if stream.ndim == 0:
            raise ValueError("StreamBatches: tokens should be a sequence, got a single number")
        if stream.ndim == 1 and stream.size and stream.dtype.kind not in "iu":
            raise TypeError(
                f"StreamBatches: tokens (length,) should be integers, got an array of "
                f"{stream.dtype}; write tokens.astype(int), or for a series of measurements give "
                f"it an axis of features, series[:, None]"
            )
        self._count = (len(stream) - 1) // (self.batch_size * self.steps)
        if self._count < 1:
            raise ValueError(
                f"StreamBatches: {len(stream)} tokens are too few for one batch of "
                f"{batch_size} rows and {steps} steps, which takes {batch_size * steps + 1}"
            )
        columns = self._count * self.steps
        shape = (self.batch_size, columns, *stream.shape[1:])
        used = self.batch_size * columns
        self.inputs = stream[:used].reshape(shape)
        self.targets = stream[1 : used + 1].reshape(shape)

    def __len__(self) -> int:
        return self._count

    def first(self) -> tuple[Array, Array]:
        """Return the first batch."""
        return next(iter(self))

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        for k in range(self._count):
            columns = slice(k * self.steps, (k + 1) * self.steps)
            yield self.inputs[:, columns], self.targets[:, columns]

    def __repr__(self) -> str:
        return f"<StreamBatches: {len(self)} batches of {self.batch_size} rows, {self.steps} steps>"
