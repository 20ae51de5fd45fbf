"""From a network's labels and probabilities to the final mask: rules, and how they are fitted."""

from lits_seg.postprocess.rules import Changes, Rules

__all__ = ["Changes", "Rules"]
