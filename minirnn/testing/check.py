"""The check of a contract, from the first rule to the last."""

from __future__ import annotations

from typing import Any

from minirnn.cells.cell import Cell
from minirnn.core import Layer
from minirnn.gradcheck.arguments import check_arguments
from minirnn.losses import Loss
from minirnn.optimizers import Optimizer
from minirnn.testing.callbacks import CALLBACK, is_callback
from minirnn.testing.cells import check_cell
from minirnn.testing.layers import LAYER
from minirnn.testing.optimizers import OPTIMIZER, OptimizerSubject
from minirnn.testing.report import ContractError, ContractReport, run
from minirnn.testing.subject import LayerSubject, TargetSubject
from minirnn.testing.targets import LOSS, METRIC


def check_layer(thing: Any, *inputs: Any, mask: Any = None, raises: bool = True) -> ContractReport:
    """Check everything that a layer, cell, loss, optimizer, metric or callback has to keep.

    For what you have written yourself: it is copied, run in many ways, and all that is broken is
    said at once, each in words, with what to write. The thing itself stays as it is.

    - A **layer**: every gradient; one step, one sequence; padding of any content, gaps in the mask;
      the dtype; nothing changed in place; results that later calls leave alone; backward belongs to
      the latest forward and adds to the gradients; `step` against `forward`; training and
      evaluation; copies, pickles and `state_dict`; refused calls that change nothing.
    - A **cell**: what a step returns, and then all of the above for the layer over it.
    - A **loss**: the gradient; the mean over valid positions alone; the order of calls.
    - A **metric**: batches against all at once; `reset`; the mask; `value` and `higher_is_better`.
    - An **optimizer**: updates in place; a zero gradient; clipping and decay; an exact resume.
    - A **callback**: the names and arguments of its methods; a short training with it, saved and
      resumed in the middle.

    Parameters
    ----------
    thing : Layer, Cell, Loss, Optimizer, metric or callback
        An object; of an optimizer, its class serves as well.
    *inputs : arrays
        What it works on, small, with sizes that all differ: ``x`` for a layer; ``x_t`` for a cell;
        prediction and target for a loss or a metric; nothing for an optimizer or a callback.
    mask : boolean array (batch, time), optional
        One more mask to check with, beside those that are tried anyway.
    raises : bool
        False returns the report even where something is broken.

    Returns
    -------
    ContractReport

    Raises
    ------
    ContractError
        With the report as text, and as `report`.
    TypeError, ValueError
        If the thing is none of these, or the inputs are not as above.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import Layer, Parameter
    >>> class Scale(Layer):
    ...     def __init__(self, size):
    ...         self.w = Parameter(np.ones(size, np.float32))
    ...
    ...     def forward(self, x):
    ...         self.x = x
    ...         return x * self.w.value
    ...
    ...     def backward(self, grad):
    ...         self.w.grad = (grad * self.x).sum(axis=0)
    ...         return grad * self.w.value
    >>> x = np.random.default_rng(0).normal(size=(4, 3))
    >>> report = check_layer(Scale(3), x, raises=False)
    >>> report.passed
    False
    >>> report.violations[0]
    gradients: w: looks like a gradient overwritten instead of added to: ...
    """
    if isinstance(thing, Layer | Loss) and inputs:
        check_arguments("check_layer", thing, inputs, mask)
    if isinstance(thing, Cell):
        report = check_cell(thing, inputs, mask)
    elif isinstance(thing, Layer):
        if not inputs:
            raise TypeError("check_layer: takes the layer and what its forward takes, got no input")
        report = run(thing, LayerSubject(thing, inputs, mask), LAYER)
    elif isinstance(thing, Loss):
        report = run(thing, TargetSubject(thing, inputs, mask), LOSS)
    elif isinstance(thing, Optimizer) or (isinstance(thing, type) and issubclass(thing, Optimizer)):
        over_its_own = OptimizerSubject(thing)
        report = run(over_its_own.thing, over_its_own, OPTIMIZER)
    elif hasattr(thing, "update") and hasattr(thing, "reset"):
        report = run(thing, TargetSubject(thing, inputs, mask), METRIC)
    elif is_callback(thing):
        report = run(thing, thing, CALLBACK)
    else:
        raise TypeError(
            f"check_layer: takes a layer, cell, loss, optimizer, metric or callback, got "
            f"{type(thing).__name__}"
            + (f", a class: write {thing.__name__}(...)" if isinstance(thing, type) else "")
        )
    if raises and not report.passed:
        raise ContractError(report)
    return report
