"""Data-parallel training: several processes, each with its share of every batch.

Every rank runs the same program on the same data. Of each batch it takes its rows, and goes forward
and back through the model with them. With ``L_r`` the loss of rank r's rows, a mean over positions
that weigh ``w_r`` together, and ``g_r`` its gradient, loss and gradient of the whole batch are ::

    L = sum_r w_r L_r / sum_r w_r            g = sum_r w_r g_r / sum_r w_r

One Allreduce adds up the vector ``[w_r g_r, w_r L_r, w_r]``; then every rank takes the same step.
"""

from __future__ import annotations

import os
import sys
import traceback
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn.core import Layer
from minirnn.data.nested import leaves, rows_of
from minirnn.files import write_tree
from minirnn.training.inputs import Batch
from minirnn.training.measuring import Measured, run, valid_positions
from minirnn.training.position import random_generators
from minirnn.typing import Array

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer


class Ranks:
    """What one rank of a data-parallel run does that a single process does not."""

    def __init__(self, communicator: Any) -> None:
        for name in ("rank", "size", "Allreduce", "allgather", "bcast", "Abort"):
            if not hasattr(communicator, name):
                raise TypeError(
                    f"Trainer: communicator should be one of mpi4py, such as MPI.COMM_WORLD, got "
                    f"{type(communicator).__name__}"
                )
        self._communicator = communicator
        self.rank: int = communicator.rank
        self.size: int = communicator.size
        self.stopping = False  # whether any rank had been interrupted at the latest batch
        self._compared: int | None = None  # the epoch whose first batch was compared

    def begin(self, trainer: Trainer) -> None:
        """Give all ranks the weights and the order of the first, and dropout of their own."""
        if any(layer.stateful for layer in trainer.recurrent.values()):
            raise ValueError(
                "Trainer: a model with stateful=True is not trained with a communicator: each "
                "rank would carry the states of its own rows only"
            )
        parameters = trainer.optimizer.parameters
        first = self._communicator.bcast([parameter.value for parameter in parameters])
        for parameter, value in zip(parameters, first, strict=True):
            parameter.value = value
        trainer.rng.bit_generator.state = self._communicator.bcast(trainer.rng.bit_generator.state)
        for generator in random_generators(trainer.model).values():
            bits: Any = generator.bit_generator
            if self.rank and hasattr(bits, "jumped"):
                bits.state = bits.jumped(self.rank).state

    # ------------------------------------------------------------ a batch

    def backward(self, trainer: Trainer, batch: Batch) -> Measured:
        """Do what the trainer's backward does for the whole batch, each rank for its rows."""
        if trainer.epoch != self._compared:
            self._refuse_other_batches(batch)
            self._compared = trainer.epoch
        vectors = trainer.optimizer.gradient_vectors()
        kept = [vector.copy() for vector in vectors] if trainer.accumulated else []
        for vector in vectors:
            vector.fill(0)
        share = self._share(batch)
        own = None if share is None else trainer._backward(share)
        loss, weight = self._add_up(vectors, own, trainer.interrupted)
        for vector, before in zip(vectors, kept, strict=False):
            vector += before
        whole: Any = None
        valid = None
        if trainer.metrics:
            whole = self._together(None if own is None else own.prediction)
            valid = valid_positions(trainer.model, whole, batch)
        return Measured(loss, weight, whole, batch.targets, valid)

    def run(self, model: Layer, batch: Batch) -> Array:
        """Return the model's output for the whole batch, each rank having run its rows."""
        share = self._share(batch)
        own = None if share is None else run(model, share.inputs, share.mask)
        return self._together(own)

    def _share(self, batch: Batch) -> Batch | None:
        """Return this rank's rows, consecutive ones; None for fewer rows than ranks."""
        count, rest = divmod(min(len(x) for _, x in leaves(batch.inputs)), self.size)
        first = self.rank * count + min(self.rank, rest)  # the first ranks have one more
        last = first + count + (self.rank < rest)
        return None if first == last else Batch(*rows_of(tuple(batch), slice(first, last)))

    def _add_up(
        self, vectors: list[Array], own: Measured | None, stopping: bool
    ) -> tuple[float, float]:
        """Make the gradients those of the whole batch; return its loss and weight."""
        loss, weight = (0.0, 0.0) if own is None else (own.loss, own.weight)
        dtype = np.result_type(*vectors)
        scaled = [vector.astype(dtype) * dtype.type(weight) for vector in vectors]
        message = np.concatenate([*scaled, np.array([weight * loss, weight, stopping], dtype)])
        total = np.empty_like(message)
        self._communicator.Allreduce(message, total)
        at = 0
        divisor = total[-2] or dtype.type(1)  # nothing counts: all gradients are zero
        for vector in vectors:
            vector[:] = total[at : at + vector.size] / divisor
            at += vector.size
        self.stopping = bool(total[-1])
        return float(total[-3] / divisor), float(total[-2])

    def _together(self, rows: Array | None) -> Array:
        parts = self._communicator.allgather(rows)
        return np.concatenate([part for part in parts if part is not None])

    def _refuse_other_batches(self, batch: Batch) -> None:
        """Raise if the ranks do not have the same batch; compared once an epoch."""
        marks = [
            (np.shape(x), zlib.crc32(np.ascontiguousarray(x).tobytes()))
            for _, x in leaves(tuple(batch))
            if x is not None
        ]
        if len(set(map(tuple, self._communicator.allgather(marks)))) > 1:
            raise ValueError(
                "Trainer: the ranks have different batches: every rank should have the same data "
                "and, in batches that shuffle, the same seed (rng=)"
            )

    # ------------------------------------------------------------ files, errors

    def save(self, path: str | os.PathLike[str], tree: dict[str, Any]) -> None:
        """Let the first rank write the run, with every rank's generators; all wait for it."""
        tree["ranks"] = self._communicator.allgather(tree["position"]["now"])
        if self.rank == 0:
            write_tree(path, tree)
        self._communicator.allgather(None)

    def take_generators(self, model: Layer, tree: dict[str, Any]) -> None:
        """Put this rank's generators, from what `save` wrote, in the place of the first one's."""
        ranks = tree.get("ranks", [tree["position"]["now"]])
        if len(ranks) == self.size:
            tree["position"]["now"] = ranks[self.rank]
        elif random_generators(model):
            raise ValueError(
                f"it was written by {len(ranks)} processes, and here are {self.size}: a model that "
                f"draws random numbers goes on with as many"
            )

    def __enter__(self) -> None:
        """Begin a block in which an error of one rank ends all, with its message."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None and self.size > 1:
            try:
                print(f"Error on rank {self.rank} of {self.size}; all end.", file=sys.stderr)
                traceback.print_exception(kind, error, trace)
                sys.stderr.flush()
            finally:  # also where nobody reads the messages any more
                self._communicator.Abort(1)
