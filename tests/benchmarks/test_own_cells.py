"""The own cells of the benchmark have right gradients, and are what the engine runs."""

import numpy as np
import pytest

from benchmarks.ladder import LADDER, draw, shrunk
from benchmarks.own_cells import OWN, model_of, torch_call
from minirnn import check_gradients
from minirnn.engine import native


@pytest.mark.parametrize("kind", OWN.values())
def test_gradients(kind):
    assert check_gradients(model_of(kind, shrunk(LADDER[1])), draw(shrunk(LADDER[1])).x).passed


@pytest.mark.parametrize("kind", OWN.values())
@pytest.mark.skipif(native() is None, reason="the native engine was not built")
def test_the_engine_runs_them(kind, engine_on):
    assert "native" in model_of(kind, LADDER[0])[0].engine


@pytest.mark.parametrize("kind", OWN.values())
def test_the_loss_is_that_of_pytorch(kind):
    pytest.importorskip("torch")
    rung = shrunk(LADDER[1])
    data, model = draw(rung), model_of(kind, rung)
    prediction = model.forward(data.x)
    shifted = prediction - prediction.max(axis=-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    own = -np.take_along_axis(logs, data.targets[..., None], -1).mean()
    np.testing.assert_allclose(torch_call(kind, rung, data, model)(), own, rtol=1e-5)
