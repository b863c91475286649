"""What several contracts look at: gradients, calls in the wrong order, calls that are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minirnn.gradcheck import GradientError, GradientReport, check_gradients
from minirnn.testing.arrays import equal, same
from minirnn.testing.report import Advice
from minirnn.testing.subject import Subject


def first_wrong_gradients(
    thing: Any, variants: Iterable[tuple[str, tuple[Any, ...], Any]]
) -> Iterator[str]:
    """Yield what is wrong in the first variant that fails: the others would say the same again.

    Of each variant: what is special about it, the inputs, and the mask or None.
    """
    for name, inputs, mask in variants:
        try:
            found = _said(check_gradients(thing, *inputs, mask=mask, raises=False))
        except GradientError as error:
            found = [str(error)]
        if found:
            yield from (f"{name}: {text}" if name else text for text in found)
            return


def _said(report: GradientReport) -> list[str]:
    """Return what a gradient check found, a sentence each."""
    found = list(map(repr, report.diagnoses))
    known = {name for diagnosis in report.diagnoses for name in diagnosis.names}
    for one in report.comparisons:
        if not one.passed and not {one.name, "output"} & known:
            found.append(
                f"the gradient on {one.name} is wrong at {one.index}: backward gives "
                f"{one.analytic:.6g}, central differences {one.numeric:.6g}"
            )
    return found


def what_padding_changes(s: Subject, replace: str) -> Iterator[str]:
    """Put anything into the padding: results stay, and no gradient goes there.

    `replace` is the code that replaces what stands in the padding.
    """
    for name, mask in s.masks().items():
        clean = s.results(s.made(), s.padded(mask, 0, 0), mask=mask.copy())
        for filling, token in ((np.nan, -5), (np.inf, 10**6), (-1e30, -5)):
            dirty = s.results(s.made(), s.padded(mask, filling, token), mask=mask.copy())
            if not equal(clean, dirty):
                yield (
                    f"{name}: with {filling:g} in it, the results are others than with 0: replace "
                    f"it first, {replace} (a product with 0 keeps NaN)"
                )
                break
        grad = clean.get("the gradient on the input")
        if grad is not None and np.any(grad[~mask]):
            yield f"{name}: backward gives masked steps a gradient that is not zero"
    everywhere = s.results(s.made(), s.inputs, mask=np.ones_like(mask))
    if not same(everywhere, s.results(s.made(), s.inputs)):
        yield "a mask that is True everywhere gives other results than no mask"


def out_of_order(call: Callable[[], Any], what: str, accepted: str) -> Iterator[str]:
    """Yield what is wrong about a call that comes too early, and should raise a RuntimeError.

    `accepted` is what is said if it does not raise, with the result as ``{}``.
    """
    try:
        result = call()
    except RuntimeError:
        return
    except Exception as error:  # of any kind: it is the thing's own code
        yield Advice(f"{what} raises {type(error).__name__}: raise a RuntimeError that says so")
    else:
        yield type(accepted)(accepted.format(result))


def refused(
    call: Callable[[], Any],
    what: str,
    changed: Callable[[], list[str]],
    accepted: Callable[[str], str] = Advice,
) -> Iterator[str]:
    """Yield what is wrong about a call that should raise a ValueError and change nothing.

    `changed` names what is no longer as it was; `accepted` is `str` where it is a violation not to
    raise, and `Advice` where it is not.
    """
    try:
        call()
    except (ValueError, TypeError):
        for name in changed():
            yield f"{what} is refused, but {name} is changed by then: look before anything is kept"
    except Exception as error:  # of any kind: it is the thing's own code
        yield Advice(f"{what} raises {type(error).__name__}: a ValueError would say what is wrong")
    else:
        yield accepted(
            f"{what} is accepted without a word: raise a ValueError that says what is wrong"
        )
