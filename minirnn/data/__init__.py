"""Text, sequences of unequal length, and batches."""

from minirnn.data.batching import Batches, PaddedBatches, StreamBatches
from minirnn.data.sequences import lengths_to_mask, one_hot, pad_sequences
from minirnn.data.text import Vocabulary
from minirnn.data.windows import Scaler, windows

__all__ = [
    "Batches",
    "PaddedBatches",
    "Scaler",
    "StreamBatches",
    "Vocabulary",
    "lengths_to_mask",
    "one_hot",
    "pad_sequences",
    "windows",
]
