"""Text, sequences of unequal length, batches, and toy tasks."""

from minirnn.data.batching import Batches, PaddedBatches, StreamBatches
from minirnn.data.long_memory import (
    TEMPORAL_ORDER_SYMBOLS,
    TemporalOrder,
    adding_problem,
    copying_memory,
    temporal_order,
)
from minirnn.data.reber import (
    EMBEDDED_REBER_GRAMMAR,
    REBER_GRAMMAR,
    REBER_SYMBOLS,
    EmbeddedReber,
    embedded_reber,
    embedded_reber_optimal_loss,
    embedded_reber_strings,
    encode_embedded_reber,
    is_embedded_reber,
    legal_next,
)
from minirnn.data.sequences import lengths_to_mask, one_hot, pad_sequences
from minirnn.data.text import Vocabulary
from minirnn.data.toy import all_binary_additions, binary_addition, sine_waves, spiral

__all__ = [
    "EMBEDDED_REBER_GRAMMAR",
    "REBER_GRAMMAR",
    "REBER_SYMBOLS",
    "TEMPORAL_ORDER_SYMBOLS",
    "Batches",
    "EmbeddedReber",
    "PaddedBatches",
    "StreamBatches",
    "TemporalOrder",
    "Vocabulary",
    "adding_problem",
    "all_binary_additions",
    "binary_addition",
    "copying_memory",
    "embedded_reber",
    "embedded_reber_optimal_loss",
    "embedded_reber_strings",
    "encode_embedded_reber",
    "is_embedded_reber",
    "legal_next",
    "lengths_to_mask",
    "one_hot",
    "pad_sequences",
    "sine_waves",
    "spiral",
    "temporal_order",
]
