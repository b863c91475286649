"""What several contracts look at: gradients, calls in the wrong order, calls that are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from minirnn.gradcheck import GradientError, check_gradients
from minirnn.testing.report import Advice

__all__ = ["first_wrong_gradients", "out_of_order", "refused"]


def first_wrong_gradients(
    thing: Any, variants: Iterable[tuple[str, tuple[Any, ...], Any]]
) -> Iterator[str]:
    """Yield what is wrong in the first variant that fails: the others would say the same again.

    Of each variant: what is special about it, the inputs, and the mask or None.
    """
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
