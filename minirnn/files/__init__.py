"""Files that are complete or absent, and safe to read: checkpoints and weights."""

from minirnn.files.replacing import check_place, replacing
from minirnn.files.tree import read_tree, write_tree

__all__ = ["check_place", "read_tree", "replacing", "write_tree"]
