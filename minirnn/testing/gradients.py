"""Gradients of layers, cells and losses in the words of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from minirnn.gradcheck import GradientError, check_gradients

__all__ = ["first_wrong_gradients"]

Variant = tuple[str, tuple[Any, ...], Any]
"""What is special about it, the inputs, and the mask or None."""


def first_wrong_gradients(thing: Any, variants: Iterable[Variant]) -> Iterator[str]:
    """Yield what is wrong in the first variant that fails: the others would say the same again."""
    for name, inputs, mask in variants:
        found = list(_wrong_gradients(thing, inputs, mask))
        yield from (f"{name}: {text}" if name else text for text in found)
        if found:
            return


def _wrong_gradients(thing: Any, inputs: tuple[Any, ...], mask: Any) -> Iterator[str]:
    try:
        report = check_gradients(thing, *inputs, mask=mask, raises=False)
    except GradientError as error:
        yield str(error)
        return
    known = {name for diagnosis in report.diagnoses for name in diagnosis.names}
    for diagnosis in report.diagnoses:
        about_gradients = diagnosis.kind != "in place" and "output" not in diagnosis.names
        what = "the gradient on " if about_gradients else ""
        yield f"{what}{', '.join(diagnosis.names)}: {diagnosis.text}"
    for one in report.comparisons:
        if not one.passed and not {one.name, "output"} & known:
            yield (
                f"the gradient on {one.name} is wrong at {one.index}: backward gives "
                f"{one.analytic:.6g}, central differences {one.numeric:.6g}"
            )
