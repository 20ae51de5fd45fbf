import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lits_seg.metrics import case_scores, global_dice, liver_predicted, summarise
from lits_seg.metrics.counts import VolumeOverlap

VOLUMES = arrays(np.uint8, (2, 3, 4, 5), elements=st.integers(0, 2))  # patients, slices, rows, columns


def count(predicted: np.ndarray, truth: np.ndarray, structures: tuple[str, ...] = ("lesion",)) -> torch.Tensor:
    overlap = VolumeOverlap(len(truth), structures)
    for number, (one, other) in enumerate(zip(predicted, truth, strict=True)):
        overlap.update(torch.from_numpy(one), torch.from_numpy(other), torch.full((len(one),), number))
    return overlap.compute()


@given(VOLUMES, VOLUMES)
@settings(deadline=None)
def test_scores_equal_their_definitions(predicted: np.ndarray, truth: np.ndarray) -> None:
    counts = count(predicted, truth, ("lesion", "liver"))
    for number, lowest in enumerate((2, 1)):
        scores = case_scores(counts[:, number])
        for patient in range(2):
            a, b = set(np.flatnonzero(truth[patient] >= lowest)), set(np.flatnonzero(predicted[patient] >= lowest))
            expected = {
                "dice": 2 * len(a & b) / (len(a) + len(b)) if a | b else 1,
                "jaccard": len(a & b) / len(a | b) if a | b else 1,
                "paper_symbols": (len(a & b) / len(b) if b else 0) if a | b else 1,
            }
            found = {name: float(values[patient]) for name, values in scores.items()}
            assert found == pytest.approx(expected)
            assert found["jaccard"] == pytest.approx(found["dice"] / (2 - found["dice"]))


@pytest.mark.parametrize(
    ("predicted", "truth", "dice", "symbols"),
    [
        ([2, 2, 0, 0], [2, 2, 0, 0], 1, 1),
        ([2, 0, 0, 0], [0, 0, 0, 0], 0, 0),
        ([0, 0, 0, 0], [2, 0, 0, 0], 0, 0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1, 1),
        ([1, 1, 1, 1], [1, 1, 0, 0], 1, 1),  # liver is no lesion
        ([2, 0, 0, 0], [2, 2, 2, 0], 0.5, 1),
    ],
    ids=["perfect", "false positive only", "false negative only", "both empty", "liver only", "one of three"],
)
def test_edge_cases(predicted: list[int], truth: list[int], dice: float, symbols: float) -> None:
    one, other = (np.array(values, np.uint8).reshape(1, 1, 2, 2) for values in (predicted, truth))
    scores = case_scores(count(one, other)[:, 0])
    assert scores["dice"].item() == dice
    assert scores["paper_symbols"].item() == symbols


def test_global_dice_pools_voxels_and_means_pool_patients() -> None:
    counts = torch.tensor([[90, 100, 100], [0, 0, 10]])
    assert global_dice(counts) == pytest.approx(180 / 210)
    summary = summarise(counts)
    assert summary["dice"] == pytest.approx(0.45)
    assert summary["dice_global"] == pytest.approx(180 / 210)
    assert global_dice(torch.zeros(3, 3, dtype=torch.long)) == 0


def test_a_liver_without_a_voxel_of_its_own_scores_nothing() -> None:
    truth, predicted = np.array([[[[1, 1, 2, 2]]]], np.uint8), np.array([[[[0, 0, 2, 2]]]], np.uint8)
    lesion, liver = count(predicted, truth, ("lesion", "liver")).unbind(dim=1)
    assert case_scores(lesion)["dice"].item() == 1
    assert case_scores(liver, liver_predicted(lesion, liver))["dice"].item() == 0
    assert summarise(liver, liver_predicted(lesion, liver))["dice_global"] == pytest.approx(2 * 2 / 6)
