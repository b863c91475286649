"""What a communicator has to be, and one rank alone; several are in tests/mpi."""

import numpy as np
import pytest

from minirnn import LSTM, RNN, Adam, Dense, LastStep, Sequential, SoftmaxCrossEntropy, Trainer


class Alone:
    """A communicator of one rank."""

    rank, size = 0, 1

    def Allreduce(self, send, receive):  # noqa: N802
        receive[...] = send

    def allgather(self, value):
        return [value]

    def bcast(self, value):
        return value

    def Abort(self, code):  # noqa: N802
        raise AssertionError("an error of a single rank is raised as it is")


def trainer(communicator, layer=RNN, **options):
    model = Sequential([layer(2, 3, rng=0, dtype="float64", **options), LastStep(), Dense(
        3, 2, rng=1, dtype="float64"
    )])  # fmt: skip
    optimizer = Adam(model.parameters(), 0.01, clip_norm=0.1)
    return Trainer(model, SoftmaxCrossEntropy(), optimizer, rng=2, communicator=communicator)


def test_one_rank_is_a_single_process():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 4, 2)), rng.integers(0, 2, 10)
    one, two = trainer(None), trainer(Alone())
    for each in (one, two):
        each.fit(x, y, epochs=2, batch_size=4, validation=(x, y), progress=False)
    np.testing.assert_allclose(one.history["val_loss"], two.history["val_loss"], rtol=1e-12)
    assert two.writes_files


def test_errors_of_a_single_rank_are_raised():
    with pytest.raises(ValueError, match="features"):
        trainer(Alone()).train_step(np.ones((2, 4, 3)), np.zeros(2, int))


def test_what_is_no_communicator_is_refused():
    with pytest.raises(TypeError, match=r"MPI\.COMM_WORLD, got int"):
        trainer(2)
    with pytest.raises(ValueError, match="stateful=True"):
        trainer(Alone(), LSTM, stateful=True)
