from pathlib import Path

import numpy as np

from lits_seg.data.layouts import find_cases
from lits_seg.metrics import case_scores
from lits_seg.training.liver_threshold import threshold_in_liver


def test_threshold_finds_plain_lesions_and_marks_something_where_there_are_none(lits: Path) -> None:
    cases = find_cases(lits)
    counts, description = threshold_in_liver(cases[:3], cases[3:])
    dice = case_scores(counts)["dice"].tolist()
    assert np.shape(counts) == (5, 3)
    assert min(dice[:3]) > 0.7
    assert all(score in (0, 1) for score in dice[3:])  # without lesion: none marked, or any
    assert "reference liver" in description
