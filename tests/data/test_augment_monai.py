"""Augmentation through MONAI, besides test_augment.py, which compares it with the batched augmentation."""

import pytest
import torch

from lits_seg.common.errors import InputError
from lits_seg.data.augment_monai import rotate_zoom_bend, scanner_variety
from lits_seg.data.drawn_lesions import DrawnLesions


@pytest.mark.parametrize("make_transform", [rotate_zoom_bend, scanner_variety])
def test_labels_are_not_blended_and_follow_the_image(make_transform: object) -> None:
    transform = make_transform(48)
    label = torch.zeros(1, 48, 48)
    label[:, 14:34, 14:34], label[:, 20:28, 20:28] = 1, 2
    changed = 0
    for seed in range(20):
        transform.set_random_state(seed=seed)
        out = transform({"image": label / 2, "label": label})
        assert set(torch.as_tensor(out["label"]).unique().tolist()) <= {0, 1, 2}
        changed += not torch.equal(torch.as_tensor(out["label"]), label)
        if make_transform is rotate_zoom_bend:
            assert (torch.as_tensor(out["image"]) * 2 - torch.as_tensor(out["label"])).abs().mean() < 0.1
    assert changed == 20


@pytest.mark.parametrize("setting", [{"crop": 24}, {"stages": [(0, 24)]}, {"lesions": DrawnLesions()}])
def test_settings_of_the_batched_augmentation_alone_are_refused(setting: dict) -> None:
    with pytest.raises(InputError, match=rf"augment\.{next(iter(setting))}: expected no such setting"):
        scanner_variety(48, **setting)
