"""FROC: masks that are cut from a probability map, counted by size, pooled, and read at rates of false lesions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lits_seg.metrics.case import score_case
from lits_seg.metrics.froc import THRESHOLDS, froc
from lits_seg.metrics.froc_curve import CLASSES, curve, recall_at
from lits_seg.metrics.scores import CaseScores
from lits_seg.metrics.statistics import froc_points, summarise_cases

SHAPE = (3, 5, 6)
LABELS = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 1, 2]))
PROBABILITY = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 2, 3, 60, 127, 128, 200, 253, 255]))
SPACING = (4.0, 4.0, 8.0)  # a voxel is small, a dozen are medium, and fifty are large


@given(PROBABILITY, LABELS)
@settings(deadline=None, max_examples=25)
def test_each_threshold_counts_as_the_mask_cut_there(probability: np.ndarray, reference: np.ndarray) -> None:
    found = froc(probability, reference, math.prod(SPACING) / 1000)
    assert found.thresholds == THRESHOLDS
    for i, threshold in enumerate(THRESHOLDS):
        mask = np.where(probability >= 255 * threshold, 2, 1).astype(np.uint8)
        case = score_case(mask, reference, SPACING)
        for overlap, rows in found.by_overlap().items():
            by_size = [one.by_overlap()[overlap] for one in case.by_size.by_size().values()]
            assert rows[i] == (*(counts.tp for counts in by_size), sum(counts.fp for counts in by_size))


def patient(row: str, reference: str) -> CaseScores:
    """Digits are tenths of the probability; reference labels of the same voxels."""
    probability = np.array([[[round(25.5 * int(digit)) for digit in row]]], np.uint8)
    labels = np.array([[[int(digit) for digit in reference]]], np.uint8)
    return score_case(np.where(probability >= 128, 2, 1).astype(np.uint8), labels, (1, 1, 1), row, None, probability)


def test_scores_at_rates_by_hand() -> None:
    # At 0.9, one of three lesions is found; from 0.8, two and a false one; from 0.2, all three and five false ones.
    cases = [patient("09900800200", "12212221221"), patient("08020202020", "11111111111")]
    summary = summarise_cases(cases)
    value = {rate: summary[f"froc/iou>0/all/at_{rate}_false"].value for rate in (1, 2, 4, 8)}
    assert value == pytest.approx({1: 2 / 3, 2: 2 / 3, 4: 1, 8: 1})
    assert summary["froc/iou>0/<10mm/at_1_false"].value == value[1]
    assert math.isnan(summary["froc/iou>0/>20mm/at_8_false"].value)  # no such lesion
    points = {(one.overlap, one.size, one.threshold): one for one in froc_points(cases)}
    assert len(points) == 2 * len(CLASSES) * len(THRESHOLDS)
    assert (points["iou>0", "all", 0.9].recall, points["iou>0", "all", 0.9].false_per_patient) == (1 / 3, 0)
    assert (points["iou>0", "all", 0.8].recall, points["iou>0", "all", 0.8].false_per_patient) == (2 / 3, 1 / 2)
    assert (points["iou>0", "all", 0.2].recall, points["iou>0", "all", 0.2].false_per_patient) == (1, 5 / 2)


def test_no_threshold_with_few_enough_false_lesions_finds_nothing() -> None:
    recall, false = np.full((1, 4, 2), 0.5), np.array([[3.0, 2.0]])
    assert recall_at(recall, false, 1).tolist() == [[0] * 4]
    assert recall_at(recall, false, 2).tolist() == [[0.5] * 4]


@given(st.lists(st.tuples(PROBABILITY, LABELS), min_size=1, max_size=4), st.data())
@settings(deadline=None, max_examples=10)
def test_more_false_lesions_never_cost_recall_and_resamples_are_data_sets(volumes: list, data: st.DataObject) -> None:
    cases = [score_case(np.minimum(labels, 1), labels, SPACING, "", None, map_) for map_, labels in volumes]
    drawn = data.draw(arrays(np.int64, (3, len(cases)), elements=st.integers(0, len(cases) - 1)))
    for overlap in ("iou>0.5", "iou>0"):
        recall, false = curve(cases, overlap, drawn)
        scores = np.array([recall_at(recall, false, rate) for rate in (0, 1, 2, 4, 8, 1000)])
        assert not (np.diff(scores, axis=0) < 0).any()
        assert ((scores >= 0) & (scores <= 1) | np.isnan(scores)).all()
        for i, indices in enumerate(drawn):
            alone_recall, alone_false = curve([cases[index] for index in indices], overlap)
            np.testing.assert_allclose(recall[i], alone_recall[0])
            np.testing.assert_allclose(false[i], alone_false[0])


def test_without_a_map_for_every_patient_there_is_no_froc() -> None:
    cases = [patient("09900", "12211"), score_case(*[np.full((1, 1, 5), 2, np.uint8)] * 2, (1, 1, 1))]
    score = summarise_cases(cases)["froc/iou>0/all/at_1_false"]
    assert math.isnan(score.value)
    assert (score.interval, score.undefined) == (None, 1)
    assert froc_points(cases) == []
