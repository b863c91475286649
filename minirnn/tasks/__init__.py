"""Toy tasks from the papers: each function draws a data set and says what guessing scores."""

from minirnn.tasks.addition import all_binary_additions, binary_addition
from minirnn.tasks.grammar import (
    REBER_SYMBOLS,
    embedded_reber_optimal_loss,
    embedded_reber_strings,
    is_embedded_reber,
    legal_next,
)
from minirnn.tasks.long_memory import (
    TEMPORAL_ORDER_SYMBOLS,
    TemporalOrder,
    adding_problem,
    copying_memory,
    temporal_order,
)
from minirnn.tasks.reber import EmbeddedReber, embedded_reber, encode_embedded_reber
from minirnn.tasks.toy import sine_waves, spiral

__all__ = [
    "REBER_SYMBOLS",
    "TEMPORAL_ORDER_SYMBOLS",
    "EmbeddedReber",
    "TemporalOrder",
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
    "sine_waves",
    "spiral",
    "temporal_order",
]
