"""The model of examples/names.py here and in PyTorch: same weights, same batches, both losses.

    python benchmarks/names_against_torch.py --cell lstm

Trains both side by side from the same initial weights on the same batches in the same order, and
prints the validation loss of each after every epoch, and the time each took. Exits with status 1 if
the final losses differ by more than one per cent.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))

from names import CELLS, END, build_model, read_names  # noqa: E402

from minirnn import Adam, SoftmaxCrossEntropy, Trainer  # noqa: E402
from minirnn.data import PaddedBatches, Vocabulary  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Train both, print both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cell", choices=sorted(CELLS), default="lstm")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default 1)")
    options = parser.parse_args(argv)
    import torch

    from minirnn.interop.torch import to_torch

    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(options.seed)
    names = read_names(ROOT / "examples" / "data" / "names.txt")
    vocabulary = Vocabulary.from_text([END, *names])
    sequences = [vocabulary.encode(f"{END}{name}{END}") for name in names]
    order = rng.permutation(len(sequences))
    held_out = len(sequences) // 10

    def padded(picks: Any, size: int, shuffle: bool) -> PaddedBatches:
        chosen = [sequences[k] for k in picks]
        x, y = [s[:-1] for s in chosen], [s[1:] for s in chosen]
        return PaddedBatches(x, y, batch_size=size, shuffle=shuffle, rng=rng)

    training = padded(order[held_out:], 64, True)
    validation = padded(order[:held_out], 256, False)
    model = build_model(options.cell, len(vocabulary), 96, rng)
    twin = to_torch(model)
    trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters(), 3e-3, clip_norm=5.0))
    twin_optimizer = torch.optim.Adam(twin.parameters(), 3e-3)

    def twin_loss(x: Any, y: Any, mask: Any, reduction: str) -> Any:
        logits = twin(torch.from_numpy(x))[torch.from_numpy(mask)]
        targets = torch.from_numpy(y[mask])
        return torch.nn.functional.cross_entropy(logits, targets, reduction=reduction)

    def twin_step(x: Any, y: Any, mask: Any) -> None:
        twin_optimizer.zero_grad()
        twin_loss(x, y, mask, "mean").backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 5.0)
        twin_optimizer.step()

    seconds = {"minirnn": 0.0, "torch": 0.0}
    print("epoch  minirnn    torch   (validation loss, nats per character)")
    for epoch in range(1, options.epochs + 1):
        for batch in training:
            for name, step in [("minirnn", trainer.train_step), ("torch", twin_step)]:
                started = time.perf_counter()
                step(*batch)
                seconds[name] += time.perf_counter() - started
        ours = trainer.evaluate(validation)["loss"]
        with torch.no_grad():
            parts = [(float(twin_loss(*b, "sum")), int(b[2].sum())) for b in validation]
        theirs = sum(total for total, _ in parts) / sum(count for _, count in parts)
        print(f"{epoch:5}  {ours:7.4f}  {theirs:7.4f}")
    apart = abs(ours - theirs) / theirs
    print(f"apart by {apart:.3%}; " + ", ".join(f"{k} {v:.1f} s" for k, v in seconds.items()))
    return 0 if apart < 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
