"""Batches: what a training loop goes through, as often as it likes.

Each class is re-iterable: every ``for`` begins a new pass, shuffled anew where that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.data.sequences import pad_sequences
from minirnn.typing import Array, RandomSource

__all__ = ["Batches", "PaddedBatches", "StreamBatches"]


class _Shuffled:
    """Pick batches of indices out of `count` examples, in a new order at each pass."""

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
        whole, rest = divmod(self.count, self.batch_size)
        return whole if self.drop_last or not rest else whole + 1

    def _picks(self) -> Iterator[Array]:
        order = self.rng.permutation(self.count) if self.shuffle else np.arange(self.count)
        for k in range(len(self)):
            yield order[k * self.batch_size : (k + 1) * self.batch_size]


class Batches(_Shuffled):
    """Arrays, cut along axis 0.

    Parameters
    ----------
    *arrays : arrays (examples, ...)
        Inputs, targets, and a mask where there is one. All of the same length.
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
        names = ["inputs", "targets", "mask"]
        self.arrays = [
            checks.as_array(self, array, names[k] if k < 3 else f"array {k}")
            for k, array in enumerate(arrays)
        ]
        for k, array in enumerate(self.arrays):
            if array.ndim == 0 or len(array) != len(self.arrays[0]):
                name = names[k] if k < 3 else f"array {k}"
                raise ValueError(
                    f"Batches: axis 0 (batch) of the {name} should be as long as that of the "
                    f"inputs {self.arrays[0].shape}, got shape {array.shape}"
                )
        super().__init__(len(self.arrays[0]), batch_size, shuffle, drop_last, rng)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        for pick in self._picks():
            yield tuple(array[pick] for array in self.arrays)


class PaddedBatches(_Shuffled):
    """Sequences of unequal length, each batch padded to its own longest.

    Parameters
    ----------
    inputs : list of arrays (time_k, ...)
    targets : list of arrays (time_k, ...), or array (examples, ...)
        One array a sequence, padded like its input, or one target a sequence.
    batch_size, shuffle, drop_last, rng
        As in `Batches`.

    Yields
    ------
    inputs (batch, time, ...), targets (batch, time, ...) or (batch, ...), mask (batch, time)

    Raises
    ------
    ValueError
        If a sequence is empty, or inputs and targets differ in number or length.

    Examples
    --------
    >>> words = [[1, 2, 3], [4, 5]]
    >>> for x, y, mask in PaddedBatches(words, words, batch_size=2):
    ...     print(x.tolist(), mask.sum(axis=1))
    [[1, 2, 3], [4, 5, 0]] [3 2]
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        targets: Sequence[Any],
        *,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        rng: RandomSource = None,
    ) -> None:
        self.inputs = [np.asarray(sequence) for sequence in inputs]
        self.targets = [np.asarray(target) for target in targets]
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                f"PaddedBatches: got {len(self.inputs)} inputs and {len(self.targets)} targets"
            )
        # One target a step has the time axis of its input; one a sequence is a number or a row.
        self.stepwise = any(y.ndim > 0 for y in self.targets) and (
            [y.shape[:1] for y in self.targets] == [x.shape[:1] for x in self.inputs]
            or len({y.shape for y in self.targets}) > 1
        )
        for k, (x, y) in enumerate(zip(self.inputs, self.targets, strict=True)):
            if x.ndim == 0 or len(x) == 0:
                raise ValueError(f"PaddedBatches: sequence {k} is empty")
            if self.stepwise and y.shape[:1] != x.shape[:1]:
                raise ValueError(
                    f"PaddedBatches: sequence {k} has {len(x)} steps, its target the shape "
                    f"{y.shape}: axis 0 (time) should be {len(x)}"
                )
        super().__init__(len(self.inputs), batch_size, shuffle, drop_last, rng)

    def __iter__(self) -> Iterator[tuple[Array, Array, Array]]:
        for pick in self._picks():
            x, mask = pad_sequences([self.inputs[k] for k in pick])
            chosen = [self.targets[k] for k in pick]
            y = pad_sequences(chosen)[0] if self.stepwise else np.stack(chosen)
            yield x, y, mask


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

    Notes
    -----
    Every batch has the full shape; what does not fill one at the end is left out:
    at most ``batch_size * steps`` tokens.

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
        stream = np.asarray(tokens)
        if stream.ndim == 0:
            raise ValueError("StreamBatches: tokens should be a sequence, got a single number")
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

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        for k in range(self._count):
            columns = slice(k * self.steps, (k + 1) * self.steps)
            yield self.inputs[:, columns], self.targets[:, columns]
