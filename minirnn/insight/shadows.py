"""Methods of single objects, replaced for a while and then given back."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import MethodType
from typing import Any

__all__ = ["Shadows"]

_ABSENT = object()
_MARK = "_recorder_of_minirnn"


class Shadows:
    """Instance attributes that stand before the methods of the same name.

    ``place(target, "forward", around)`` makes ``target.forward(...)`` call ``around(original,
    ...)``, where ``original`` is what ``target.forward`` was before. Classes stay as they are, so
    nothing else is slower; `remove` leaves each object as it was found.

    A deep copy made of a shadowed object does not report to the recorder of its model: its shadows
    notice that they are on another object and take themselves away when they are first called.

    Examples
    --------
    >>> class Greeter:
    ...     def greet(self, name):
    ...         return f"hello {name}"
    >>> greeter, shadows = Greeter(), Shadows()
    >>> shadows.place(greeter, "greet", lambda original, name: original(name).upper())
    >>> greeter.greet("Ada")
    'HELLO ADA'
    >>> shadows.remove()
    >>> greeter.greet("Ada"), vars(greeter)
    ('hello Ada', {})
    """

    def __init__(self) -> None:
        self._placed: list[tuple[object, str, Any]] = []

    def place(self, target: object, name: str, around: Callable[..., Any]) -> None:
        """Let ``around(original, *arguments)`` answer for ``target.name(*arguments)``."""
        found = vars(target).get(name)
        if hasattr(found, _MARK) and not self.on(target, name):
            del vars(target)[name]  # came along with a deep copy
        original = getattr(target, name)

        @wraps(original)
        def shadow(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self is not target:
                vars(self).pop(name, None)
                return getattr(self, name)(*args, **kwargs)
            return around(original, *args, **kwargs)

        setattr(shadow, _MARK, target)
        self._placed.append((target, name, vars(target).get(name, _ABSENT)))
        vars(target)[name] = MethodType(shadow, target)  # a method: deepcopy binds it to the copy

    def remove(self) -> None:
        """Give every object back what it had, the latest first."""
        while self._placed:
            target, name, before = self._placed.pop()
            if before is _ABSENT:
                vars(target).pop(name, None)
            else:
                vars(target)[name] = before

    @staticmethod
    def on(target: object, name: str) -> bool:
        """Tell whether a shadow stands before this method of the object itself."""
        return getattr(vars(target).get(name), _MARK, None) is target
