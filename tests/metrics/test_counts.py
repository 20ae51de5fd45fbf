"""Voxels of patients, counted from slices in any order and on any rank."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lits_seg.metrics.counts import VolumeOverlap

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
