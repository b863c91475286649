"""Every gradient of a layer, cell or loss against central differences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.layers.bidirectional import Bidirectional
from minirnn.layers.cell import Cell
from minirnn.layers.recurrent import Recurrent
from minirnn.losses import Loss
from minirnn.typing import Array, RandomSource

__all__ = ["GradientError", "GradientReport", "check_gradients"]


class GradientError(AssertionError):
    """A gradient that is not what central differences say.

    Attributes
    ----------
    name : str
        Which gradient: ``"input"``, ``"state[0]"``, or a parameter's dotted name.
    index : tuple of int
        Where it is worst.
    analytic, numeric : float
        What backward gave there, and what central differences give.
    """

    def __init__(
        self, message: str, name: str, index: tuple[int, ...], analytic: float, numeric: float
    ) -> None:
        super().__init__(message)
        self.name = name
        self.index = index
        self.analytic = analytic
        self.numeric = numeric


@dataclass(frozen=True)
class Comparison:
    """One gradient, compared element by element.

    Attributes
    ----------
    name : str
    shape : tuple of int
    error : float
        Largest difference, relative to the largest element of the numeric gradient.
    index : tuple of int
        Where the difference is largest.
    analytic, numeric : float
        The two numbers there.
    passed : bool
    """

    name: str
    shape: tuple[int, ...]
    error: float
    index: tuple[int, ...]
    analytic: float
    numeric: float
    passed: bool


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found, one `Comparison` for each gradient; prints as a table."""

    layer: str
    comparisons: tuple[Comparison, ...]

    @property
    def passed(self) -> bool:
        """Whether every gradient agrees."""
        return all(comparison.passed for comparison in self.comparisons)

    @property
    def max_error(self) -> float:
        """The largest relative error of all."""
        return max((comparison.error for comparison in self.comparisons), default=0.0)

    def __repr__(self) -> str:
        width = max([len(c.name) for c in self.comparisons] + [8])
        lines = [f"{'gradient':<{width}}  {'shape':<16}  relative error"]
        for c in self.comparisons:
            verdict = "" if c.passed else "  WRONG"
            lines.append(f"{c.name:<{width}}  {c.shape!s:<16}  {c.error:.1e}{verdict}")
        return f"{self.layer}: {'passed' if self.passed else 'FAILED'}\n" + "\n".join(lines)


def check_gradients(
    layer: Any,
    *inputs: Any,
    mask: Any = None,
    state: Any = None,
    epsilon: float = 1e-5,
    tolerance: float = 1e-6,
    rng: RandomSource = 0,
    raises: bool = True,
) -> GradientReport:
    """Compare every gradient of a layer, cell or loss with central differences.

    The layer is copied and the copy's parameters become float64, so the layer itself stays as it
    is. The output ``y`` is turned into one number, ``sum(r * y)`` with random ``r`` (and the final
    state likewise, where there is one), and each element ``e`` of each input, parameter and initial
    state is moved both ways::

        numeric = (sum(r * y(e + epsilon)) - sum(r * y(e - epsilon))) / (2 epsilon)

    An element passes if it differs from that by at most `tolerance` times the largest element of
    its array, plus the rounding noise of the difference. At the kink of a ReLU or the like, any
    slope between those on the two sides passes.

    Parameters
    ----------
    layer : Layer, Cell, Recurrent or Loss
        Yours or ours.
    *inputs : arrays
        What ``forward`` takes: ``x`` for a layer; ``x_t`` and, if you like, the state tuple for a
        cell; the prediction and the target for a loss. Integer arrays are not moved.
    mask : boolean array (batch, time), optional
    state : tuple of arrays, optional
        Initial state of a recurrent layer; by default a random one.
    epsilon : float
        How far each element is moved.
    tolerance : float
    rng : None, int or numpy.random.Generator
        For ``r`` and the state.
    raises : bool
        False returns the report even where a gradient is wrong.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        That names the gradient, the index and both numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import Dense
    >>> check_gradients(Dense(3, 2, rng=0), np.ones((4, 3)))
    Dense: passed
    gradient  shape             relative error
    input     (4, 3)            ...
    W         (3, 2)            ...
    b         (2,)              ...
    """
    rng = checks.generator("check_gradients", rng)
    if not inputs:
        raise TypeError("check_gradients: takes the layer and what its forward takes, got no input")
    function = _probe(layer, inputs, mask, state, rng)
    analytic = function.gradients()
    comparisons = tuple(
        _compare(name, array, analytic[name], function, epsilon, tolerance)
        for name, array in function.variables.items()
    )
    report = GradientReport(type(layer).__name__, comparisons)
    if raises and not report.passed:
        worst = max((c for c in comparisons if not c.passed), key=lambda c: c.error)
        raise GradientError(
            f"{report.layer}: the gradient on {worst.name} is wrong at {worst.index}: backward "
            f"gives {worst.analytic:.9g}, central differences {worst.numeric:.9g}\n{report!r}",
            worst.name,
            worst.index,
            worst.analytic,
            worst.numeric,
        )
    return report


# ---------------------------------------------------------------- what is differentiated


class _Probe:
    """A number that depends on arrays, and the gradients on them that backward gives.

    `variables` are moved in place; `outputs` runs forward and returns the arrays that the number
    is made of; `run_backward` returns the gradients on all variables but the parameters.
    """

    def __init__(self, layer: Any, rng: np.random.Generator) -> None:
        self.layer = copy.deepcopy(layer)
        self.rng = rng
        self.variables: dict[str, Array] = {}
        self.parts: list[Layer] = []
        if isinstance(self.layer, Layer):
            self.parts = [part for _, part in self.layer.named_layers()]
            for parameter in self.layer.parameters():
                parameter.move(np.empty(parameter.shape), np.empty(parameter.shape))
        self._start = [dict(vars(part)) for part in self.parts]
        self._generators = _generators(self.parts)
        self.weights: list[Array] = []

    def add_parameters(self) -> None:
        for name, parameter in self.layer.named_parameters():
            self.variables[name] = parameter.value

    def outputs(self) -> list[Array]:
        raise NotImplementedError

    def run_backward(self) -> dict[str, Any]:
        raise NotImplementedError

    def restart(self) -> None:
        """Put the layers back to where they began, their random generators included."""
        for part, attributes in zip(self.parts, self._start, strict=True):
            vars(part).clear()
            vars(part).update(attributes)
        for generator, generator_state in self._generators:
            generator.bit_generator.state = generator_state

    def __call__(self) -> float:
        self.restart()
        outputs = self.outputs()
        if not self.weights:
            self.weights = [self.rng.standard_normal(output.shape) for output in outputs]
        return float(sum(float((w * y).sum()) for w, y in zip(self.weights, outputs, strict=True)))

    def gradients(self) -> dict[str, Array]:
        """Return what backward gives, with parameter gradients that did not begin at zero."""
        self()
        if isinstance(self.layer, Layer):
            named = dict(self.layer.named_parameters())
            for parameter in named.values():
                parameter.grad = np.ones(parameter.shape)
        before = {name: array.copy() for name, array in self.variables.items()}
        gradients = self.run_backward()
        for name, array in self.variables.items():
            if not np.array_equal(array, before[name], equal_nan=True):
                raise GradientError(
                    f"{type(self.layer).__name__}: {name} was changed in place by forward or "
                    f"backward",
                    name,
                    (),
                    np.nan,
                    np.nan,
                )
        if isinstance(self.layer, Layer):
            gradients |= {name: parameter.grad - 1 for name, parameter in named.items()}
        return {
            name: checks.check_shape(
                self.layer, gradients[name], array.shape, np.float64, f"the gradient on {name}"
            )
            for name, array in self.variables.items()
        }


class _LayerProbe(_Probe):
    def __init__(
        self, layer: Layer, inputs: tuple[Any, ...], mask: Any, state: Any, rng: Any
    ) -> None:
        super().__init__(layer, rng)
        if len(inputs) != 1:
            raise TypeError(
                f"check_gradients: {type(layer).__name__}.forward takes one input, got "
                f"{len(inputs)}"
            )
        (self.x,) = (_movable(array) for array in inputs)
        if mask is not None and not layer.uses_mask:
            raise TypeError(
                f"check_gradients: {type(layer).__name__} takes no mask; a layer that does sets "
                f"uses_mask = True"
            )
        self.mask = mask
        self.state: tuple[Array, ...] = ()
        self.has_state = isinstance(layer, Recurrent | Bidirectional)
        if self.has_state:
            self.state = self._initial(state)
        if self.x.dtype.kind == "f":
            self.variables["input"] = self.x
        self.variables |= {f"state[{k}]": array for k, array in enumerate(self.state)}
        self.add_parameters()

    def _initial(self, state: Any) -> tuple[Array, ...]:
        if state is not None:
            return tuple(np.array(array, np.float64) for array in state)
        layers = [self.layer]
        if isinstance(self.layer, Bidirectional):
            layers = [self.layer.forward_layer, self.layer.backward_layer]
        zeros = [array for one in layers for array in one.cell.initial_state(len(self.x))]
        return tuple(self.rng.standard_normal(np.shape(array)) * 0.5 for array in zeros)

    def outputs(self) -> list[Array]:
        arguments: dict[str, Any] = {}
        if self.mask is not None:
            arguments["mask"] = self.mask
        if self.has_state:
            arguments["state"] = self.state
        y = self.layer.forward(self.x, **arguments)
        return [y, *(self.layer.state if self.has_state else ())]

    def run_backward(self) -> dict[str, Any]:
        if not self.has_state:
            return {"input": self.layer.backward(self.weights[0].copy())}
        grad_y, *grad_state = (weight.copy() for weight in self.weights)
        gradients = {"input": self.layer.backward(grad_y, tuple(grad_state))}
        return gradients | {f"state[{k}]": g for k, g in enumerate(self.layer.grad_state)}


class _CellProbe(_Probe):
    def __init__(self, cell: Cell, inputs: tuple[Any, ...], state: Any, rng: Any) -> None:
        super().__init__(cell, rng)
        if len(inputs) > 2:
            raise TypeError("check_gradients: a cell takes x_t and the state")
        self.x = np.array(inputs[0], np.float64)
        state = inputs[1] if len(inputs) == 2 else state
        if state is None:
            zeros = self.layer.initial_state(len(self.x))
            state = [rng.standard_normal(np.shape(array)) * 0.5 for array in zeros]
        self.state = tuple(np.array(array, np.float64) for array in state)
        self.variables["input"] = self.x
        self.variables |= {f"state[{k}]": array for k, array in enumerate(self.state)}
        self.add_parameters()

    def outputs(self) -> list[Array]:
        y, state, self.cache = self.layer.forward(self.x, self.state)
        return [y, *state]

    def run_backward(self) -> dict[str, Any]:
        grad_y, *grad_state = (weight.copy() for weight in self.weights)
        grad_x, grad_state = self.layer.backward(grad_y, tuple(grad_state), self.cache)
        return {"input": grad_x} | {f"state[{k}]": g for k, g in enumerate(grad_state)}


class _LossProbe(_Probe):
    def __init__(self, loss: Loss, inputs: tuple[Any, ...], mask: Any, rng: Any) -> None:
        super().__init__(loss, rng)
        if len(inputs) != 2:
            raise TypeError("check_gradients: a loss takes the prediction and the target")
        self.prediction = np.array(inputs[0], np.float64)
        self.target, self.mask = inputs[1], mask
        self.variables["input"] = self.prediction

    def outputs(self) -> list[Array]:
        return [np.asarray(self.layer.forward(self.prediction, self.target, self.mask))]

    def run_backward(self) -> dict[str, Any]:
        return {"input": self.weights[0] * self.layer.backward()}


def _probe(
    layer: Any, inputs: tuple[Any, ...], mask: Any, state: Any, rng: np.random.Generator
) -> _Probe:
    if isinstance(layer, Cell):
        return _CellProbe(layer, inputs, state, rng)
    if isinstance(layer, Loss):
        return _LossProbe(layer, inputs, mask, rng)
    if isinstance(layer, Layer):
        return _LayerProbe(layer, inputs, mask, state, rng)
    raise TypeError(f"check_gradients: takes a Layer, a Cell or a Loss, got {type(layer).__name__}")


def _movable(x: Any) -> Array:
    """Return a copy that can be moved: float64, or the integers themselves."""
    array = np.array(x)
    return array if array.dtype.kind in "iub" else array.astype(np.float64)


def _generators(layers: list[Layer]) -> list[tuple[np.random.Generator, Any]]:
    found = (value for layer in layers for value in vars(layer).values())
    return [
        (value, value.bit_generator.state)
        for value in found
        if isinstance(value, np.random.Generator)
    ]


# ---------------------------------------------------------------- comparing


def _compare(
    name: str,
    array: Array,
    analytic: Array,
    function: Callable[[], float],
    epsilon: float,
    tolerance: float,
) -> Comparison:
    numeric = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        numeric[index] = _slope(function, array, index, epsilon)
    noise = 100 * np.finfo(np.float64).eps * max(1.0, abs(function())) / epsilon
    scale = float(np.abs(numeric).max(initial=0.0))
    difference = np.abs(analytic - numeric)
    difference[np.isnan(difference)] = np.inf
    wrong = difference > tolerance * scale + noise
    for where in np.argwhere(wrong):
        index = tuple(int(k) for k in where)
        slope = float(analytic[index])
        if _near_kink(function, array, index, slope, epsilon, tolerance * scale, noise):
            wrong[index], difference[index] = False, 0.0
    index = tuple(int(k) for k in np.unravel_index(difference.argmax(), array.shape))
    return Comparison(
        name=name,
        shape=array.shape,
        error=float(difference[index]) / max(scale, noise / tolerance),
        index=index,
        analytic=float(analytic[index]),
        numeric=float(numeric[index]),
        passed=not wrong.any(),
    )


def _slope(
    function: Callable[[], float], array: Array, index: tuple[int, ...], epsilon: float
) -> float:
    original = array[index]
    array[index] = original + epsilon
    above = function()
    array[index] = original - epsilon
    below = function()
    array[index] = original
    return (above - below) / (2 * epsilon)


def _near_kink(
    function: Callable[[], float],
    array: Array,
    index: tuple[int, ...],
    analytic: float,
    epsilon: float,
    slack: float,
    noise: float,
) -> bool:
    """Whether a kink explains the difference: a closer look agrees with the analytic slope.

    Near a kink, a smaller move does not reach it, and the central difference is right. At a kink,
    the slopes on the two sides stay apart however small the move, and any slope between is right.
    """
    original, here = array[index], function()
    gaps = []
    for shrink in (10, 100):
        move = epsilon / shrink
        array[index] = original + move
        right = (function() - here) / move
        array[index] = original - move
        left = (here - function()) / move
        array[index] = original
        if abs((left + right) / 2 - analytic) <= slack + noise * shrink:
            return True
        gaps.append(abs(right - left))
    between = min(left, right) - slack <= analytic <= max(left, right) + slack
    return between and gaps[1] > 0.5 * gaps[0] > 10 * noise
