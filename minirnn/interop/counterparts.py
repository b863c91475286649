"""What the conversions share: which layer is whose counterpart, and how a refusal is worded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from minirnn.core import Layer
from minirnn.layers import Embedding
from minirnn.models.sequential import Sequential


class ConversionError(ValueError):
    """Something has no counterpart in the other library, or the two do not agree."""


class Plain(NamedTuple):
    """A row of a library's table: a layer without parameters that both sides have."""

    ours: Any
    theirs: Any
    options: Mapping[str, str] = {}
    """From an option's name here to its name there."""
    fixed: Mapping[str, tuple[Any, ...]] = {}
    """Their options that ours has no choice of: what computes the same, what is written first."""
    own: Mapping[str, Any] = {}
    """Our options that theirs has no choice of, each with its value."""

    def keywords(self, layer: Layer) -> dict[str, Any]:
        """Return their options for our layer."""
        own = {there: getattr(layer, here) for here, there in self.options.items()}
        return own | {name: values[0] for name, values in self.fixed.items()}

    def layer(self, options: Mapping[str, Any]) -> Layer:
        """Return our layer for their options."""
        numbers = {here: float(options[there]) for here, there in self.options.items()}
        made: Layer = self.ours(**numbers, **self.own)
        return made

    def lacks(self, layer: Layer) -> str:
        """Return what theirs has not of our layer, as in ``"rate=0.5"``; "" where it has all."""
        return _other(vars(layer), {name: (value,) for name, value in self.own.items()})

    def unlike(self, options: Mapping[str, Any]) -> str:
        """Return the option that has no counterpart, as in ``"dim=1"``; "" where all have."""
        return _other(options, self.fixed)


def _other(options: Mapping[str, Any], known: Mapping[str, tuple[Any, ...]]) -> str:
    found = (name for name, values in known.items() if options[name] not in values)
    return next((f"{name}={options[name]!r}" for name in found), "")


def refuse(what: str, library: str, subject: str, why: str = "") -> NoReturn:
    """Raise the error of a conversion: the subject has no counterpart in the library."""
    reason = f": {why}" if why else ""
    raise ConversionError(f"{what}: {subject} has no counterpart in {library}{reason}")


# ---------------------------------------------------------------- layers


def base_of(layer: Layer, known: Iterable[type]) -> type | None:
    """Return which of the `known` classes computes what `layer` computes, None if none does.

    A subclass that writes `forward` anew is something else than its base.
    """
    known = set(known)
    kind: Any = type(layer)
    for base in kind.__mro__:
        if base in known:
            return base if kind.forward is base.forward and "forward" not in vars(layer) else None
    return None


def inner(place: str, part: object) -> str:
    """Return the place of a layer inside another one: ``1.0`` for layer 0 in layer 1."""
    return f"{place}.{part}" if place else str(part)


def titled(place: str, layer: object) -> str:
    """Return how messages call a layer: ``layer 1.0 (GRU)``, or ``GRU`` where it is the model."""
    kind = type(layer).__name__
    return f"layer {place} ({kind})" if place else kind


def named_chain(model: Layer, place: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield the layers of nested Sequentials in order, each with its place: "1.0", "" for all."""
    if type(model) is Sequential:
        for k, layer in enumerate(model):
            yield from named_chain(layer, inner(place, k))
    else:
        yield place, model


def chained(layers: Iterable[Layer]) -> Layer:
    """Return layers as one: a `Sequential`, where there are several."""
    layers = list(layers)
    return layers[0] if len(layers) == 1 else Sequential(layers)


def first_size(model: Layer) -> Embedding | int | None:
    """Return what tells a model's input: its embedding of tokens, or a number of features."""
    for _, layer in model.named_layers():
        size = getattr(layer, "input_size", None) or getattr(layer, "size", None)
        if isinstance(layer, Embedding) or isinstance(size, int):
            return layer if isinstance(layer, Embedding) else size
    return None


def check_dtype(what: str, model: Layer) -> None:
    """Raise unless all parameters are of one dtype: others do not cast between layers."""
    dtypes = {name: str(p.value.dtype) for name, p in model.named_parameters()}
    if len(set(dtypes.values())) > 1:
        told = {dtype: name for name, dtype in reversed(dtypes.items())}
        places = " and ".join(f"{dtype} ({name})" for dtype, name in sorted(told.items()))
        raise ConversionError(f"{what}: parameters of {places}; give all layers the same dtype")
