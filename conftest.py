"""Examples in docstrings run where the library that they need is installed."""

from importlib.util import find_spec

_NEEDS = {
    "minirnn/interop/torch*.py": ["torch"],
    "minirnn/interop/onnx*.py": ["onnx", "onnxruntime"],
    "minirnn/sklearn.py": ["sklearn"],
}

collect_ignore_glob = [
    files for files, libraries in _NEEDS.items() if not all(map(find_spec, libraries))
]
