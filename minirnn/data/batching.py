"""Batches: what a training loop goes through, as often as it likes.

Each class is re-iterable: every ``for`` begins a new pass, shuffled anew where that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.data.nested import each, is_nested, leaves
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


class Batches(_Shuffled):
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


class PaddedBatches(_Shuffled):
    """Sequences of unequal length, each batch padded to its own longest.

    Parameters
    ----------
    inputs : list of arrays (time_k, ...)
        Or a tuple or dictionary of such lists, for a model with several inputs; the sequences of an
        example may differ in length from one input to the next.
    targets : list of arrays (time_k, ...), or array (examples, ...)
        One array a sequence, padded to the longest of its batch, or one target a sequence. With one
        input, the targets of a sequence are as many as its steps, unless `own_lengths` is True.
    batch_size, shuffle, drop_last, rng
        As in `Batches`.
    own_lengths : bool
        Whether the targets of a sequence may be more or fewer than its steps, as the labels that
        `CTCLoss` takes. They come with a mask of their own.

    Yields
    ------
    inputs (batch, time, ...), targets (batch, time, ...) or (batch, ...), mask (batch, time)
        With several inputs: as many masks, in the form of the inputs. With several, or with
        `own_lengths`, and a target that is a sequence: a fourth, the mask of the targets.

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

    Labels that are fewer than the steps:

    >>> for x, y, mask, target_mask in PaddedBatches(
    ...     words, [[7], [8, 9]], batch_size=2, own_lengths=True
    ... ):
    ...     print(y.tolist(), mask.sum(axis=1), target_mask.sum(axis=1))
    [[7, 0], [8, 9]] [3 2] [1 2]
    """

    def __init__(
        self,
        inputs: Any,
        targets: Sequence[Any],
        *,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        rng: RandomSource = None,
        own_lengths: bool = False,
    ) -> None:
        self.own_lengths = checks.flag(self, "own_lengths", own_lengths)
        self._several = isinstance(inputs, dict) or _is_tuple_of_lists(inputs)
        self.inputs = each(_arrays, inputs) if self._several else _arrays(inputs)
        self.targets = _arrays(targets)
        several = self.inputs if self._several else (self.inputs,)
        lengths = []
        for name, sequences in leaves(several, "inputs"):
            name = name if self._several else "inputs"
            if len(sequences) != len(self.targets):
                raise ValueError(
                    f"PaddedBatches: got {len(sequences)} {name} and {len(self.targets)} targets"
                )
            for k, x in enumerate(sequences):
                if x.ndim == 0 or len(x) == 0:
                    where = f" of {name}" if self._several else ""
                    raise ValueError(f"PaddedBatches: sequence {k}{where} is empty")
            lengths.append([x.shape[:1] for x in sequences])
        # One target a step has a time axis; one a sequence is a number or a row.
        shapes = [y.shape for y in self.targets]
        self.stepwise = any(shapes) and (
            [shape[:1] for shape in shapes] in lengths or len(set(shapes)) > 1
        )
        if own_lengths and not all(shapes):
            raise ValueError(
                "PaddedBatches: with own_lengths=True, each target should be a sequence, got a "
                "single number"
            )
        self.stepwise = self.stepwise or own_lengths
        if self.stepwise and not self._several and not own_lengths:
            for k, (shape, length) in enumerate(zip(shapes, lengths[0], strict=True)):
                if shape[:1] != length:
                    raise ValueError(
                        f"PaddedBatches: sequence {k} has {length[0]} steps, its target the shape "
                        f"{shape}: axis 0 (time) should be {length[0]}; for targets with lengths "
                        f"of their own, as CTCLoss takes, write own_lengths=True"
                    )
        super().__init__(len(self.targets), batch_size, shuffle, drop_last, rng)

    def take(self, examples: Any) -> tuple[Any, ...]:
        """Return the batch of these examples, given as integers ``(batch,)``."""

        def padded(sequences: list[Array]) -> tuple[Array, Array]:
            return pad_sequences([sequences[k] for k in examples])

        x = each(lambda sequences: padded(sequences)[0], self.inputs)
        mask = each(lambda sequences: padded(sequences)[1], self.inputs)
        if not self.stepwise:
            return x, np.stack([self.targets[k] for k in examples]), mask
        y, target_mask = padded(self.targets)
        two_masks = self._several or self.own_lengths
        return (x, y, mask, target_mask) if two_masks else (x, y, mask)


def _arrays(sequences: Any) -> list[Array]:
    return [np.asarray(sequence) for sequence in sequences]


def _is_tuple_of_lists(inputs: Any) -> bool:
    """Return whether it is several inputs, and not a tuple of sequences."""
    return isinstance(inputs, tuple) and all(
        isinstance(item, list | tuple) and len(item) > 0 and np.ndim(item[0]) > 0 for item in inputs
    )


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
        if stream.ndim == 1 and stream.dtype.kind not in "iu":
            hint = ""
            if stream.dtype.kind == "f":
                hint = (
                    "; for whole numbers stored as floats write tokens.astype(int), for a series "
                    "of measurements give it an axis of features, series[:, None]"
                )
            raise TypeError(
                f"StreamBatches: tokens (length,) should be integers, got an array of "
                f"{stream.dtype}{hint}"
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

    @property
    def sizes(self) -> list[int]:
        """How many rows the batches have."""
        return [self.batch_size]

    def first(self) -> tuple[Array, Array]:
        """Return the first batch."""
        return next(iter(self))

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        for k in range(self._count):
            columns = slice(k * self.steps, (k + 1) * self.steps)
            yield self.inputs[:, columns], self.targets[:, columns]

    def __repr__(self) -> str:
        return f"<StreamBatches: {len(self)} batches of {self.batch_size} rows, {self.steps} steps>"
