"""Synthetic lesions in livers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lits_seg.common.errors import InputError
from lits_seg.data.drawn_lesions import DrawnLesions

SIDE = 64


def livers(count: int = 8, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy slices with a liver on the left half and a small real lesion within it."""
    labels = torch.zeros(count, SIDE, SIDE, dtype=torch.long)
    labels[:, 8:56, 4:36] = 1
    labels[:, 10:14, 10:14] = 2
    noise = torch.randn(count, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return 0.6 + 0.05 * noise, labels


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), channels=st.sampled_from([1, 3, 5]), most=st.integers(1, 4))
def test_only_liver_pixels_change_and_what_changes_most_is_labelled(seed: int, channels: int, most: int) -> None:
    images, labels = livers(channels=channels)
    lesions = DrawnLesions(probability=1.0, most=most, contrast=(0.2, 0.25), radius=(0.05, 0.15))
    drawn, new = lesions(images, labels, torch.Generator().manual_seed(seed))
    liver = labels == 1
    changed = (drawn - images)[:, channels // 2]
    assert not changed[~liver].any()
    assert torch.equal(new[~liver], labels[~liver])
    assert set(new[liver].tolist()) <= {1, 2}
    added = (new == 2) & liver
    assert added.any()
    assert changed[added].abs().mean() > 5 * changed[liver & ~added].abs().mean()
    assert torch.equal(images, livers(channels=channels)[0])  # the batch itself is left alone


def test_the_share_of_samples_and_the_sizes_are_as_asked() -> None:
    images, labels = livers(400)
    small, large = (
        DrawnLesions(probability=0.5, most=1, radius=(radius, radius))(images, labels, torch.Generator().manual_seed(1))
        for radius in (0.04, 0.08)
    )
    areas = [((new == 2) & (labels == 1)).flatten(1).sum(1) for _, new in (small, large)]
    assert 0.42 < (areas[0] > 0).float().mean() < 0.58
    inner = [area[area > 0].float().median() for area in areas]
    assert 3 < inner[1] / inner[0] < 5  # twice the radius, four times the area


def test_slices_without_liver_and_a_probability_of_zero_change_nothing() -> None:
    images, labels = livers()
    generator = torch.Generator().manual_seed(0)
    for lesions, given_labels in ((DrawnLesions(probability=1.0), labels * 0), (DrawnLesions(probability=0.0), labels)):
        drawn, new = lesions(images, given_labels, generator)
        assert torch.equal(drawn, images)
        assert torch.equal(new, given_labels)


@pytest.mark.parametrize(
    "wrong", [{"radius": (0.2, 0.1)}, {"radius": (0.0, 0.1)}, {"contrast": (0.1, 1.0)}, {"most": 0}]
)
def test_empty_ranges_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"augment.lesions.{next(iter(wrong))}: expected"):
        DrawnLesions(**wrong)
