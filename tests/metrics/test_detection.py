from dataclasses import astuple

import numpy as np
import pytest
from helpers import slow_metrics as slow
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lits_seg.metrics.detection import detection, match_lesions
from lits_seg.metrics.lesions import components


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
