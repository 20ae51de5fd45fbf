import math
from typing import Any

import numpy as np
import pytest
from helpers import slow_metrics as slow
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lits_seg.common.records import as_plain
from lits_seg.data.grid import Grid
from lits_seg.metrics.case import score_case
from lits_seg.metrics.scores import CaseScores, flat_case

LABELS = arrays(np.uint8, (4, 5, 6), elements=st.sampled_from([0, 0, 1, 1, 2]))
SPACING = st.tuples(*[st.floats(0.3, 5)] * 3)


def same(one: Any, other: Any) -> None:
    """Nested scores equal to 1e-6, NaN to NaN."""
    assert type(one) is type(other), (one, other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif one is not None:
        assert one == pytest.approx(other, rel=1e-5, nan_ok=True)


@given(LABELS, LABELS, SPACING)
@settings(deadline=None, max_examples=60)
def test_equals_plain_definitions(
    predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    case = as_plain(score_case(predicted, reference, spacing))
    along_axes = spacing[::-1]
    true, found = slow.pieces(reference == 2), slow.pieces(predicted == 2)
    assert (case["detection"]["references"], case["detection"]["predictions"]) == (len(true), len(found))
    expected = slow.pairs(
        sorted(true, key=min), sorted(found, key=min)
    )  # components are numbered in the order of their first voxels
    assert [row["iou"] for row in case["lesions"]] == pytest.approx([iou for _, _, iou in expected])
    for row, (lesions, predictions, iou) in zip(case["lesions"], expected, strict=True):
        if iou > 0.5:
            masks = []
            for parts in ([found[i] for i in predictions], [true[j] for j in lesions]):
                mask = np.zeros(reference.shape, bool)
                mask[tuple(np.array(sorted(set().union(*parts))).T)] = True
                masks.append(mask)
            assert {name: row[name] for name in slow.quality(*masks, along_axes)} == pytest.approx(
                slow.quality(*masks, along_axes), rel=1e-5, abs=1e-6
            )
        else:
            assert math.isnan(row["assd"])
    if (predicted == 1).any() and (reference >= 1).any():
        liver = slow.quality(predicted >= 1, reference >= 1, along_axes)
        assert {name: case["liver"][name] for name in liver} == pytest.approx(liver, rel=1e-5, abs=1e-6)
        burden = [(labels == 2).sum() / (labels >= 1).sum() for labels in (predicted, reference)]
        assert case["tumour_burden"]["error"] == pytest.approx(burden[0] - burden[1])


@given(LABELS, LABELS, SPACING)
@settings(deadline=None, max_examples=60)
def test_translation_axes_and_direction_change_nothing(
    predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    assume(not _ties(predicted, reference))
    case = _unordered(score_case(predicted, reference, spacing))
    moved = [np.pad(labels, ((3, 0), (1, 2), (0, 4))) for labels in (predicted, reference)]
    same(_unordered(score_case(*moved, spacing)), case)
    turned = [labels.transpose(1, 2, 0).copy() for labels in (predicted, reference)]
    same(_unordered(score_case(*turned, (spacing[2], spacing[0], spacing[1]))), case)
    mirrored = [labels[::-1, ::-1, ::-1].copy() for labels in (predicted, reference)]
    same(_unordered(score_case(*mirrored, spacing)), case)


@given(LABELS, LABELS)
@settings(deadline=None, max_examples=30)
def test_symmetry(one: np.ndarray, other: np.ndarray) -> None:
    assume((one == 1).any() and (other == 1).any())
    there, back = (as_plain(score_case(*pair, (1, 2, 3))) for pair in ((one, other), (other, one)))
    for part, names in (("lesion", ("dice", "jaccard", "voe")), ("liver", ("dice", "jaccard", "assd", "rmsd", "msd"))):
        assert {name: there[part][name] for name in names} == pytest.approx({name: back[part][name] for name in names})
    assert there["tumour_burden"]["error"] == pytest.approx(-back["tumour_burden"]["error"])


@given(LABELS, LABELS, SPACING)
@settings(deadline=None, max_examples=30)
def test_twice_the_spacing_is_twice_the_distance_and_nothing_else(
    predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    once, twice = (as_plain(score_case(predicted, reference, tuple(k * s for s in spacing))) for k in (1, 2))
    for a, b in [(once["liver"], twice["liver"]), *zip(once["lesions"], twice["lesions"], strict=True)]:
        for name in a:
            factor = 2 if name in ("assd", "rmsd", "msd") else 8 if name.endswith("_ml") else 1
            assert b[name] == pytest.approx(factor * a[name], rel=1e-5, nan_ok=True)
    same(once["lesion"], twice["lesion"])
    same(once["tumour_burden"], twice["tumour_burden"])


def empty() -> np.ndarray:
    return np.zeros((3, 6, 8), np.uint8)


def test_a_perfect_mask() -> None:
    labels = empty()
    labels[1, 1:5, 1:7] = 1
    labels[1, 2:4, 2:4] = 2
    case = as_plain(score_case(labels, labels, (0.7, 0.8, 2.5)))
    assert case["lesion"] == {"dice": 1, "jaccard": 1, "paper_symbols": 1, "voe": 0}
    assert case["detection"] == {
        "references": 1,
        "predictions": 1,
        "iou>0.5": {"tp": 1, "fp": 0, "fn": 0},
        "iou>0": {"tp": 1, "fp": 0, "fn": 0},
    }
    (lesion,) = case["lesions"]
    assert lesion["reference_ml"] == lesion["predicted_ml"] == pytest.approx(4 * 0.7 * 0.8 * 2.5 / 1000)
    assert (lesion["iou"], lesion["voe"], lesion["rvd"], lesion["assd"], lesion["msd"]) == (1, 0, 0, 0, 0)
    assert case["liver"] == {
        **{"dice": 1, "jaccard": 1, "paper_symbols": 1},
        **{"voe": 0, "rvd": 0, "assd": 0, "rmsd": 0, "msd": 0},
    }
    assert case["tumour_burden"] == {"reference": 4 / 24, "predicted": 4 / 24, "error": 0}


def test_a_false_lesion_where_there_is_none() -> None:
    reference, predicted = empty(), empty()
    reference[1, 1:5, 1:7] = predicted[1, 1:5, 1:7] = 1
    predicted[1, 2, 2] = 2
    case = as_plain(score_case(predicted, reference, (1, 1, 1)))
    assert case["lesion"] == {"dice": 0, "jaccard": 0, "paper_symbols": 0, "voe": 1}
    assert case["detection"]["iou>0"] == {"tp": 0, "fp": 1, "fn": 0}
    assert case["lesions"] == []
    assert case["liver"]["dice"] == 1  # a lesion is liver


def test_no_lesion_in_either_is_perfect() -> None:
    labels = empty()
    labels[1, 1:5, 1:7] = 1
    case = as_plain(score_case(labels, labels, (1, 1, 1)))
    assert case["lesion"] == {"dice": 1, "jaccard": 1, "paper_symbols": 1, "voe": 0}
    assert case["tumour_burden"]["error"] == 0


def test_lesions_without_a_voxel_of_liver_are_no_liver() -> None:
    reference, predicted = empty(), empty()
    reference[1, 1:5, 1:7] = 1
    reference[1, 2:4, 2:4] = 2
    predicted[1, 2:4, 2:4] = 2
    case = as_plain(score_case(predicted, reference, (1, 1, 1)))
    assert case["lesion"]["dice"] == 1
    assert case["liver"]["dice"] == case["liver"]["jaccard"] == 0
    assert case["liver"]["voe"] == 1
    assert all(math.isnan(case["liver"][name]) for name in ("rvd", "assd", "rmsd", "msd"))
    assert math.isnan(case["tumour_burden"]["predicted"])
    assert math.isnan(case["tumour_burden"]["error"])


def test_nothing_at_all() -> None:
    case = as_plain(score_case(empty(), empty(), (1, 1, 1)))
    assert case["lesion"]["dice"] == 1
    assert case["liver"]["dice"] == 0  # no voxel of value 1 in the prediction
    assert math.isnan(case["tumour_burden"]["reference"])


def _ties(predicted: np.ndarray, reference: np.ndarray) -> bool:
    """Whether a lesion overlaps two others equally: then the order of numbers decides, and axes change it."""
    true, found = slow.pieces(reference == 2), slow.pieces(predicted == 2)
    table = np.array([[len(a & b) for b in found] for a in true]).reshape(len(true), len(found))
    if table.size == 0:
        return False
    merged: dict[int, np.ndarray] = {}
    for row in table:
        if row.any():
            merged[int(row.argmax())] = merged.get(int(row.argmax()), 0) + row
    lines = [*table, *np.array(list(merged.values())).T] if merged else []
    return any((line == line.max()).sum() > 1 for line in lines if line.max() > 0)


def _unordered(scores: CaseScores) -> dict[str, Any]:
    case = as_plain(scores)
    del case["case"], case["spacing"]  # the spacing is along axes that the tests exchange
    rows = [{name: row[name] for name in row if not name.endswith("slice")} for row in case["lesions"]]
    return {**case, "lesions": sorted(rows, key=lambda row: [repr(round(x, 6)) for x in row.values()])}


def test_volumes_of_a_sheared_grid_are_those_of_its_voxels() -> None:
    affine = np.array([[1, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    grid = Grid(affine, (6, 5, 4))
    labels = empty()
    labels[1, 1:5, 1:7] = 1
    labels[1, 2:4, 2:4] = 2
    case = score_case(labels, labels, grid.spacing, "sheared", grid.voxel_ml)
    assert case.voxel_ml == pytest.approx(2 / 1000)
    assert np.prod(grid.spacing) > 2.05
    assert case.lesions[0].reference_ml == pytest.approx(4 * 2 / 1000)
    row = flat_case(case)
    assert row["case"] == "sheared"
    assert (row["lesion_reference_ml"], row["liver_predicted_ml"]) == pytest.approx((4 * 2 / 1000, 24 * 2 / 1000))
