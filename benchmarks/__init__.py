"""minirnn measured side by side with PyTorch and with the matrix products alone.

    python -m benchmarks

`ladder` says what is measured, `ours`, `peers` and `limit` hold one contestant each, `timing` takes
turns between them, `report` and `chart` show what came out, and `memory` measures memory.
"""
