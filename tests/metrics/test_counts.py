"""Voxels of patients, counted from slices in any order and on any rank."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lits_seg.metrics.counts import SeenSlices, VolumeOverlap

VOLUMES = arrays(np.uint8, (2, 3, 4, 5), elements=st.integers(0, 2))  # patients, slices, rows, columns


@given(VOLUMES, VOLUMES, st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_slices_may_come_in_any_order_and_from_any_rank(predicted: np.ndarray, truth: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(6)
    patients = torch.tensor([0, 0, 0, 1, 1, 1])[order]
    one, other = (torch.from_numpy(array.reshape(6, 4, 5)[order]) for array in (predicted, truth))
    ranks = [VolumeOverlap(2, ("lesion", "liver")), VolumeOverlap(2, ("lesion", "liver"))]
    for rank, overlap in enumerate(ranks):
        overlap.update(one[rank::2], other[rank::2], patients[rank::2])
    expected = [
        [[int(mask.sum()) for mask in (a & b, a, b)] for a, b in ((p >= lowest, t >= lowest) for lowest in (2, 1))]
        for p, t in zip(predicted, truth, strict=True)
    ]
    assert (ranks[0].compute() + ranks[1].compute()).tolist() == expected


def test_seen_slices_and_the_first_unsound_one_from_any_rank() -> None:
    ranks = [SeenSlices(3), SeenSlices(3)]
    logits, truth = torch.zeros(2, 2, 4, 4), torch.ones(2, 5, 5, dtype=torch.uint8)
    broken, odd = logits.clone(), truth.clone()
    broken[1, 0, 2, 2], odd[0, 1, 1] = torch.inf, 3
    for rank, scores, labels, patient, slices in (
        (0, logits, truth, 0, [0, 1]),
        (1, broken, truth, 0, [6, 7]),
        (0, logits, odd, 2, [5, 4]),
        (1, broken, odd, 2, [2, 3]),
    ):
        ranks[rank].update(scores, labels, torch.full((2,), patient), torch.tensor(slices))
    one, other = (rank.compute() for rank in ranks)
    none = SeenSlices.NONE
    assert (one[0] + other[0]).tolist() == [4, 0, 4]
    assert torch.minimum(one[1], other[1]).tolist() == [7, none, 3]
    assert torch.minimum(one[2], other[2]).tolist() == [none, none, 2]
    assert SeenSlices(1).compute().shape == (3, 1)
