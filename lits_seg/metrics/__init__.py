"""The metrics of LiTS and of the paper, computed on whole volumes at the labels' own resolution.

As in the LiTS challenge, lesion is label 2 and liver is label 1 or 2: lesions belong to the liver.
"""

from lits_seg.metrics.overlap import SCORES, case_scores, global_dice, liver_predicted, summarise, summarise_structures
from lits_seg.metrics.statistics import bootstrap_interval

__all__ = [
    "SCORES",
    "bootstrap_interval",
    "case_scores",
    "global_dice",
    "liver_predicted",
    "summarise",
    "summarise_structures",
]
