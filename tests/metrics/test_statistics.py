import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from lits_seg.metrics.case import score_case
from lits_seg.metrics.scores import CaseScores
from lits_seg.metrics.statistics import Estimate, bootstrap_interval, compare_cases, summarise_cases

LABELS = arrays(np.uint8, (3, 2, 4, 5), elements=st.integers(0, 2))  # patients


def patient(reference: str, predicted: str) -> CaseScores:
    """From digits in a row."""
    rows = [np.array([[[int(c) for c in labels]]], np.uint8) for labels in (predicted, reference)]
    return score_case(*rows, (1, 1, 1))


FOUND = patient("1122211", "1122211")
HALF = patient("1122221", "1122111")
MISSED = patient("1122211", "1111111")
FALSE = patient("1111111", "1111211")
CLEAN = patient("1111111", "1111111")


def test_means_are_over_patients_and_counts_are_pooled() -> None:
    summary = summarise_cases([FOUND, HALF, MISSED, FALSE, CLEAN])
    value = {name: figure.value for name, figure in summary.items()}
    assert value["lesion/dice_per_case"] == pytest.approx((1 + 2 / 3 + 0 + 0 + 1) / 5)
    assert value["lesion/jaccard"] == pytest.approx((1 + 1 / 2 + 0 + 0 + 1) / 5)
    assert value["lesion/paper_symbols"] == pytest.approx((1 + 1 + 0 + 0 + 1) / 5)
    assert value["lesion/dice_global"] == pytest.approx(2 * (3 + 2) / (3 + 3 + 4 + 2 + 3 + 1))
    # Half an IoU is not more than half: one found, two missed, two false; overlapping at all: two, one, one.
    assert (value["detection/iou>0.5/precision"], value["detection/iou>0.5/recall"]) == pytest.approx((1 / 3, 1 / 3))
    assert (value["detection/iou>0/precision"], value["detection/iou>0/recall"]) == pytest.approx((2 / 3, 2 / 3))
    assert value["detected_lesions/dice"] == 1
    assert value["liver/dice_per_case"] == 1
    errors = np.array([0, -2 / 7, -3 / 7, 1 / 7, 0])
    assert value["tumour_burden/rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
    assert value["tumour_burden/max_error"] == pytest.approx(3 / 7)


def test_detected_lesions_are_pooled_and_not_averaged_by_patient() -> None:
    two = patient("1220222", "1220220")  # one perfect, one 2 of 3
    summary = summarise_cases([two, FOUND])
    assert summary["detected_lesions/jaccard"].value == pytest.approx((1 + 2 / 3 + 1) / 3)


def test_what_has_no_meaning_is_counted_and_left_out() -> None:
    no_liver = patient("1122211", "0022200")
    summary = summarise_cases([FOUND, no_liver])
    assert summary["liver/dice_per_case"] == Estimate(0.5, pytest.approx((0, 1)), undefined=0)
    assert summary["liver/assd"].value == 0
    assert summary["liver/assd"].undefined == 1
    assert summary["tumour_burden/rmse"].undefined == 1
    nothing = summarise_cases([CLEAN, CLEAN])
    assert math.isnan(nothing["detection/iou>0.5/precision"].value)
    assert nothing["detection/iou>0.5/precision"].interval is None
    assert nothing["lesion/dice_global"].value == 0


def test_resamples_without_lesions_have_no_dice_global() -> None:
    perfect = summarise_cases([FOUND, CLEAN, CLEAN])["lesion/dice_global"]
    assert (perfect.value, perfect.interval) == (1, (1, 1))
    better = compare_cases([FOUND, CLEAN, CLEAN], [MISSED, CLEAN, CLEAN])["lesion/dice_global"]
    assert (better.difference, better.interval) == (1, (1, 1))
    nothing = summarise_cases([CLEAN, CLEAN])["lesion/dice_global"]
    assert (nothing.value, nothing.interval) == (0, None)


@given(LABELS, LABELS)
@settings(deadline=None, max_examples=20)
def test_intervals_hold_their_values(predicted: np.ndarray, reference: np.ndarray) -> None:
    summary = summarise_cases([score_case(p, r, (1, 2, 3)) for p, r in zip(predicted, reference, strict=True)])
    for name, figure in summary.items():
        if figure.interval is not None:
            low, high = figure.interval
            assert low - 1e-9 <= figure.value <= high + 1e-9, name


def test_bootstrap_interval_is_scipys() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 30)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert bootstrap_interval(values) == pytest.approx((expected.low, expected.high))
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert bootstrap_interval([0.5]) is None


def test_two_programs_by_hand() -> None:
    row = compare_cases([FOUND, FOUND, HALF], [MISSED, FOUND, FOUND])["lesion/dice_per_case"]
    assert (row.a, row.b) == pytest.approx(((1 + 1 + 2 / 3) / 3, 2 / 3))
    assert row.difference == pytest.approx(2 / 9)
    assert (row.test.wins_a, row.test.wins_b, row.test.ties, row.test.patients) == (1, 1, 1, 3)
    # Of the differences 1, 0, -1/3 the signs can be flipped in 8 ways, and in 4 the mean is at least as large.
    assert row.test.p == pytest.approx(1.0)
    distance = compare_cases([FOUND] * 2, [patient("1122211", "1122200")] * 2)["liver/assd"]
    assert distance.test.wins_a == 2  # less is better
    assert distance.difference < 0


@pytest.mark.parametrize(("patients", "tolerance"), [(2, 1e-12), (6, 1e-12), (13, 1e-12), (20, 0.03)])
def test_a_p_value_is_scipys(patients: int, tolerance: float) -> None:
    rng = np.random.default_rng(patients)
    one, other = ([(FOUND, MISSED, HALF)[i] for i in rng.integers(0, 3, patients)] for _ in range(2))
    dice = {id(FOUND): 1.0, id(MISSED): 0.0, id(HALF): 2 / 3}
    gains = np.array([dice[id(a)] - dice[id(b)] for a, b in zip(one, other, strict=True)])
    expected = stats.permutation_test(
        (gains,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, rng=rng
    )
    found = compare_cases(one, other)["lesion/dice_per_case"].test.p
    assert found == pytest.approx(expected.pvalue, abs=tolerance)


def test_a_program_is_no_better_than_itself() -> None:
    cases = [FOUND, HALF, MISSED, FALSE]
    for name, row in compare_cases(cases, cases).items():
        if not math.isnan(row.a):
            assert row.difference == 0, name
            assert row.interval == (0, 0)
            assert row.test is None or row.test.p == 1


def test_a_clear_difference_is_found_and_swapping_turns_it_round() -> None:
    one, other = [FOUND] * 8 + [HALF] * 4, [MISSED] * 8 + [HALF] * 4
    there, back = (compare_cases(*pair)["lesion/dice_per_case"] for pair in ((one, other), (other, one)))
    assert there.test.p == back.test.p < 0.02
    assert there.difference == pytest.approx(-back.difference) == pytest.approx(8 / 12)
    assert there.interval[0] > 0
    assert (there.test.wins_a, there.test.ties) == (back.test.wins_b, back.test.ties) == (8, 4)
