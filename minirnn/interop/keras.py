"""Keras 3, on any of its backends: models there and back, and weights alone.

With some backends, PyTorch among them, Keras multiplies float64 numbers in float32; the comparison
of both sides is one in float32 then.

Needs Keras and one of its backends, which the variable ``KERAS_BACKEND`` chooses:
``pip install ".[keras]"`` in the folder of README.md, and ``".[torch]"``, say.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.errors import missing
from minirnn.interop.counterparts import ConversionError, check_dtype
from minirnn.interop.proof import Part, Run, assembled, prove
from minirnn.typing import Array, Mask

try:
    import keras
    from keras import layers as kl
except ImportError as error:
    backend = os.environ.get("KERAS_BACKEND", "tensorflow, unless KERAS_BACKEND=torch is set")
    raise missing(f"Keras with its backend ({backend})", "keras") from error

from minirnn.interop.keras_layers import built, dtype_name, layers_of, links, pieces, weights_of

__all__ = ["ConversionError", "from_keras", "load_keras", "to_keras"]


def to_keras(model: Layer, *, mask_zero: bool = False, verify: bool = True) -> Any:
    """Return a `keras.Sequential` of ordinary Keras layers with the same numbers.

    A mask is handed to it as ``keras_model(x, mask=mask)``; where an `Embedding` comes first, Keras
    makes the mask itself, with ``mask_zero=True``, where the token is 0. A `LastStep` or
    `LastState` right after a recurrent layer becomes its ``return_sequences=False``.

    Parameters
    ----------
    model : Layer
        It stays as it is.
    mask_zero : bool
        Whether token 0 means padding in the Keras model.
    verify : bool
        Compare both sides, and print the largest difference.

    Raises
    ------
    ConversionError
        For what Keras has no counterpart to, by name; or if the two sides differ.

    Examples
    --------
    >>> from minirnn import LSTM, Dense, LastStep, Sequential
    >>> twin = to_keras(Sequential([LSTM(3, 4, rng=0), LastStep(), Dense(4, 2, rng=1)]))
    to_keras: largest difference ... runs (float32, at most 1e-05)
    >>> [type(layer).__name__ for layer in twin.layers]
    ['LSTM', 'Dense']
    """
    checks.instance("to_keras", "model", model, Layer)
    check_dtype("to_keras", model)
    triples = list(pieces(model))
    twin = built([layer for _, _, layer in triples], model)
    first = twin.layers[0]
    if isinstance(first, kl.Embedding):
        first.mask_zero = first.supports_masking = bool(mask_zero)
    elif mask_zero:
        raise ConversionError("to_keras: mask_zero=True is for a model that begins with Embedding")
    for _, own, layer in triples:
        layer.set_weights(weights_of(own))
    if verify:
        parts = [(name, [own], _run_of(layer)) for name, own, layer in triples]
        _prove("to_keras", model, twin, parts)
    return twin


def from_keras(model: Any, *, verify: bool = True) -> Layer:
    """Return a minirnn model with the numbers of a Keras model or layer.

    Parameters
    ----------
    model : keras.Model
        Built: a `keras.Sequential`, or a functional model that is one chain, of SimpleRNN, LSTM,
        GRU, Bidirectional, Dense, TimeDistributed of Dense, Embedding, LayerNormalization, Dropout,
        SpatialDropout1D, GlobalAveragePooling1D and activations. It stays as it is.
    verify : bool
        Compare both sides, and print the largest difference.

    Returns
    -------
    Layer
        A `Sequential` where there are several layers, else the layer. Where Keras makes a mask
        itself (Masking, ``mask_zero=True``) a warning says that it is to be handed over here.

    Raises
    ------
    ConversionError
        For what minirnn has no counterpart to, by name; or if the two sides differ.
    """
    checks.instance("from_keras", "model", model, kl.Layer)
    parts = [
        (f"{link.name} ({type(link).__name__})", list(layers_of(link)), _run_of(link))
        for link in links(model)
    ]
    result = assembled("from_keras", model.name, parts)
    if verify:
        _prove("from_keras", result, model, parts)
    return result


def load_keras(model: Layer, weights: Sequence[Any], *, verify: bool = True) -> None:
    """Take over the weights of a Keras model, all of them or none.

    Parameters
    ----------
    model : Layer
        With the layers, sizes and dtype of the Keras model that the weights come from.
    weights : list of arrays
        What ``keras_model.get_weights()`` returns: they go by order.
    verify : bool
        Compare the model with its Keras counterpart, and print the largest difference.

    Raises
    ------
    ConversionError
        If layers and weights do not match; or if the two sides differ.

    Examples
    --------
    >>> from minirnn import GRU
    >>> layer, other = GRU(3, 4, rng=0), GRU(3, 4, rng=1)
    >>> load_keras(layer, to_keras(other, verify=False).get_weights())
    load_keras: largest difference ... runs (float32, at most 1e-05)
    >>> bool((layer.cell.Wx.value == other.cell.Wx.value).all())
    True
    """
    checks.instance("load_keras", "model", model, Layer)
    twin = to_keras(model, verify=False)
    shapes = [tuple(array.shape) for array in twin.get_weights()]
    given = [np.shape(array) for array in weights]
    if shapes != given:
        raise ConversionError(
            f"load_keras: the weights of this model have the shapes {shapes} in Keras, got {given}"
        )
    twin.set_weights(list(weights))
    filled = from_keras(twin, verify=False)
    for own, new in zip(model.parameters(), filled.parameters(), strict=True):
        own.value = new.value
    if verify:
        _prove("load_keras", model, twin, [])


# ---------------------------------------------------------------- both sides, side by side


def _prove(what: str, model: Layer, twin: Any, parts: Sequence[Part]) -> None:
    first = next(links(twin))
    tokens = isinstance(first, kl.Embedding)
    padding = None  # the input from which Keras makes a mask itself, if it does
    if tokens and first.mask_zero:
        padding = 0
    elif isinstance(first, kl.Masking):
        padding = first.mask_value
    # Keras' Softmax takes a mask of its input's shape, and refuses that of the steps.
    maskless = (tokens and padding is None) or any(type(k) is kl.Softmax for k in links(twin))
    dtype = dtype_name(model)
    prove(
        what,
        model,
        _run_of(twin, padding),
        masks=(False,) if maskless else (False, True),
        states=(False,),
        fixed=twin.inputs[0].shape[:2] if isinstance(twin, keras.Model) else (None, None),
        first_token=int(padding == 0),
        # The dtype of a product: of Keras' backends, some know no float64.
        precision=str(keras.backend.result_type(dtype, dtype)),
        parts=parts,
    )


def _run_of(twin: Any, padding: float | None = None) -> Run:
    """Return a Keras model or layer as a function on arrays."""
    trains = isinstance(twin, keras.Model) or getattr(twin, "_call_has_training_arg", False)
    takes_mask = getattr(twin, "_call_has_mask_arg", False) or isinstance(
        twin, keras.Model | kl.RNN | kl.Bidirectional | kl.GlobalAveragePooling1D
    )

    def run(x: Array, mask: Mask | None, state: Any) -> tuple[Array, None]:
        if padding is not None and mask is not None:
            valid = mask.reshape(mask.shape + (1,) * (x.ndim - 2))
            x, mask = np.where(valid, x, x.dtype.type(padding)), None
        given = keras.ops.convert_to_tensor(x, dtype=str(x.dtype))
        options: dict[str, Any] = {"training": False} if trains else {}
        if mask is not None and takes_mask:
            options["mask"] = keras.ops.convert_to_tensor(mask)
        with warnings.catch_warnings():  # a Sequential of a user's takes masks without saying so
            warnings.filterwarnings("ignore", ".*was passed an input with a mask")
            y = twin(given, **options)
        return np.asarray(keras.ops.convert_to_numpy(y)), None

    return run
