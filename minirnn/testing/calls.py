"""Wrong calls: what should be raised, and what should have changed by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from minirnn.testing.report import Advice

__all__ = ["out_of_order", "refused"]


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
        text = f"{what} is accepted without a word: raise a ValueError that says what is wrong"
        yield accepted(text)
