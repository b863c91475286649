"""The one place where arguments are checked and errors are worded.

Every message names the layer, the axis by number and name, what was expected, what came, and the
likely mistake. Nothing here changes its arguments: a check returns the array that the layer goes on
with, cast to the layer's dtype where that is needed and the caller's own array where it is not.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from minirnn.typing import Array, Mask

_AXES = {
    1: ("features",),
    2: ("batch", "features"),
    3: ("batch", "time", "features"),
}


def name_of(owner: object) -> str:
    """Return the name an error gives to a layer: its class, or the text itself."""
    return owner if isinstance(owner, str) else type(owner).__name__


def _axis_name(axis: int, rank: int) -> str:
    names = _AXES.get(rank)
    name = names[axis] if names else ("features" if axis == rank - 1 else f"axis {axis} of {rank}")
    return f"axis {axis} ({name})"


def kind_of(value: Any) -> str:
    """Return what an error says of that which came in place of something else."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape}"
    if isinstance(value, dict):
        keys = ", ".join(map(repr, value))
        return f"a dictionary with the keys {keys}" if keys else "an empty dictionary"
    name = type(value).__name__
    return f"a {name} of {len(value)}" if isinstance(value, list | tuple) else name


def locate(error: Exception, where: str) -> None:
    """Put `where` in front of an error's message, whatever its kind."""
    if error.args and isinstance(error.args[0], str):
        error.args = (f"{where}: {error.args[0]}", *error.args[1:])
    else:
        error.add_note(where)


@contextmanager
def located(where: str) -> Iterator[None]:
    """Return a block whose errors say first where they came up."""
    try:
        yield
    except Exception as error:
        locate(error, where)
        raise


# ---------------------------------------------------------------- constructor arguments


def integer(owner: object, name: str, value: Any) -> int:
    """Return `value` as an int."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name_of(owner)}: {name} should be a whole number, got {value!r} "
            f"({type(value).__name__})"
        ) from None


def positive_int(
    owner: object, name: str, value: Any, *, least: int = 1, most: float = math.inf
) -> int:
    """Return `value` as an int from `least` to `most`."""
    number = integer(owner, name, value)
    if not least <= number <= most:
        bounds = f"at least {least}" if number < least else f"from {least} to {most}"
        raise ValueError(f"{name_of(owner)}: {name} should be {bounds}, got {number}")
    return number


def finite_float(owner: object, name: str, value: Any) -> float:
    """Return `value` as a finite float."""
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.integer | np.floating
    ):
        raise TypeError(
            f"{name_of(owner)}: {name} should be a number, got {value!r} ({type(value).__name__})"
        )
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{name_of(owner)}: {name} should be finite, got {number}")
    return number


def positive_float(
    owner: object, name: str, value: Any, *, zero: bool = False, least: float = 0
) -> float:
    """Return `value` as a finite float of at least `least`, 0 only where `zero` is allowed."""
    number = finite_float(owner, name, value)
    if number < least or (number == 0 and not zero):
        bound = f"at least {least}" if zero or least else "greater than 0"
        raise ValueError(f"{name_of(owner)}: {name} should be {bound}, got {number:g}")
    return number


def fraction(owner: object, name: str, value: Any, *, zero: bool = True) -> float:
    """Return `value` as a float in [0, 1), or in (0, 1) where `zero` is not allowed."""
    number = finite_float(owner, name, value)
    if not 0 <= number < 1 or (number == 0 and not zero):
        bound = "at least 0 and below 1" if zero else "between 0 and 1"
        raise ValueError(f"{name_of(owner)}: {name} should be {bound}, got {number:g}")
    return number


def two_ends(
    owner: object, name: str, value: Any, check: Callable[..., Any], least: float
) -> tuple[Any, Any]:
    """Return the ends of a range given as a pair, the smaller one of at least `least`."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(
            f"{name_of(owner)}: {name} should be a pair (smallest, largest), got {value!r}"
        )
    low = check(owner, f"{name}[0]", value[0], least=least)
    return low, check(owner, f"{name}[1]", value[1], least=low)


def flag(owner: object, name: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name_of(owner)}: {name} should be True or False, got {value!r}")
    return bool(value)


def path(owner: object, name: str, value: Any) -> Any:
    """Return `value` if it is the path of a file or a folder."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name_of(owner)}: {name} should be a path, got {value!r}")
    return value


def choice(owner: object, name: str, value: Any, options: tuple[str, ...]) -> str:
    """Return `value` if it is one of `options`."""
    if isinstance(value, str) and value in options:
        return value
    listed = ", ".join(repr(option) for option in options)
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(f"{name_of(owner)}: {name} should be one of {listed}, got {value!r}")


def float_dtype(owner: object, dtype: Any) -> np.dtype[Any]:
    """Return `dtype` as a NumPy dtype, float32 or float64."""
    try:
        result: np.dtype[Any] | None = np.dtype(dtype)
    except TypeError:
        result = None
    if dtype is not None and result in (np.float32, np.float64):
        return result
    numbers = result is not None and result.kind in "biufc"  # or the name of something
    kind = ValueError if numbers or isinstance(dtype, str) else TypeError
    raise kind(f"{name_of(owner)}: dtype should be float32 or float64, got {dtype!r}")


def instance(owner: object, name: str, value: Any, kind: type) -> Any:
    """Return `value` if it is of `kind`; say so if it is the class and not an object of it."""
    if isinstance(value, kind):
        return value
    got, hint = type(value).__name__, ""
    if isinstance(value, type):
        got, hint = f"the class {value.__name__}", f": write {value.__name__}(...)"
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    raise TypeError(
        f"{name_of(owner)}: {name} should be {article} {kind.__name__}, got {got}{hint}"
    )


def generator(owner: object, rng: Any) -> np.random.Generator:
    """Return the generator that an ``rng=`` argument stands for."""
    kinds = int | np.integer | np.random.Generator
    if rng is not None and (isinstance(rng, bool) or not isinstance(rng, kinds)):
        raise TypeError(
            f"{name_of(owner)}: rng should be None, an int seed or a numpy.random.Generator, "
            f"got {type(rng).__name__}"
        )
    if isinstance(rng, int | np.integer) and rng < 0:
        raise ValueError(f"{name_of(owner)}: rng should be a seed of at least 0, got {rng!r}")
    return np.random.default_rng(rng)


def saved(owner: Any) -> Any:
    """Return what `forward` kept in `_cache`, or say that there was no forward."""
    if owner._cache is None:
        raise RuntimeError(
            f"{name_of(owner)}: backward was called before forward: there is nothing to go back "
            f"through"
        )
    return owner._cache


# ---------------------------------------------------------------- arrays


def as_array(owner: object, x: Any, what: str) -> Array:
    """Return `x` as an array of whatever it holds."""
    if x is None:
        raise TypeError(f"{name_of(owner)}: {what} should be an array, got None")
    if hasattr(x, "filled") and np.any(x.mask):
        raise TypeError(
            f"{name_of(owner)}: {what} is a masked array, and what it hides would be read; write "
            f"x.filled(0), and pass a boolean mask (batch, time), True where the step is valid"
        )
    try:
        return np.asarray(x)
    except ValueError:
        raise ValueError(
            f"{name_of(owner)}: {what} is not a rectangular array: do its sequences have different "
            f"lengths? minirnn.data.pad_sequences pads them and returns the mask"
        ) from None
    except (RuntimeError, TypeError) as error:
        if not hasattr(x, "detach"):
            raise
        raise TypeError(
            f"{name_of(owner)}: {what} is a {type(x).__name__} that is no array; write "
            f".detach().cpu().numpy() after it ({error})"
        ) from None


def as_floats(owner: object, x: Any, dtype: Any = None, what: str = "the input") -> Array:
    """Return `x` as an array of floats, of `dtype` where one is given.

    Without `dtype`, float32 and float64 stay what they are and everything else becomes float32.
    """
    if dtype is not None and type(x) is np.ndarray and x.dtype == dtype:
        same: Array = x  # the common case, at the price of one comparison
        return same
    if getattr(x, "is_stand_in", False):  # the engine is tracing: a shape, and no numbers
        traced: Array = x
        return traced
    array = x if type(x) is np.ndarray else as_array(owner, x, what)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{name_of(owner)}: {what} should hold real numbers, got an array of "
            f"{array.dtype} (from a {type(x).__name__})"
        )
    if dtype is None:
        native = array.dtype.newbyteorder("=")
        dtype = native if native in (np.float32, np.float64) else np.float32
    return array.astype(dtype, copy=False)


def as_integers(owner: object, x: Any, size: int, what: str, mask: Any = None) -> Array:
    """Return `x` as an array of integers in ``0 .. size - 1``; masked positions are not checked.

    Masked positions come back as 0, so that the padding never holds an index out of range; the mask
    is checked too.
    """
    array = x if type(x) is np.ndarray else as_array(owner, x, what)
    if array.dtype.kind not in "iu":
        kind = array.dtype.kind
        hint = "; for words, write names, x = np.unique(x, return_inverse=True)" * (kind in "OSUT")
        if kind == "b":
            hint = "; write x.astype(int)"
        elif kind == "f":
            missing = int(np.isnan(array).sum())
            hint = "; for whole numbers stored as floats, write x.astype(int)"
            hint = f"; {missing} of {array.size} are NaN" if missing else hint
        raise TypeError(
            f"{name_of(owner)}: {what} should be integers in 0..{size - 1}, got an array of "
            f"{array.dtype}{hint}"
        )
    if mask is not None:
        if type(mask) is not np.ndarray or mask.dtype != np.bool_ or mask.shape != array.shape:
            mask = as_mask(owner, mask, array.shape)
        array = np.where(mask, array, 0)
    if array.size and (array.min() < 0 or array.max() >= size):
        wrong = np.argwhere((array < 0) | (array >= size))[0]
        where = tuple(int(k) for k in wrong)
        raise ValueError(
            f"{name_of(owner)}: {what} should be in 0..{size - 1} ({size} of them), got "
            f"{array[where]} at position {where}; they are from {array.min()} to {array.max()}"
        )
    return array.astype(np.intp, copy=False)  # sums and products of uint8 would overflow


def check_axis(owner: object, x: Array, axis: int, size: int) -> None:
    """Raise unless `x` has `size` elements on `axis`; say so if another axis would fit."""
    if x.shape[axis] == size:
        return
    axis %= x.ndim
    message = (
        f"{name_of(owner)}: {_axis_name(axis, x.ndim)} should be {size}, "
        f"got {x.shape[axis]} in shape {x.shape}"
    )
    names = _AXES.get(x.ndim)
    for other in reversed(range(x.ndim)):
        if names and other != axis and x.shape[other] == size:
            swapped = f"are {names[other]} and {names[axis]} swapped?"
            message += f"; {_axis_name(other, x.ndim)} is {size}: {swapped}"
            break
    raise ValueError(message)


def features(owner: object, x: Any, size: int, dtype: Any) -> Array:
    """Return `x` as floats with `size` features on its last axis, at any rank."""
    if type(x) is np.ndarray and x.dtype is dtype and x.shape[-1:] == (size,):
        right: Array = x  # the common case, at the price of three comparisons
        return right
    array = as_floats(owner, x, dtype)
    if array.ndim == 0:
        raise ValueError(
            f"{name_of(owner)}: the input should have {size} features on its last axis, "
            f"got a single number"
        )
    if array.shape[-1] != size:
        check_axis(owner, array, -1, size)
    return array


def sequence(
    owner: object, x: Any, size: int | None, dtype: Any, mask: Any = None
) -> tuple[Array, Mask | None]:
    """Return `x` as floats ``(batch, time, size)``, none of the three empty, and its mask."""
    array = x if type(x) is np.ndarray and x.dtype is dtype else as_floats(owner, x, dtype)
    if array.ndim != 3:
        hint = ""
        if array.ndim == 2:
            hint = (
                "; for integer tokens put an Embedding first, for one feature a step write "
                "x[:, :, None], for one sequence x[None], for a single time step call step(x_t)"
            )
        raise ValueError(
            f"{name_of(owner)}: the input should be (batch, time, features), got {array.ndim} "
            f"{'axis' if array.ndim == 1 else 'axes'} in shape {array.shape}{hint}"
        )
    if 0 in array.shape[:-1]:
        _refuse_empty(owner, array)
    if size is not None and array.shape[2] != size:
        check_axis(owner, array, 2, size)
    shape = array.shape[:2]
    if mask is not None and not (
        type(mask) is np.ndarray and mask.dtype == np.bool_ and mask.shape == shape
    ):
        mask = as_mask(owner, mask, shape)
    return array, mask


def step(owner: object, x_t: Any, size: int | None, dtype: Any) -> Array:
    """Return `x_t` as floats of shape ``(batch, size)``, neither of the two empty."""
    array = as_floats(owner, x_t, dtype)
    if array.ndim != 2:
        hint = "; a cell and step() take one time step, x[:, t]" if array.ndim == 3 else ""
        raise ValueError(
            f"{name_of(owner)}: one time step should be (batch, features), got {array.ndim} axes "
            f"in shape {array.shape}{hint}"
        )
    if 0 in array.shape[:-1]:
        _refuse_empty(owner, array)
    if size is not None and array.shape[1] != size:
        check_axis(owner, array, 1, size)
    return array


def _refuse_empty(owner: object, x: Array) -> None:
    raise ValueError(
        f"{name_of(owner)}: {_axis_name(x.shape.index(0), x.ndim)} should be at least 1, got 0 in "
        f"shape {x.shape}: there is nothing to run on"
    )


def no_nan(owner: object, x: Array, what: str) -> None:
    """Raise if numbers to choose the largest of are nan: whatever is chosen would be arbitrary."""
    if np.isnan(x.max(initial=-np.inf)):
        where = tuple(int(k) for k in np.argwhere(np.isnan(x))[0])
        raise ValueError(
            f"{name_of(owner)}: {what} is nan at position {where} of {x.shape}; are the weights "
            f"and the input finite?"
        )


def weights(owner: object, given: Any, own: Mapping[str, Any]) -> dict[str, Array]:
    """Return an array for each parameter in `own`; list all that is missing or does not fit."""
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{name_of(owner)}: load_state_dict takes a dictionary from names to arrays, got "
            f"{type(given).__name__}"
        )
    problems = [f"missing: {name} {own[name].shape}" for name in own if name not in given]
    problems += [f"unexpected: {name}" for name in given if name not in own]
    arrays = {
        name: as_floats(owner, given[name], parameter.dtype, name)
        for name, parameter in own.items()
        if name in given
    }
    problems += [
        f"misshapen: {name} should be {own[name].shape}, got {array.shape}"
        for name, array in arrays.items()
        if array.shape != own[name].shape
    ]
    if problems:
        raise ValueError(
            f"{name_of(owner)}: the weights do not fit, nothing was loaded:\n  "
            + "\n  ".join(problems)
        )
    return arrays


def tuple_of(given: Any, count: int, wanted: str) -> tuple[Any, ...]:
    """Return a tuple or list of so many as a tuple; `wanted` says what it should be."""
    if not isinstance(given, tuple | list):
        raise TypeError(f"{wanted}, got {type(given).__name__}")
    if len(given) != count:
        raise ValueError(f"{wanted}, got {type(given).__name__} of {len(given)}")
    return tuple(given)


def check_shape(owner: object, x: Any, shape: tuple[int, ...], dtype: Any, what: str) -> Array:
    """Return `x` as floats of exactly `shape`: nothing is broadcast in silence."""
    if dtype is not None and type(x) is np.ndarray and x.dtype == dtype and x.shape == shape:
        same: Array = x  # the common case
        return same
    array = as_floats(owner, x, dtype, what)
    if array.shape != shape:
        hint = ""
        if array.ndim == 0 and what.startswith("the gradient"):
            hint = "; it is loss.backward(), and not the number that loss.forward(...) returns"
        raise ValueError(
            f"{name_of(owner)}: {what} should have shape {shape}, got {array.shape}{hint}"
        )
    return array


def as_mask(owner: object, mask: Any, shape: tuple[int, ...]) -> Mask:
    """Return `mask` as a boolean array of `shape`."""
    if isinstance(mask, dict) or (
        isinstance(mask, tuple) and any(one is None or np.ndim(one) > 1 for one in mask)
    ):
        raise TypeError(
            f"{name_of(owner)}: got a {type(mask).__name__} of masks, as a model with several "
            f"inputs does; a layer inside takes the one that belongs to its own input"
        )
    array = mask if type(mask) is np.ndarray else as_array(owner, mask, "the mask")
    if array.dtype != np.bool_:
        raise TypeError(
            f"{name_of(owner)}: the mask should be boolean, True where the step is valid, got an "
            f"array of {array.dtype}; write mask.astype(bool), or "
            f"minirnn.data.lengths_to_mask(lengths) for lengths"
        )
    if array.shape != shape:
        swapped = ": are batch and time swapped?" if array.shape == shape[::-1] != shape else ""
        raise ValueError(
            f"{name_of(owner)}: the mask should have shape {shape} (batch, time), "
            f"got {array.shape}{swapped}"
        )
    return array
