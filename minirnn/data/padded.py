"""Sequences of unequal length in batches, each padded to its own longest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.data.batches import ShuffledBatches
from minirnn.data.nested import each, leaves
from minirnn.data.sequences import as_sequences, pad_sequences
from minirnn.typing import Array, RandomSource


class PaddedBatches(ShuffledBatches):
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
        if isinstance(inputs, tuple) and not self._several:
            inputs = list(inputs)
        self.inputs = each(lambda given: as_sequences(self, given, "inputs"), inputs)
        self.targets = as_sequences(self, targets, "targets")
        lengths = []
        for name, sequences in leaves(self.inputs, "inputs"):
            if len(sequences) != len(self.targets):
                raise ValueError(
                    f"PaddedBatches: got {len(sequences)} {name} and {len(self.targets)} targets"
                )
            for k, x in enumerate(sequences):
                if x.ndim == 0 or len(x) == 0:
                    where = f" of {name}" if self._several else ""
                    raise ValueError(f"PaddedBatches: sequence {k}{where} is empty")
            lengths.append([len(x) for x in sequences])
        own = [len(y) if y.ndim else None for y in self.targets]
        if own_lengths and None in own:
            raise ValueError(
                "PaddedBatches: with own_lengths=True, each target should be a sequence, got a "
                "single number"
            )
        # One target a step has a time axis; one a sequence is a number or a row, all of one shape.
        one_each = len({y.shape for y in self.targets}) == 1 and own not in lengths
        self.stepwise = own_lengths or not one_each
        if self.stepwise and not self._several and not own_lengths and own != lengths[0]:
            k = next(k for k, length in enumerate(own) if length != lengths[0][k])
            raise ValueError(
                f"PaddedBatches: sequence {k} has {lengths[0][k]} steps, its target the shape "
                f"{self.targets[k].shape}: axis 0 (time) should be {lengths[0][k]}; for targets "
                f"with lengths of their own, as CTCLoss takes, write own_lengths=True"
            )
        super().__init__(len(self.targets), batch_size, shuffle, drop_last, rng)

    def take(self, examples: Any) -> tuple[Any, ...]:
        """Return the batch of these examples, given as integers ``(batch,)``."""

        def padded(sequences: list[Array]) -> tuple[Array, Array]:
            chosen = [sequences[k] for k in examples]
            return pad_sequences(chosen, length=max(1, *map(len, chosen)))  # where none has a label

        x = each(lambda sequences: padded(sequences)[0], self.inputs)
        mask = each(lambda sequences: padded(sequences)[1], self.inputs)
        if not self.stepwise:
            return x, np.stack([self.targets[k] for k in examples]), mask
        y, target_mask = padded(self.targets)
        two_masks = self._several or self.own_lengths
        return (x, y, mask, target_mask) if two_masks else (x, y, mask)


def _is_tuple_of_lists(inputs: Any) -> bool:
    """Return whether it is several inputs, and not a tuple of sequences."""
    return isinstance(inputs, tuple) and all(
        isinstance(item, list | tuple) and len(item) > 0 and np.ndim(item[0]) > 0 for item in inputs
    )
