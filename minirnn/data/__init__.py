"""Text, sequences of unequal length, and batches."""

from minirnn.data.batches import Batches
from minirnn.data.padded import PaddedBatches
from minirnn.data.sequences import lengths_to_mask, one_hot, pad_sequences
from minirnn.data.stream import StreamBatches
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
