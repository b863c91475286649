"""The contract of a layer."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from minirnn import engine
from minirnn.core import Layer
from minirnn.gradcheck import GradientError, check_gradients
from minirnn.recurrent import Recurrent
from minirnn.testing.report import Advice, ContractReport, NotApplicableError, run
from minirnn.typing import Array

__all__ = ["LAYER_CHECKS", "LayerSubject", "check_any_layer"]


class LayerSubject:
    """A layer, what it takes, and copies of it to experiment on.

    Attributes
    ----------
    inputs : tuple
        The arguments of forward, in float64; each an array, or a tuple or dictionary of arrays.
    mask : boolean array, or None
    """

    def __init__(self, layer: Layer, inputs: tuple[Any, ...], mask: Any) -> None:
        if not inputs:
            raise TypeError("check_layer: takes the layer and what its forward takes, got no input")
        self.layer, self.mask = layer, mask
        self.inputs: tuple[Any, ...] = cast(inputs, np.float64)
        self.name = type(layer).__name__

    def made(self, dtype: Any = np.float64) -> Any:
        """Return a copy with parameters of this dtype, as fresh as the layer was."""
        layer = copy.deepcopy(self.layer)
        for parameter in layer.parameters():
            shape = parameter.shape
            parameter.move(np.empty(shape, dtype), np.empty(shape, dtype))
        layer.zero_grad()
        return layer

    @property
    def x(self) -> Array | None:
        """The input, if it is one array."""
        x = self.inputs[0]
        return x if len(self.inputs) == 1 and isinstance(x, np.ndarray) else None

    @property
    def has_time(self) -> bool:
        """Whether the input is (batch, time, features), or (batch, time) of tokens."""
        return self.x is not None and self.x.ndim == (3 if self.x.dtype.kind == "f" else 2)

    def sequence(self) -> Array:
        """Return the input if it has a time axis; the check does not apply if it has none."""
        if self.x is None or not self.has_time:
            raise NotApplicableError("the input has no time axis (batch, time, features)")
        return self.x

    def others(self) -> tuple[Any, ...]:
        """Return inputs of the same shapes with other numbers: the batch in the opposite order."""
        turned: tuple[Any, ...] = part(self.inputs, slice(None, None, -1))
        return tuple(mapped(turned, lambda a: 0.5 * a if a.dtype.kind == "f" else a))

    def masks(self) -> dict[str, Array]:
        """Return masks to try: padding at the end, and holes; each row keeps a valid step."""
        batch, time = self.sequence().shape[:2]
        steps, rows = np.arange(time), np.arange(batch)[:, None]
        trailing = steps < np.maximum(1, time - rows)
        holes = (steps + rows) % 3 != 1
        holes[:, time - 1] |= ~holes.any(axis=1)
        found = {"padding at the end": trailing, "holes in the mask": holes}
        return found | ({} if self.mask is None else {"the mask": np.asarray(self.mask)})


def check_any_layer(layer: Layer, inputs: tuple[Any, ...], mask: Any) -> ContractReport:
    """Check the contract of a layer."""
    subject = LayerSubject(layer, mapped(inputs, np.asarray), mask)
    return run(layer, subject, LAYER_CHECKS)


# ---------------------------------------------------------------- helpers


def mapped(value: Any, function: Callable[[Array], Any]) -> Any:
    """Return nested tuples and dictionaries with every array replaced."""
    if isinstance(value, tuple | list):
        return tuple(mapped(item, function) for item in value)
    if isinstance(value, dict):
        return {key: mapped(item, function) for key, item in value.items()}
    return None if value is None else function(np.asarray(value))


def cast(value: Any, dtype: Any) -> Any:
    """Return nested arrays with every array of floats in another dtype."""
    return mapped(value, lambda a: a.astype(dtype) if a.dtype.kind == "f" else a)


def part(value: Any, index: Any) -> Any:
    """Return nested arrays with every array indexed."""
    return mapped(value, lambda a: np.ascontiguousarray(a[index]))


def flat(value: Any) -> list[Array]:
    """Return the arrays in nested tuples and dictionaries."""
    found: list[Array] = []
    mapped(value, lambda array: found.append(array))
    return found


def same(one: Any, two: Any) -> bool:
    """Whether all arrays are the same but for rounding."""
    pairs = list(zip(flat(one), flat(two), strict=True))
    return all(a.shape == b.shape and _close(a, b) for a, b in pairs)


def _close(a: Array, b: Array) -> bool:
    scale = max(1.0, float(np.abs(np.where(np.isfinite(a), a, 0)).max(initial=0.0)))
    precise = a.dtype == b.dtype == np.float64
    return bool(np.allclose(a, b, 1e-9 if precise else 1e-4, scale * 1e-11 if precise else 1e-5,
                            equal_nan=True))  # fmt: skip


def equal(one: Any, two: Any) -> bool:
    """Whether all arrays are the same, bit by bit."""
    pairs = zip(flat(one), flat(two), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def draw(y: Array, seed: int = 1) -> Array:
    """Return a random gradient for an output, of its dtype."""
    return np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype)


def gradients_of(layer: Any) -> dict[str, Array]:
    """Return copies of the gradients of all parameters."""
    return {name: parameter.grad.copy() for name, parameter in layer.named_parameters()}


def both(layer: Any, inputs: tuple[Any, ...], grad: Array | None = None, **mask: Any) -> Any:
    """Run forward and backward; return output, gradient on the input, and of the parameters."""
    y = layer.forward(*inputs, **mask)
    grad_x = layer.backward(draw(y) if grad is None else grad)
    return y, grad_x, gradients_of(layer)


def importable(kind: type) -> bool:
    """Whether pickle can find a class: under its name, in its module."""
    module = sys.modules.get(kind.__module__)
    return kind.__module__ != "__main__" and getattr(module, kind.__qualname__, None) is kind


def snapshot(layer: Layer) -> dict[str, Any]:
    """Copy all that a refused call must leave as it was."""
    found: dict[str, Any] = {}
    for name, parameter in layer.named_parameters():
        found |= {name: parameter.value.copy(), f"the gradient of {name}": parameter.grad.copy()}
    for path, one in layer.named_layers():
        for attribute in ("state", "carried_state", "grad_state"):
            state = getattr(one, attribute, None)
            if state is not None:
                found[f"{path}.{attribute}".lstrip(".")] = mapped(state, np.copy)
    return found


def changed(before: dict[str, Any], layer: Layer) -> list[str]:
    """Return the names of what is no longer as it was."""
    after = snapshot(layer)
    return [
        name
        for name in {**before, **after}
        if name not in before or name not in after or not equal(before[name], after[name])
    ]


# ---------------------------------------------------------------- gradients and masks


def gradients(s: LayerSubject) -> Iterator[str]:
    """Compare every gradient with central differences: as given, of one step, of one sequence."""
    variants: dict[str, tuple[tuple[Any, ...], Array | None]] = {"": (s.inputs, None)}
    if s.x is None and s.mask is not None:
        variants["the mask"] = s.inputs, s.mask
    variants["a batch of one"] = part(s.inputs, slice(1)), None
    if s.has_time:
        variants["a single step"] = part(s.inputs, (slice(None), slice(1))), None
        if s.layer.uses_mask:
            x = s.sequence()
            for name, one in s.masks().items():
                variants[name] = ((_padded(x, one, np.nan),), one)
    for name, (inputs, mask) in variants.items():
        found = list(_wrong_gradients(s, inputs, mask))
        yield from (f"{name}: {text}" if name else text for text in found)
        if found:
            return  # the others would only say the same again


def _wrong_gradients(s: LayerSubject, inputs: tuple[Any, ...], mask: Any) -> Iterator[str]:
    try:
        report = check_gradients(s.layer, *inputs, mask=mask, raises=False)
    except GradientError as error:
        yield str(error)
        return
    known = {name for diagnosis in report.diagnoses for name in diagnosis.names}
    for diagnosis in report.diagnoses:
        yield f"the gradient on {', '.join(diagnosis.names)}: {diagnosis.text}"
    for one in report.comparisons:
        if not one.passed and one.name not in known:
            yield (
                f"the gradient on {one.name} is wrong at {one.index}: backward gives "
                f"{one.analytic:.6g}, central differences {one.numeric:.6g}"
            )


def _padded(x: Array, mask: Array, filling: float) -> Array:
    """Return a copy with something else wherever a step is masked."""
    padded = x.copy()
    padded[~mask] = filling if x.dtype.kind == "f" else (10**6 if filling > 0 else -5)
    return padded


def padding(s: LayerSubject) -> Iterator[str]:
    """Put anything into the padding, and each sequence alone beside the padded batch."""
    if not s.layer.uses_mask:
        inside = [(path, one) for path, one in s.layer.named_layers() if one.uses_mask]
        if not inside:
            raise NotApplicableError("the layer takes no mask (uses_mask is False)")
        path, one = inside[0]
        yield (
            f"{path} ({type(one).__name__}) takes a mask, and {s.name} does not hand it on, so "
            f"padding is read as data: set uses_mask = True and write forward(x, mask=None)"
        )
        return
    x = s.sequence()
    for name, mask in s.masks().items():
        clean = both(s.made(), (_padded(x, mask, 0),), mask=mask)
        for filling in (np.nan, np.inf, -1e30):
            dirty = both(s.made(), (_padded(x, mask, filling),), mask=mask)
            if not equal(clean, dirty):
                yield (
                    f"{name}: with {filling:g} in it, the results are others than with 0: replace "
                    f"it first, x = np.where(mask[:, :, None], x, 0) (a product with 0 keeps NaN)"
                )
                break
        if clean[1] is not None and x.dtype.kind == "f" and np.any(clean[1][~mask]):
            yield f"{name}: backward gives masked steps a gradient that is not zero"
    without, full = both(s.made(), (x,)), both(s.made(), (x,), mask=np.ones(x.shape[:2], bool))
    if not same(without, full):
        yield "a mask that is True everywhere gives other results than no mask"
    yield from _alone(s, x)


def _alone(s: LayerSubject, x: Array) -> Iterator[str]:
    mask = s.masks()["padding at the end"]
    together = s.made().eval().forward(_padded(x, mask, 0), mask=mask)
    for row, length in enumerate(mask.sum(axis=1)):
        alone = s.made().eval().forward(x[row : row + 1, :length])
        ours = together[row : row + 1]
        if s.layer.keeps_time and together.ndim > 2:
            ours = ours[:, :length]
        if not same(alone, ours):
            yield (
                f"sequence {row} of {length} steps gives other numbers in a padded batch than "
                f"alone: a mean, a reversal or a state runs over the padding"
            )
            return


# ---------------------------------------------------------------- arrays


def dtype(s: LayerSubject) -> Iterator[str]:
    """Run in float32 and in float64."""
    hint = "is there an array made without a dtype? np.zeros(shape, x.dtype)"
    for kind in (np.float32, np.float64):
        inputs = cast(s.inputs, kind)
        layer = s.made(kind)
        y = layer.forward(*inputs)
        learned = bool(layer.parameters())
        if y.dtype != kind and (learned or s.x is None or s.x.dtype.kind == "f"):
            yield f"forward gives {y.dtype} for {np.dtype(kind)} inputs and parameters: {hint}"
        grad_x = layer.backward(draw(y).astype(kind))
        floats = all(array.dtype.kind == "f" for array in flat(inputs))
        for one in flat(grad_x) if floats else ():
            if one.dtype != kind:
                yield f"backward gives {one.dtype} for {np.dtype(kind)}: {hint}"
    if s.made().parameters() and flat(s.inputs)[0].dtype.kind == "f":
        y = s.made(np.float32).forward(*s.inputs)
        if y.dtype != np.float32:
            yield Advice(
                f"with float32 parameters, a float64 input gives {y.dtype}: cast it once where it "
                f"comes in, x = np.asarray(x, self.W.value.dtype)"
            )


def arrays(s: LayerSubject) -> Iterator[str]:
    """Hand over read-only and strided arrays, and look whether results share memory."""
    expected = both(s.made(), s.inputs)
    layer = s.made()
    y, grad_x, grads = both(layer, mapped(s.inputs, _awkward), _awkward(draw(expected[0])))
    if not same(expected, (y, grad_x, grads)):
        yield "read-only arrays that are not contiguous give other numbers than plain ones"
    for name, parameter in layer.named_parameters():
        for what, result in (("the output", y), ("the gradient on the input", grad_x)):
            if any(np.shares_memory(a, parameter.value) for a in flat(result)):
                yield f"{what} is a view of {name}, so a training step changes it: return a copy"


def _awkward(array: Array) -> Array:
    if array.ndim == 0:
        return array
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    strided = wide[..., ::2]
    strided.flags.writeable = False
    return strided


def later_calls(s: LayerSubject) -> Iterator[str]:
    """Keep what calls return, go on, and look whether it still stands there."""
    layer = s.made()
    y, grad_x, _ = both(layer, s.inputs)
    kept = {"the output": y, "the gradient on the input": grad_x}
    kept |= {name: getattr(layer, name, None) for name in ("state", "grad_state")}
    before = {name: mapped(value, np.copy) for name, value in kept.items()}
    if hasattr(layer, "reset_state"):
        layer.reset_state()
    again = layer.forward(*s.others())
    layer.backward(-draw(again))
    for parameter in layer.parameters():
        parameter.value += 1
    for name, value in kept.items():
        if not equal(before[name], value):
            yield f"{name} of a call is changed by the next one: return a new array each time"


# ---------------------------------------------------------------- the order of calls


def latest_forward(s: LayerSubject) -> Iterator[str]:
    """Run forward on other inputs first, and on others in between by predict."""
    expected = both(s.made(), s.inputs)
    if not same(expected, both(s.made(), s.inputs)):
        yield (
            "two copies of the layer give different numbers: keep a numpy.random.Generator as "
            "self.rng, and draw from nothing else"
        )
        return
    layer = s.made()
    _evaluated(layer)
    reference = both(layer, s.inputs)
    layer = s.made()
    _evaluated(layer)
    both(layer, s.others())
    layer.zero_grad()
    layer.reset_state()
    if not same(reference, both(layer, s.inputs)):
        yield "an earlier call changes the results: let each forward replace all that it keeps"
    if hasattr(layer, "predict"):
        layer = s.made()
        y = layer.forward(*s.inputs)
        layer.predict(*s.others())
        grad_x = layer.backward(draw(y))
        if not same(expected[1:], (grad_x, gradients_of(layer))):
            yield "predict between forward and backward changes what backward gives"
    try:
        s.made().backward(draw(reference[0]))
    except RuntimeError:
        return
    except Exception as error:
        yield Advice(
            f"backward before forward raises {type(error).__name__}: raise a RuntimeError that "
            f"says so"
        )
    else:
        yield Advice("backward before forward is accepted: raise a RuntimeError that says so")


def _evaluated(layer: Layer) -> None:
    if any("rng" in vars(one) for _, one in layer.named_layers()):
        layer.eval()  # else the second call would draw other numbers


def gradients_add(s: LayerSubject) -> Iterator[str]:
    """Begin with gradients that are not zero, go back twice, and clear."""
    layer = s.made()
    y, _, once = both(layer, s.inputs)
    other = s.made()
    for parameter in other.parameters():
        parameter.grad = np.full(parameter.shape, 3.0)
    both(other, s.inputs)
    for name, grad in gradients_of(other).items():
        if not same(grad, once[name] + 3):
            yield f"{name}: backward should add to the gradient: write .grad += ..., not = ..."
    try:
        layer.backward(draw(y))
    except Exception as error:
        yield Advice(f"a second backward after one forward raises {type(error).__name__}")
    else:
        for name, grad in gradients_of(layer).items():
            if not same(grad, 2 * once[name]):
                yield f"{name}: a second backward after one forward gives other numbers"
    layer.zero_grad()
    if any(np.any(grad) for grad in gradients_of(layer).values()):
        yield "zero_grad leaves gradients that are not zero"
    fast = s.made()
    fast.forward(*s.inputs)
    fast.backward_parameters(draw(y))
    if not same(once, gradients_of(fast)):
        yield "backward_parameters adds other gradients than backward"


def steps(s: LayerSubject) -> Iterator[str]:
    """Run one step after the other, beside the whole sequence."""
    x = s.sequence()
    layer = s.made().eval()
    layer.reset_state()
    try:
        outputs = [layer.step(x[:, t]) for t in range(x.shape[1])]
    except (ValueError, NotImplementedError) as error:
        raise NotApplicableError(f"step refuses: {error}") from None
    for t, y_t in enumerate(outputs):
        whole = s.made().eval()
        whole.reset_state()
        y = whole.forward(x[:, : t + 1])
        expected = y[:, -1] if s.layer.keeps_time and y.ndim > 2 else y
        if not same(np.asarray(y_t), expected):
            yield (
                f"step {t} gives other numbers than forward over the steps up to it: a layer that "
                f"remembers, or looks at several steps, writes a step(x_t) of its own (or refuses "
                f"it with a ValueError) and a reset_state"
            )
            return


def engines(s: LayerSubject) -> Iterator[str]:
    """Run what runs the layer fast beside the time loop in Python."""
    x = s.sequence()
    layers = [one for _, one in s.layer.named_layers() if isinstance(one, Recurrent)]
    if all("loop" in one.engine for one in layers):
        raise NotApplicableError(layers[0].engine if layers else "there is no recurrent layer")
    cases = [{}, *({"mask": mask} for mask in s.masks().values() if s.layer.uses_mask)]
    for mask in cases:
        fast = both(s.made(), (x,), **mask)
        with engine.use("off"):
            slow = both(s.made(), (x,), **mask)
        if not same(fast, slow):
            yield (
                f"{layers[0].engine} gives other numbers than the time loop: with engine='off' "
                f"the loop runs; please report it"
            )
            return


# ---------------------------------------------------------------- modes and copies


def modes(s: LayerSubject) -> Iterator[str]:
    """Switch to evaluation and back."""
    layer = s.made()
    if layer.eval() is not layer or layer.train() is not layer:
        yield "train() and eval() should return the layer"
    layer.eval()
    for path, one in layer.named_layers():
        if one.training:
            yield f"eval() does not reach {path or 'the layer itself'}"
    first = layer.forward(*s.inputs)
    layer.reset_state()
    if not same(first, layer.forward(*s.inputs)):
        yield "in evaluation mode, two calls on the same numbers differ"
    layer.train()
    for path, one in layer.named_layers():
        if not one.training:
            yield f"train() does not reach {path or 'the layer itself'}"


def copies(s: LayerSubject) -> Iterator[str]:
    """Copy and pickle the layer; a copy is a layer of its own."""
    layer = s.made()
    twin = copy.deepcopy(layer)
    y = layer.forward(*s.inputs)
    if not same(y, twin.forward(*s.inputs)):
        yield "a deep copy gives other numbers"
    before = snapshot(layer)
    twin.backward(draw(y))
    for parameter in twin.parameters():
        parameter.value += 1
    for name in changed(before, layer):
        yield f"a deep copy is not a layer of its own: using it changes {name} of the original"
    if not importable(type(layer)):
        return
    try:
        again = pickle.loads(pickle.dumps(s.made()))
    except Exception as error:
        yield f"pickle fails ({type(error).__name__}: {error}): keep no function or file on self"
        return
    if not same(y, again.forward(*s.inputs)):
        yield "a pickled copy gives other numbers"


def saved_state(s: LayerSubject) -> Iterator[str]:
    """Save, change everything, load."""
    layer = s.made()
    state = layer.state_dict()
    names = [name for name, _ in layer.named_parameters()]
    if list(state) != names:
        yield f"state_dict has {list(state)}, the parameters are {names}"
        return
    y = layer.forward(*s.inputs)
    if [name for name, _ in layer.named_parameters()] != names:
        yield (
            "forward makes parameters: an optimizer that was made before does not train them; make "
            "them in __init__"
        )
    other = s.made()
    for parameter in other.parameters():
        parameter.value = parameter.value + 1
    other.load_state_dict(state)
    if not same(y, other.forward(*s.inputs)):
        yield (
            "load_state_dict does not bring the layer back: is there an array that is learned, and "
            "no Parameter?"
        )
    for array in state.values():
        array += 1
    if any(np.shares_memory(a, p.value) for a in state.values() for p in layer.parameters()):
        yield "state_dict hands out the parameters themselves: return copies"
    if names:
        before = snapshot(layer)
        wrongs = {
            "a missing name": {name: state[name] for name in names[1:]},
            "an unexpected name": state | {"nobody": np.zeros(1)},
            "another shape": state | {names[0]: np.zeros((*state[names[0]].shape, 2))},
        }
        for what, wrong in wrongs.items():
            call = partial(layer.load_state_dict, wrong)
            yield from _refused(layer, before, call, f"load_state_dict with {what}")


def refusals(s: LayerSubject) -> Iterator[str]:
    """Call it wrongly: a refused call changes nothing."""
    layer = s.made()
    y, _, _ = both(layer, s.inputs)
    reference = s.made()
    reference.forward(*s.inputs)
    before = snapshot(layer)
    wrong_gradients = {
        "one feature too many": np.ones((*y.shape[:-1], y.shape[-1] + 1)),
        "one row too many": np.ones((y.shape[0] + 1, *y.shape[1:])),
        "one axis only, which would be broadcast": np.ones(y.shape[-1]),
    }
    for what, grad in wrong_gradients.items():
        text = f"a gradient with {what} {grad.shape} for {y.shape}"
        yield from _refused(layer, before, partial(layer.backward, grad), text)
    layer = s.made()
    y = layer.forward(*s.inputs)
    before = snapshot(layer)
    x = s.x
    if x is not None and x.dtype.kind == "f" and layer.parameters():
        wider = np.ones((*x.shape[:-1], x.shape[-1] + 1))
        text = f"an input with one feature too many {wider.shape}"
        yield from _refused(layer, before, partial(layer.forward, wider), text)
        expected = reference.backward(draw(y))
        if not equal(before, snapshot(layer)):
            return
        try:
            belongs = same(expected, layer.backward(draw(y)))
        except Exception:  # it kept some of what it refused
            belongs = False
        if not belongs:
            yield Advice(
                "after a refused forward, backward no longer belongs to the forward before: look "
                "at the input before anything is kept"
            )
    if s.layer.uses_mask and s.has_time:
        layer, x = s.made(), s.sequence()
        layer.forward(x)
        before = snapshot(layer)
        shape = x.shape[1], x.shape[0] + (x.shape[0] == x.shape[1])
        for what, mask in (
            (f"a mask of shape {shape}", np.ones(shape, bool)),
            ("a mask of integers", np.ones(x.shape[:2], int)),
        ):
            yield from _refused(layer, before, partial(layer.forward, x, mask=mask), what)


def _refused(
    layer: Layer, before: dict[str, Any], call: Callable[[], Any], what: str
) -> Iterator[str]:
    """Yield what is wrong about a call that should raise and change nothing."""
    try:
        call()
    except (ValueError, TypeError):
        for name in changed(before, layer):
            yield f"{what} is refused, but {name} is changed by then: look before anything is kept"
    except Exception as error:
        yield Advice(f"{what} raises {type(error).__name__}: a ValueError would say what is wrong")
    else:
        yield Advice(f"{what} is accepted without a word: raise a ValueError that names both")
    for name, parameter in layer.named_parameters():
        parameter.value = before[name]
        parameter.grad = before[f"the gradient of {name}"]


LAYER_CHECKS: dict[str, Callable[[LayerSubject], Iterator[str]]] = {
    "gradients": gradients,
    "padding": padding,
    "dtype": dtype,
    "arrays": arrays,
    "later calls": later_calls,
    "latest forward": latest_forward,
    "gradients add": gradients_add,
    "steps": steps,
    "engine": engines,
    "train and eval": modes,
    "copies": copies,
    "state_dict": saved_state,
    "refused calls": refusals,
}
