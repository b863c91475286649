"""The recipe of examples/sonnets.py in PyTorch: the figures that the example prints beside its own.

    python benchmarks/sonnets_against_torch.py --cell LSTM --seed 0

Embedding 64, 128 units, 32 rows, pieces of 50 steps, Adam from 3e-3 linearly to 0 over 22 epochs.
Prints the loss on the last tenth of the text in nats per character, with the memory carried through
all of it and with the memory emptied every 50 characters.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from minirnn.data import StreamBatches, Vocabulary

TEXT = Path(__file__).parent.parent / "examples" / "data" / "sonnets.txt"
EPOCHS, ROWS, STEPS = 22, 32, 50


def main(argv: list[str] | None = None) -> int:
    """Train once, print both losses."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cell", choices=["LSTM", "GRU", "RNN"], default="LSTM")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    import torch
    from torch import nn

    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    text = TEXT.read_text(encoding="utf-8")
    vocabulary = Vocabulary.from_text(text)
    tokens = vocabulary.encode(text)
    cut = len(tokens) * 9 // 10
    batches = list(StreamBatches(tokens[:cut], batch_size=ROWS, steps=STEPS))

    embedding = nn.Embedding(len(vocabulary), 64)
    recurrent = getattr(nn, options.cell)(64, 128, batch_first=True)
    dense = nn.Linear(128, len(vocabulary))
    parameters = [p for part in (embedding, recurrent, dense) for p in part.parameters()]
    optimizer = torch.optim.Adam(parameters, 3e-3)

    def loss_of(x: Any, y: Any, state: Any = None) -> tuple[Any, Any]:
        hidden, state = recurrent(embedding(torch.as_tensor(x)), state)
        logits = dense(hidden).reshape(-1, len(vocabulary))
        return nn.functional.cross_entropy(logits, torch.as_tensor(y).reshape(-1)), state

    updates = 0
    for _ in range(EPOCHS):
        state = None
        for x, y in batches:
            rate = 3e-3 * (1 - updates / (EPOCHS * len(batches)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss, state = loss_of(np.array(x), np.array(y), state)
            state = tuple(s.detach() for s in state) if options.cell == "LSTM" else state.detach()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            updates += 1

    held_out = tokens[cut:]
    pieces = (len(held_out) - 1) // STEPS
    whole = held_out[: pieces * STEPS + 1]
    with torch.no_grad():
        carried, _ = loss_of(held_out[None, :-1], held_out[None, 1:])
        emptied, _ = loss_of(whole[:-1].reshape(pieces, STEPS), whole[1:].reshape(pieces, STEPS))
    print(f"{options.cell}, seed {options.seed}: carried {carried:.3f}, emptied {emptied:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
