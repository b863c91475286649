"""Ways in and out: PyTorch, Keras and ONNX, each conversion compared with the original.

``minirnn.interop.torch``, ``minirnn.interop.keras`` and ``minirnn.interop.onnx`` are imported by
name, each where its library is installed.
"""
