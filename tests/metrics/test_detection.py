from dataclasses import astuple

import numpy as np
import pytest
from helpers import slow_metrics as slow
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lits_seg.metrics.detection import detection, detection_by_size, match_lesions
from lits_seg.metrics.lesions import components, size_class


def numbered(*rows: str) -> np.ndarray:
    """Drawn lesions, one digit each, as components ``(1, H, W)``."""
    return np.array([[[int(c) if c.isdigit() else 0 for c in row] for row in rows]], np.uint32)


@pytest.mark.parametrize(
    ("reference", "predicted", "pairs", "half", "any_"),
    [
        (["11..22"], ["111111"], [((1, 2), (1,), 4 / 6)], (2, 0, 0), (2, 0, 0)),
        (["11....22"], ["11111111"], [((1, 2), (1,), 4 / 8)], (0, 1, 2), (2, 0, 0)),
        (["11111"], ["11.22"], [((1,), (1, 2), 4 / 5)], (1, 0, 0), (1, 0, 0)),
        (["11..22"], ["22..11"], [((1,), (2,), 1), ((2,), (1,), 1)], (2, 0, 0), (2, 0, 0)),
        (["11..22"], ["......"], [((1,), (), 0), ((2,), (), 0)], (0, 0, 2), (0, 0, 2)),
        (["......"], ["11..22"], [], (0, 2, 0), (0, 2, 0)),
        (["......"], ["......"], [], (0, 0, 0), (0, 0, 0)),
        (["11.22."], ["11...3"], [((1,), (1,), 1), ((2,), (), 0)], (1, 1, 1), (1, 1, 1)),
        # A perfect mask and one false lesion.
        (["11...."], ["11..22"], [((1,), (1,), 1)], (1, 1, 0), (1, 1, 0)),
        # 1 spans both; it is the one that overlaps lesion 1 most, but in lesion 2 prediction 2 is larger.
        (["111...22222."], ["1111111.222."], [((1,), (1,), 3 / 7), ((2,), (2,), 3 / 5)], (1, 1, 1), (2, 0, 0)),
        # Prediction 1 overlaps both equally and goes to lesion 1; prediction 2 has the larger part of it.
        (
            ["1.2.", "1.22", "11.2"],
            ["111.", "....", "22.."],
            [((1,), (1, 2), 0.5), ((2,), (), 0)],
            (0, 2, 2),
            (1, 0, 1),
        ),
        # Lesion 1 is overlapped, but the only prediction that does goes to lesion 2.
        (["11.222222"], [".1111.222"], [((1,), (), 0), ((2,), (1, 2), 5 / 8)], (1, 0, 1), (1, 0, 1)),
        # Half of the union exactly is not more than half.
        (["11"], ["1."], [((1,), (1,), 0.5)], (0, 1, 1), (1, 0, 0)),
    ],
    ids=[
        "one over two",
        "one over two and much else",
        "two in one",
        "numbers in another order",
        "no prediction",
        "no lesion",
        "neither",
        "one found, one missed, one false",
        "perfect and one false",
        "each lesion to its largest",
        "equal overlaps",
        "overlapped and missed",
        "half is not enough",
    ],
)
def test_by_hand(reference: list[str], predicted: list[str], pairs: list, half: tuple, any_: tuple) -> None:
    found = match_lesions(numbered(*reference), numbered(*predicted))
    assert [(pair.reference, pair.predicted) for pair in found] == [pair[:2] for pair in pairs]
    assert [pair.iou for pair in found] == pytest.approx([pair[2] for pair in pairs])
    predictions = len(set("".join(predicted)) - {"."})
    for overlap, counts in ((0.5, half), (0.0, any_)):
        assert astuple(detection(found, predictions, overlap)) == counts


@pytest.mark.parametrize(("second", "count"), [((0, 0, 1), 1), ((0, 1, 1), 2), ((1, 1, 1), 2)])
def test_lesions_that_touch_by_an_edge_or_a_corner_are_two(second: tuple[int, int, int], count: int) -> None:
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[second] = True
    assert components(mask)[1] == count


@given(arrays(bool, (3, 5, 6), elements=st.booleans()), arrays(bool, (3, 5, 6), elements=st.booleans()))
@settings(deadline=None, max_examples=300)
def test_equals_plain_sets(reference: np.ndarray, predicted: np.ndarray) -> None:
    (references, count), (predictions, predicted_count) = components(reference), components(predicted)
    as_sets = [
        [slow.voxels(labels == number) for number in range(1, n + 1)]
        for labels, n in ((references, count), (predictions, predicted_count))
    ]
    assert {frozenset(piece) for piece in as_sets[0]} == {frozenset(piece) for piece in slow.pieces(reference)}
    found = match_lesions(references, predictions)
    assert [
        ([number - 1 for number in pair.reference], [number - 1 for number in pair.predicted], pytest.approx(pair.iou))
        for pair in found
    ] == slow.pairs(*as_sets)
    for overlap in (0.5, 0.0):
        counts = detection(found, predicted_count, overlap)
        assert counts.tp + counts.fn == count
        assert 0 <= counts.fp <= predicted_count


@given(
    arrays(bool, (3, 5, 6), elements=st.booleans()),
    arrays(bool, (3, 5, 6), elements=st.booleans()),
    st.floats(0.02, 2),
)
@settings(deadline=None, max_examples=60)
def test_sizes_equal_plain_sets_and_add_up(reference: np.ndarray, predicted: np.ndarray, voxel_ml: float) -> None:
    (references, count), (predictions, predicted_count) = components(reference), components(predicted)
    pairs = match_lesions(references, predictions)
    sizes = [
        [size_class((labels == number).sum() * voxel_ml) for number in range(1, n + 1)]
        for labels, n in ((references, count), (predictions, predicted_count))
    ]
    by_size = detection_by_size(pairs, *sizes)
    for i, found in enumerate(by_size.by_size().values()):
        assert (found.references, found.predictions) == (sizes[0].count(i), sizes[1].count(i))
        for overlap, counts in ((0.5, found.over_half), (0.0, found.over_zero)):
            detected = {number for pair in pairs if pair.iou > overlap for number in pair.reference}
            true = {number for pair in pairs if pair.iou > overlap for number in pair.predicted}
            assert counts.tp == sum(sizes[0][number - 1] == i for number in detected)
            assert counts.fn == sizes[0].count(i) - counts.tp
            assert counts.fp == sum(sizes[1][n - 1] == i for n in range(1, predicted_count + 1) if n not in true)
    for overlap, name in ((0.5, "iou>0.5"), (0.0, "iou>0")):
        parts = [astuple(found.by_overlap()[name]) for found in by_size.by_size().values()]
        assert tuple(map(sum, zip(*parts, strict=True))) == astuple(detection(pairs, predicted_count, overlap))
