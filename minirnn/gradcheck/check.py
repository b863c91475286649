"""The check itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minirnn import checks
from minirnn.core import Layer
from minirnn.gradcheck.arguments import check_arguments, checked_function
from minirnn.gradcheck.diagnosis.diagnose import diagnose
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.own_code import located
from minirnn.gradcheck.report import Comparison, Diagnosis, GradientError, GradientReport
from minirnn.gradcheck.violations import beside_the_loop, overwritten
from minirnn.losses import Loss
from minirnn.typing import RandomSource


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
    is. Parameters at which mistakes hide (constant ones, and those of zeros and ones alone) take
    random values in the copy. The output ``y`` is turned into one number, ``sum(r * y)`` with
    random ``r`` (and the final state likewise, where there is one), and each element ``e`` of each
    input, parameter and initial state is moved both ways::

        numeric = (sum(r * y(e + epsilon)) - sum(r * y(e - epsilon))) / (2 epsilon)

    An element passes if it differs from that by at most `tolerance` times the largest element of
    its array, plus the rounding noise of the difference. At the kink of a ReLU or the like, any
    slope between those on the two sides passes.

    Where a gradient is wrong, experiments follow that compare it with what known mistakes would
    give: `minirnn.gradcheck.diagnosis`. What fits in every element is said in the report and in the
    error; where nothing fits, nothing is claimed. Three rules are checked even where all numbers
    are right: nothing is changed in place, no earlier or later call has an influence on backward,
    and gradients of parameters are added to.

    Parameters
    ----------
    layer : Layer, Cell, Recurrent or Loss
        Yours or ours.
    *inputs : arrays
        What ``forward`` takes: ``x`` for a layer, or a tuple or dictionary of arrays; ``x_t`` and,
        if you like, the state tuple for a cell; the prediction and the target for a loss. Integer
        arrays are not moved, and the report says so.
    mask : boolean array (batch, time), optional
        Of the inputs; for several inputs, a tuple or dictionary of masks. For a loss, its mask.
    state : tuple of arrays, optional
        Initial state of a layer that carries one; by default a random one.
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
        That names the gradient, the index and both numbers, and in `diagnosis` what it looks like.
        One about a wrong shape is a ValueError as well, one about a missing array a TypeError.
        What the layer's own code raises keeps its class; its message gets the method and the line.

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

    A mistake, and what is said of it:

    >>> class Mean(Dense):
    ...     def backward(self, grad):
    ...         self.b.grad -= grad.sum(axis=0) - grad.mean(axis=0)
    ...         return super().backward(grad)
    >>> print(check_gradients(Mean(3, 2, rng=0), np.ones((4, 3)), raises=False).diagnosis)
    b: looks like a mean over the batch where a sum belongs: backward gives 0.25 times the truth
    (1 / the batch size)
    """
    rng = checks.generator("check_gradients", rng)
    epsilon = checks.positive_float("check_gradients", "epsilon", epsilon)
    tolerance = checks.positive_float("check_gradients", "tolerance", tolerance)
    if isinstance(layer, Layer | Loss) and inputs:
        check_arguments("check_gradients", layer, inputs, mask)
    try:
        function = checked_function(layer, inputs, mask, state, rng)
        evidence = Evidence(function, epsilon, tolerance)
        found = evidence.violated
        notes, engine = beside_the_loop(function)
    except RefusedError as refused:
        error = located(refused.function, refused.error)
        raise error.with_traceback(refused.error.__traceback__) from None
    if evidence.failed:
        found = diagnose(evidence)
    elif not found:
        found = tuple(overwritten(function) or engine)
    comparisons = tuple(_with_words(m.comparison, found) for m in evidence.measurements.values())
    report = GradientReport(type(layer).__name__, comparisons, found, (*_notes(function), *notes))
    if raises and not report.passed:
        raise _error(report)
    return report


def _notes(function: CheckedFunction) -> tuple[str, ...]:
    """Say of every input that is not moved, or says little, that it is so."""
    notes = []
    for name, array in function.given.items():
        if name.startswith(("mask", "target")):
            continue
        if name not in function.variables:
            notes.append(
                f"{name}: integers cannot be moved, so what backward gives for it was not compared"
            )
        elif not array.any():
            notes.append(
                f"{name}: all zeros, so gradients that are multiplied with it are zero, right or "
                f"wrong; check with random numbers"
            )
    return tuple(notes)


def _with_words(comparison: Comparison, found: tuple[Diagnosis, ...]) -> Comparison:
    """Return the comparison with what is said of it, if it is wrong."""
    own = [diagnosis.text for diagnosis in found if comparison.name in diagnosis.names]
    if comparison.passed or not own:
        return comparison
    return replace(comparison, diagnosis="\n".join(own))


def _error(report: GradientReport) -> GradientError:
    """Return the error about the gradient that is most wrong, or the rule that is broken."""
    wrong = [comparison for comparison in report.comparisons if not comparison.passed]
    changed = [d.names[0] for d in report.diagnoses if d.kind == "in place"]
    if changed or not wrong:
        name = changed[0] if changed else report.diagnoses[0].names[0]
        text = f"{report.layer}: {name} was changed in place by forward or backward"
        if not changed:
            text = f"{report.layer}: backward breaks a rule, although its numbers are right"
        return GradientError(f"{text}\n{report!r}", name, report.diagnoses)
    worst = max(wrong, key=lambda comparison: comparison.error)
    return GradientError(
        f"{report.layer}: the gradient on {worst.name} is wrong at {worst.index}: backward gives "
        f"{worst.analytic:.9g}, central differences {worst.numeric:.9g}\n{report!r}",
        worst.name,
        report.diagnoses,
        worst.index,
        worst.analytic,
        worst.numeric,
    )
