"""What the tests share: comparison of gradients, masks, snapshots."""

from typing import Any

import numpy as np

from minirnn import Layer, Recurrent


def assert_gradient(name: str, analytic: np.ndarray, numeric: np.ndarray) -> None:
    """Compare element by element; the tolerance is the rounding noise of the differences."""
    assert analytic.shape == numeric.shape, name
    scale = max(1.0, float(np.abs(numeric).max(initial=0.0)))
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=2e-8 * scale, err_msg=name)


def randomize(layer: Layer, seed: int) -> Layer:
    """Give every parameter, biases included, numbers that nothing is special about."""
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.value = rng.uniform(-0.8, 0.8, parameter.shape)
    return layer


def random_state(layer: Any, batch: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return a random initial state for a cell, a recurrent or a bidirectional layer."""
    rng = np.random.default_rng(seed)
    if hasattr(layer, "forward_layer"):
        cells = [layer.forward_layer.cell, layer.backward_layer.cell]
    else:
        cells = [getattr(layer, "cell", layer)]
    zeros = [array for cell in cells for array in cell.initial_state(batch)]
    return tuple(rng.uniform(-1, 1, array.shape) for array in zeros)


def make_mask(kind: str | None, batch: int, time: int) -> np.ndarray | None:
    """Return a mask with padding at the end, with gaps, or with a row that is all padding."""
    if kind is None:
        return None
    assert kind in ("trailing", "gaps", "empty row", "all padding"), kind
    mask = np.ones((batch, time), bool)
    for row in range(batch):
        if kind == "trailing":
            mask[row, max(1, time - row) :] = False
        elif kind == "gaps":
            mask[row, (row + 1) % time :: 3] = False
    if kind == "empty row":
        mask[batch // 2] = False
        mask[0, time - 1] = time == 1
    if kind == "all padding":
        mask[:] = False
    return mask


def with_padding(x: np.ndarray, mask: np.ndarray | None, filling: Any) -> np.ndarray:
    """Return a copy of x with `filling` wherever a step is masked."""
    x = x.copy()
    if mask is not None:
        x[~mask] = filling
    return x


def recurrent_layers(model: Layer) -> list[Recurrent]:
    return [layer for _, layer in model.named_layers() if isinstance(layer, Recurrent)]


def arrays_of(state: Any) -> list[np.ndarray]:
    """Return the arrays of a state, which has an entry for each layer in a model."""
    if isinstance(state, tuple):
        return [array for entry in state for array in arrays_of(entry)]
    return [] if state is None else [state]


def _copied(state: Any) -> Any:
    return None if state is None else tuple(array.copy() for array in state)


def snapshot(model: Layer) -> dict[str, Any]:
    """Copy all that a refused call must leave as it was."""
    found: dict[str, Any] = {}
    for name, parameter in model.named_parameters():
        found[f"{name}.value"] = parameter.value.copy()
        found[f"{name}.grad"] = parameter.grad.copy()
    for k, layer in enumerate(recurrent_layers(model)):
        found[f"state {k}"] = _copied(layer.state)
        found[f"carried state {k}"] = _copied(layer.carried_state)
        found[f"grad_state {k}"] = _copied(layer.grad_state)
    for name, layer in model.named_layers():
        found[f"{name}.training"] = layer.training
    return found


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Compare two snapshots, bit by bit."""
    assert before.keys() == after.keys()
    for name, old in before.items():
        new = after[name]
        if isinstance(old, tuple):
            assert new is not None, name
            for a, b in zip(old, new, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)
        elif isinstance(old, np.ndarray):
            np.testing.assert_array_equal(old, new, err_msg=name)
        else:
            assert old == new, name
