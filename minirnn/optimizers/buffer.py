"""The flat vectors under the parameters, and what an optimizer keeps beside them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import KW_ONLY
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer, Parameter, writeable
from minirnn.settings import setting, settings
from minirnn.typing import Array


@settings()
class ParameterGroup:
    """Parameters with their own learning rate or weight decay.

    An optimizer takes groups in its list of parameters; parameters outside of a group have its own
    settings.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``layer.parameters()``.
    rate_factor : float
        Multiplies the optimizer's learning rate, so that one schedule serves all groups; 0 freezes
        these parameters.
    weight_decay : float, optional
        In place of the optimizer's.

    Raises
    ------
    ValueError
        For a number below 0; from the optimizer, for a parameter in two groups.

    Examples
    --------
    A pretrained layer that is to change slowly:

    >>> from minirnn import Adam, Dense, GRU
    >>> encoder, head = GRU(3, 4, rng=0), Dense(4, 2, rng=1)
    >>> slow = ParameterGroup(encoder.parameters(), rate_factor=0.1, weight_decay=0.0)
    >>> optimizer = Adam([slow, *head.parameters()], 1e-3, weight_decay=1e-4)
    """

    parameters: Any
    _: KW_ONLY
    rate_factor: float = setting(checks.positive_float, zero=True, default=1.0)
    weight_decay: float | None = setting(checks.positive_float, zero=True, default=None)

    def __post_init__(self) -> None:
        self.parameters = as_parameters(self, self.parameters)


class Slots(dict[str, Array]):
    """Vectors that an optimizer keeps from step to step, each zero at first.

    ``slots["momentum"]`` is a vector of the length of the values, created as zeros at its first
    use. Change it in place, or assign to ``slots["momentum"]``.

    Attributes
    ----------
    scratch : array
        Another such vector, for intermediate results: with it an update needs no temporary arrays.
        It may be overwritten between updates.
    """

    def __init__(self, like: Array) -> None:
        self._like = like
        self.scratch = np.empty_like(like)

    def __missing__(self, name: str) -> Array:
        self[name] = np.zeros_like(self._like)
        return self[name]

    def __setitem__(self, name: str, vector: Any) -> None:
        like = vars(self).get("_like")  # not there yet while a pickle is read
        if like is not None and getattr(vector, "shape", None) != like.shape:
            raise ValueError(
                f"slot {name} should have shape {like.shape}, as the values, got {np.shape(vector)}"
            )
        vector = vector if like is None else vector.astype(like.dtype, copy=False)
        super().__setitem__(name, writeable(vector))

    def __setstate__(self, state: dict[str, Array]) -> None:
        vars(self).update({name: writeable(array) for name, array in state.items()})


class Buffer:
    """Parameters of one group and dtype as one flat vector, those with weight decay first."""

    def __init__(self, parameters: list[Parameter], group: ParameterGroup | None) -> None:
        self.rate_factor = 1.0 if group is None else group.rate_factor
        self.weight_decay = None if group is None else group.weight_decay
        self.parameters = sorted(parameters, key=lambda parameter: not parameter.decay)
        size = sum(parameter.size for parameter in parameters)
        dtype = parameters[0].value.dtype
        self.values = np.empty(size, dtype)
        self.grads = np.empty(size, dtype)
        self.scratch = np.empty(size, dtype)
        self.decayed = sum(parameter.size for parameter in parameters if parameter.decay)
        self.slots = Slots(self.values)
        self.gather()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for name in ("values", "grads", "scratch"):
            setattr(self, name, writeable(state[name]))

    def gather(self) -> None:
        """Make each parameter a view of this buffer, unless it is one already.

        It no longer is when another optimizer, or a copy of the model, has moved it.
        """
        start = 0
        for parameter in self.parameters:
            if parameter.value.base is not self.values:
                part = slice(start, start + parameter.size)
                parameter.move(
                    self.values[part].reshape(parameter.shape),
                    self.grads[part].reshape(parameter.shape),
                )
            start += parameter.size


def as_parameters(owner: object, given: Any, *, groups: bool = False) -> list[Any]:
    """Return Parameters (and groups, where allowed) as a list; raise for anything else."""
    name = checks.name_of(owner)
    if isinstance(given, Layer):
        raise TypeError(f"{name}: takes parameters, got a layer; write model.parameters()")
    if isinstance(given, Parameter | ParameterGroup) or not isinstance(given, Iterable):
        hint = "; write model.parameters(), with brackets" * callable(given)
        raise TypeError(f"{name}: takes a list of parameters, got {type(given).__name__}{hint}")
    found = list(given)
    kinds = (Parameter, ParameterGroup) if groups else Parameter
    for item in found:
        if not isinstance(item, kinds):
            hint = "; a group is ParameterGroup(parameters, rate_factor=...)"
            hint *= isinstance(item, dict)
            raise TypeError(f"{name}: takes Parameters, got a {type(item).__name__}{hint}")
    if not found:
        raise ValueError(f"{name}: the list of parameters is empty, so there is nothing to learn")
    return found


def grouped(owner: object, given: Any) -> tuple[list[Parameter], list[Buffer]]:
    """Return all parameters of a list of Parameters and groups, each once, and their buffers.

    There is a buffer for each group and dtype.
    """
    groups: dict[int, ParameterGroup | None] = {}
    found: dict[int, Parameter] = {}
    for item in as_parameters(owner, given, groups=True):
        group = item if isinstance(item, ParameterGroup) else None
        for parameter in [item] if group is None else group.parameters:
            if groups.setdefault(id(parameter), group) is not group:
                raise ValueError(
                    f"{checks.name_of(owner)}: a parameter of shape {parameter.shape} is in two "
                    f"groups, or in one and outside of it"
                )
            found[id(parameter)] = parameter
    kinds: dict[Any, list[Parameter]] = {}
    for key, parameter in found.items():
        kinds.setdefault((id(groups[key]), parameter.value.dtype), []).append(parameter)
    buffers = [Buffer(members, groups[id(members[0])]) for members in kinds.values()]
    return list(found.values()), buffers


# ---------------------------------------------------------------- the first update


def update_and_check(optimizer: Any, buffer: Buffer, grad: Array, rate: float) -> bool:
    """Call `update`, and raise if it cannot have worked; return whether it is known to work.

    What it did is known as soon as there is a gradient and a rate.
    """
    name = type(optimizer).__name__
    before = buffer.values.copy()
    returned = optimizer.update(buffer.values, grad, rate, buffer.slots)
    if returned is not None:
        buffer.values[:] = before
        raise TypeError(
            f"{name}: update returned {type(returned).__name__}, which is ignored; change "
            f"value in place, value -= ..., and return nothing"
        )
    if not rate or not grad.any():
        return False
    if np.array_equal(before, buffer.values) and not _moves(optimizer, buffer, grad):
        raise RuntimeError(
            f"{name}: update changed nothing, although there are a gradient and a learning rate; "
            f"value = value - ... makes a new array, write value -= ..., or value[:] = ..."
        )
    still = [key for key, vector in buffer.slots.items() if not vector.any()]
    if still:
        warnings.warn(
            f"{name}: slot {still[0]} is zero after an update with a gradient; {still[0]} = ... "
            f"makes a new array that is forgotten, write {still[0]}[:] = ..., or {still[0]} += ...",
            RuntimeWarning,
            stacklevel=3,
        )
    return True


def _moves(optimizer: Any, buffer: Buffer, grad: Array) -> bool:
    """Return whether an update by a rate that cannot be lost in rounding changes anything."""
    for start in (buffer.values, np.zeros_like(buffer.values)):
        trial = start.copy()
        optimizer.update(trial, grad, 1.0, Slots(trial))
        if not np.array_equal(trial, start):
            return True
    return False
