"""What is wrong with a model: found out on a copy of it, whose layers show each call of forward."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import numpy as np

from minirnn import masks
from minirnn.cells import Cell
from minirnn.core import Layer, Parameter
from minirnn.data.nested import leaves
from minirnn.losses.base import Loss
from minirnn.training.inputs import Batch
from minirnn.training.measuring import measure


def names_of_others(model: Layer, known: Iterable[Parameter]) -> str:
    """Return the names of the model's parameters that are not among these."""
    ids = {id(parameter) for parameter in known}
    return ", ".join(name for name, one in model.named_parameters() if id(one) not in ids)


def _watch(model: Layer, look: Callable[[Layer, str, bool, Any], None]) -> None:
    """Show each call of forward: its layer, the name, whether the input was changed, the output."""
    for name, layer in model.named_layers():
        if not isinstance(layer, Cell):
            vars(layer)["forward"] = _watched(layer, name, look)


def _watched(layer: Layer, name: str, look: Callable[[Layer, str, bool, Any], None]) -> Any:
    forward = layer.forward

    @wraps(forward)
    def watched(*args: Any, **keywords: Any) -> Any:
        arrays = [one for one in (*args, *keywords.values()) if isinstance(one, np.ndarray)]
        before = [array.tobytes() for array in arrays]
        y = forward(*args, **keywords)
        look(layer, name, before != [array.tobytes() for array in arrays], y)
        return y

    return watched


# ---------------------------------------------------------------- mistakes that train in silence


def examine(model: Layer, loss: Loss, known: list[Parameter], batch: Batch) -> None:
    """Run a copy of the model with the first batch, if it has layers of the user's own.

    RuntimeError if a forward changes its input, or a backward assigns gradients; or for a parameter
    that is not among the `known`, or that a layer makes only now: it would never be trained. (One
    that was there and was not given to the optimizer is frozen, as it may be.)
    """
    mistakes: list[str] = []
    _find_new(model, known, mistakes)
    try:
        if any(map(_is_own, dict(model.named_layers()).values())):
            _try(*copy.deepcopy((model, loss, batch)), mistakes)
    except Exception:  # no copy, nothing kept for a second time, or an error that will come again
        pass
    if mistakes:
        raise RuntimeError(mistakes[0])


def _is_own(layer: Layer) -> bool:
    return not type(layer).__module__.startswith("minirnn.")


def _find_new(model: Layer, known: list[Parameter], mistakes: list[str]) -> None:
    if new := names_of_others(model, known):
        mistakes.append(
            f"Trainer: {new} was made after the optimizer, which does not know of it, so it would "
            f"never be trained. Make parameters in __init__; where their shape depends on the "
            f"data, call the model once before model.parameters()"
        )


def _hidden(model: Layer) -> list[tuple[str, Parameter]]:
    """Return the parameters that own layers hold in sets and objects, with their places.

    `named_parameters` looks into layers, lists, tuples and dictionaries.
    """
    found, known = list[tuple[str, Parameter]](), set(map(id, model.parameters()))
    for layer in filter(_is_own, dict(model.named_layers()).values()):
        for name, value in vars(layer).items():
            inside = value if isinstance(value, set) else getattr(value, "__dict__", {}).values()
            for one in () if isinstance(value, Layer | type) else inside:
                for each in one.parameters() if isinstance(one, Layer) else [one]:
                    if isinstance(each, Parameter) and id(each) not in known:
                        found.append((f"{type(layer).__name__}: {name}", each))
    return found


def _try(model: Layer, loss: Loss, batch: Batch, mistakes: list[str]) -> None:
    """Go forward once, and back twice.

    If the second time puts a gradient in the place of another, backward assigns: of the steps or
    places that share a parameter, only one would count.
    """

    def look(layer: Layer, name: str, changed: bool, y: Any) -> None:
        if changed and _is_own(layer):
            mistakes.append(
                f"{type(layer).__name__}: forward changes its input in place, which is what "
                f"another layer has kept; make a new array: x = x * 2, and not x *= 2"
            )

    _watch(model, look)
    known, hidden = model.parameters(), _hidden(model)
    for _, parameter in hidden:
        parameter.zero_grad()
    measure(model, loss, batch)
    grad = loss.backward()
    model.zero_grad()
    model.backward_parameters(grad)
    _find_new(model, known, mistakes)
    mistakes += [
        f"{place} holds a parameter of shape {one.shape} where nothing finds it, so it would "
        f"neither be trained nor saved; keep layers and parameters as attributes, or in lists, "
        f"tuples or dictionaries. What is to stay as it is, leave out of the optimizer"
        for place, one in hidden
        if one.grad.any()
    ]
    first = [parameter.grad.copy() for parameter in known]
    for parameter in known:
        parameter.grad = 1 + np.abs(parameter.grad)
    model.backward_parameters(grad)
    for (name, parameter), before in zip(model.named_parameters(), first, strict=True):
        if np.array_equal(parameter.grad, before):
            layers = [one for _, one in model.named_layers() if parameter in one.parameters()]
            owner = next(filter(_is_own, reversed(layers)), model)
            mistakes.append(
                f"{type(owner).__name__}: backward assigns the gradient of {name}, and should add "
                f"to it: another step, or another use of the parameter, adds to the same; write "
                f".grad += ..."
            )


# ---------------------------------------------------------------- numbers that are not finite


def first_not_finite(model: Layer, loss: Any, batch: Batch, learning_rate: float) -> str:
    """Say in words what was first not finite: the input, a parameter, a layer's output, a loss."""
    inputs, _ = masks.checked(model, batch.inputs, batch.mask)
    for name, x in leaves(inputs, "input"):
        x = np.asarray(x)
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            return f"the {name} itself has {_count(x)}; clean the data first"
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.value).all():
            return (
                f"parameter {name} has {_count(parameter.value)} since the last update; try a "
                f"learning rate below {learning_rate:g}, or clip_norm"
            )
    found = _first_output(model, batch)
    if not found and isinstance(loss, Loss) and (reason := loss.why_not_finite()):
        return reason
    found = found or "every layer's output is finite, the loss not"
    largest = max(np.abs(parameter.value).max(initial=0) for parameter in model.parameters())
    return (
        f"{found}. The largest parameter is {largest:.3g}; if the loss grew before, try a learning "
        f"rate below {learning_rate:g}"
    )


def first_gradient_not_finite(model: Layer) -> str:
    """Say in words which parameter's gradient is the first, from the input on, not finite."""
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.grad).all():
            return f"the gradient of parameter {name} has {_count(parameter.grad)}"
    return "every gradient is finite, but their norm overflows"


def _first_output(model: Layer, batch: Batch) -> str:
    """Return which layer's output is the first; "" if none is."""
    twin, found = copy.deepcopy(model), list[str]()

    def look(layer: Layer, name: str, changed: bool, y: Any) -> None:
        if isinstance(y, np.ndarray) and not np.isfinite(y).all():
            found.append(
                f"the output of {name}{' ' * bool(name)}({type(layer).__name__}) has {_count(y)}, "
                f"while what it was given is finite"
            )

    _watch(twin, look)
    masks.apply(twin, batch.inputs, batch.mask)
    return found[0] if found else ""


def _count(array: Any) -> str:
    wrong = int(array.size - np.isfinite(array).sum())
    return f"{wrong} of {array.size} numbers that are not finite"
