"""A model's parameters in a file that other frameworks read too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from minirnn.core import Layer
from minirnn.errors import CheckpointError
from minirnn.files import replacing

__all__ = ["load_weights", "save_weights"]


def save_weights(layer: Layer, path: str | os.PathLike[str]) -> None:
    """Write `layer`'s parameters as safetensors, under their dotted names."""
    data = _safetensors().save(layer.state_dict(), metadata={"format": "minirnn"})
    with replacing(path) as file:
        file.write(data)


def load_weights(layer: Layer, path: str | os.PathLike[str]) -> None:
    """Read `layer`'s parameters from a safetensors file; all, or none if anything does not fit."""
    safetensors = _safetensors()
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    data = path.read_bytes()
    if data.startswith(b"PK"):
        raise CheckpointError(
            f"{path} is not a safetensors file but an archive; the checkpoint of a whole run is "
            f"for Trainer.resume"
        )
    try:
        state = safetensors.load(data)
    except KeyError as error:
        raise CheckpointError(
            f"{path} holds arrays of a dtype that NumPy does not have: {error.args[0]}; F32 and "
            f"F64 can be read"
        ) from None
    except Exception as error:  # the library's own class of errors
        raise CheckpointError(
            f"{path} is not a safetensors file, or it is truncated or corrupted: {error}"
        ) from None
    layer.load_state_dict(state)


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "saving and loading weights as a file needs the safetensors library: "
            'pip install "minirnn[safetensors]" (or pip install safetensors)'
        ) from None
    return safetensors.numpy
