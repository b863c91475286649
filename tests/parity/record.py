"""Record PyTorch's float64 results for every case: `python tests/parity/record.py`.

Writes one small file for each group of cases to `tests/parity/recorded`. The inputs are kept as
float32, which holds them exactly.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.parity import cases, compare, torch_side

VERSION = "2.13.0"
SEED = 2020


def check(case: cases.Case, results: cases.Arrays) -> None:
    """Refuse a case that would prove nothing, or too much; another seed helps."""
    for name, array in results.items():
        if not np.isfinite(array).all() or not array.any():
            sys.exit(f"{case.name} says nothing: {name} is {array}")
    # What PyTorch itself loses in float32 is not to be held against others.
    own = torch_side.results(case, cases.draw(case, SEED, np.float32))
    for name, error in compare.errors(own, results).items():
        if error > compare.TOLERANCE[np.float32] / 4:
            sys.exit(f"{case.name} is ill-conditioned: {name} is off by {error:.1g} in float32")


def main() -> None:
    if not torch.__version__.startswith(VERSION):
        sys.exit(f"The numbers are to be PyTorch {VERSION}'s, and this is {torch.__version__}.")
    groups: dict[str, cases.Arrays] = {}
    for case in cases.CASES.values():
        inputs = cases.draw(case, SEED)
        results = torch_side.results(case, inputs)
        check(case, results)
        group = groups.setdefault(case.group, {})
        for name, array in inputs.items():
            group[compare.key(case, "inputs", name)] = cases.single(array)
        for name, array in results.items():
            group[compare.key(case, "results", name)] = array
    compare.RECORDED.mkdir(exist_ok=True)
    for name, arrays in groups.items():
        path = compare.RECORDED / f"{name}.npz"
        np.savez_compressed(path, **arrays)
        print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
