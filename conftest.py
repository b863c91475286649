"""Examples in docstrings run where the library that they need is installed."""

import os
from importlib.util import find_spec

os.environ.setdefault("KERAS_BACKEND", "torch")

_NEEDS = {
    "minirnn/interop/torch*.py": ["torch"],
    "minirnn/interop/onnx*.py": ["onnx", "onnxruntime"],
    "minirnn/sklearn.py": ["sklearn"],
    "minirnn/interop/keras.py": ["keras", "torch"],
}

collect_ignore_glob = [
    files for files, libraries in _NEEDS.items() if not all(map(find_spec, libraries))
]
