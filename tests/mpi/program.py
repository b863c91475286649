"""What each rank runs: one of the training runs below. Not a test; `test_ranks.py` starts it.

mpiexec -n 2 python -m mpi4py tests/mpi/program.py SCENARIO FOLDER
"""

import os
import sys
from pathlib import Path

import numpy as np

import minirnn as mr
from minirnn.callbacks import Checkpoint, CSVLogger, EarlyStopping
from minirnn.data import PaddedBatches
from minirnn.layers import MeanOverTime


def data(seed=0, examples=22, time=6):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((examples, time, 3))
    lengths = rng.integers(1, time + 1, examples)
    mask = np.arange(time) < lengths[:, None]
    return x, rng.integers(0, 4, (examples, time)), mask


def tagger(communicator, *, dropout=0.0, dtype="float64", metrics=True, **options):
    layers = [mr.Bidirectional(mr.LSTM(3, 5, rng=0, dtype=dtype), mr.GRU(3, 4, rng=1, dtype=dtype))]
    if dropout:
        layers.append(mr.Dropout(dropout, rng=2))
    model = mr.Sequential([*layers, mr.Dense(9, 4, rng=3, dtype=dtype)])
    optimizer = mr.Adam(model.parameters(), 0.02, clip_norm=0.3)
    loss = mr.SoftmaxCrossEntropy(class_weight=[1.0, 2.0, 0.5, 3.0])
    return mr.Trainer(
        model, loss, optimizer, metrics=[mr.Accuracy()] if metrics else [], rng=4,
        communicator=communicator, **options,
    )  # fmt: skip


def masked(communicator, folder):
    """Batches of 8, 8 and 6: uneven shares, padding, validation, early stopping, files."""
    callbacks = [EarlyStopping("val_loss", patience=2), CSVLogger(folder / "history.csv")]
    trainer = tagger(communicator, callbacks=callbacks)
    x, y, mask = data()
    v = data(1, 7)
    trainer.fit(
        x, y, mask=mask, epochs=6, batch_size=8, validation=v, progress=False,
        sample_weight=np.linspace(0, 2, 22),
    )  # fmt: skip
    return trainer


def few(communicator, folder):
    """Fewer rows than ranks in the last batch; no metrics; gradients of two batches added up."""
    trainer = tagger(communicator, metrics=False, accumulate=2)
    x, y, mask = data(examples=11)
    trainer.fit(x, y, mask=mask, epochs=3, batch_size=5, progress=False)
    return trainer


def single(communicator, folder):
    """In float32, batches of an iterable of its own, a loss without the time axis."""
    model = mr.Sequential([mr.GRU(3, 6, rng=0), MeanOverTime(), mr.Dense(6, 2, rng=1)])
    trainer = mr.Trainer(
        model, mr.MeanSquaredError(), mr.SGD(model.parameters(), 0.05, momentum=0.9),
        communicator=communicator,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    sequences = [rng.standard_normal((n, 3)) for n in rng.integers(2, 9, 13)]
    targets = rng.standard_normal((13, 2)).astype(np.float32)
    batches = PaddedBatches(sequences, targets, batch_size=5, shuffle=True, rng=5)
    trainer.fit(batches, epochs=3, progress=False)
    return trainer


def dropout(communicator, folder):
    trainer = tagger(communicator, dropout=0.3)
    x, y, mask = data()
    trainer.fit(x, y, mask=mask, epochs=4, batch_size=8, progress=False)
    return trainer


class StopAt(mr.callbacks.Callback):
    def on_batch_end(self, trainer):
        trainer.stop = trainer.epoch == 2 and trainer.batch == 2


def resumed(communicator, folder):
    """As `dropout`, in two runs: the first ends inside the second epoch."""
    x, y, mask = data()
    options = {"mask": mask, "epochs": 4, "batch_size": 8, "progress": False}
    path = folder / "run.safetensors"
    one = tagger(communicator, dropout=0.3, callbacks=[StopAt(), Checkpoint(path, every_batches=1)])
    one.fit(x, y, **options)
    assert (one.epoch, one.batch) == (2, 2)
    two = tagger(communicator, dropout=0.3, callbacks=[StopAt(), Checkpoint(path, every_batches=1)])
    two.resume(path)
    two.stop = False
    two.callbacks.clear()
    two.fit(x, y, **options)
    return two


def fails(communicator, folder):
    class Fails(mr.callbacks.Callback):
        def on_batch_end(self, trainer):
            if communicator.rank == communicator.size - 1 and trainer.batch == 2:
                raise OSError("the disk of this rank is full")

    trainer = tagger(communicator, callbacks=[Fails()])
    x, y, mask = data()
    trainer.fit(x, y, mask=mask, epochs=50, batch_size=8, progress=False)
    return trainer


def other_data(communicator, folder):
    trainer = tagger(communicator)
    x, y, mask = data(seed=communicator.rank)
    trainer.fit(x, y, mask=mask, epochs=2, batch_size=8, progress=False)
    return trainer


def interrupted(communicator, folder):
    """One rank alone hears a Ctrl-C; all end after the same batch."""

    class Interrupts(mr.callbacks.Callback):
        def on_batch_end(self, trainer):
            if communicator.rank == communicator.size - 1 and trainer.epoch == 2:
                trainer.interrupted = True

    trainer = tagger(communicator, callbacks=[Interrupts()])
    x, y, mask = data()
    trainer.fit(x, y, mask=mask, epochs=50, batch_size=8, progress=False)
    assert trainer.epoch == 2, trainer.epoch
    return trainer


def result(trainer):
    found = {f"weights.{name}": value for name, value in trainer.model.state_dict().items()}
    return found | {f"history.{name}": np.array(values) for name, values in trainer.history.items()}


def main():
    from mpi4py import MPI

    scenario, folder = sys.argv[1], Path(sys.argv[2])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    trainer = globals()[scenario](MPI.COMM_WORLD, folder)
    np.savez(folder / f"rank{MPI.COMM_WORLD.rank}.npz", **result(trainer))


if __name__ == "__main__":
    main()
