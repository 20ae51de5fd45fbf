"""The score: LiTS's metrics and the paper's, of whole volumes at the labels' own resolution.

Lesion is label 2; liver is label 1 or 2 (lesions are liver), as the LiTS challenge has it.
"""

from lits_seg.metrics.overlap import SCORES, case_scores, global_dice, liver_predicted, summarise
from lits_seg.metrics.statistics import bootstrap_interval

__all__ = [
    "SCORES",
    "bootstrap_interval",
    "case_scores",
    "global_dice",
    "liver_predicted",
    "summarise",
]
