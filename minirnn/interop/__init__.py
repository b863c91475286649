"""Ways in and out: PyTorch, Keras and ONNX, each imported by name where its library is installed.

Each conversion runs both sides on random input of several shapes, with masks and initial states
where both have them, and prints the largest difference. It raises `ConversionError` if that is
above 1e-5 in float32 or 1e-10 in float64. ``verify=False`` leaves the comparison out.
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Import one of the three when it is first asked for."""
    if name in ("torch", "keras", "onnx"):
        return import_module(f"minirnn.interop.{name}")
    raise AttributeError(f"module 'minirnn.interop' has no attribute {name!r}")
