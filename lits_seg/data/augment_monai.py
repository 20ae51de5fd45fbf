"""Augment training slices at random through MONAI, one sample at a time.

This is the plain reference that the batched ``augment`` is tested against; settings and defaults are those of its
classes. A transform takes and returns ``{"image": (1, H, W) float32 in [0, 1], "label": (1, H, W)}``. All randomness
is drawn from the seed of each sample (see ``sampling``): it repeats with the run's seed and differs between workers,
epochs and ranks.
"""

from typing import Any

import numpy as np
from monai.transforms import (
    Compose,
    Rand2DElasticd,
    RandAdjustContrastd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandShiftIntensityd,
)

from lits_seg.common.errors import InputError
from lits_seg.data.augment import RotateZoomBend, ScannerVariety

IMAGE, LABEL = "image", "label"


def rotate_zoom_bend(size: int, **settings: Any) -> Compose:
    """Return the reference of ``augment.RotateZoomBend``.

    Args:
        size: side of the images in pixels.
        settings: of ``augment.RotateZoomBend``, except ``crop``.
    """
    return _geometry(size, RotateZoomBend(**settings))


def scanner_variety(size: int, **settings: Any) -> Compose:
    """Return the reference of ``augment.ScannerVariety``.

    Args:
        size: side of the images in pixels.
        settings: of ``augment.ScannerVariety``, except ``crop``.
    """
    wanted = ScannerVariety(**settings)
    share = wanted.intensity_probability
    return Compose(
        [
            _geometry(size, wanted),
            RandAdjustContrastd(IMAGE, prob=share, gamma=wanted.gamma),
            RandShiftIntensityd(IMAGE, offsets=wanted.shift, prob=share),
            RandGaussianSmoothd(IMAGE, prob=share, sigma_x=wanted.blur, sigma_y=wanted.blur),
            RandGaussianNoised(IMAGE, prob=share, std=wanted.noise),
        ]
    )


def _geometry(size: int, wanted: RotateZoomBend) -> Compose:
    if wanted.crop is not None:
        raise InputError("augment.crop", "null: MONAI's augmentation takes whole slices", wanted.crop)
    lowest, highest = wanted.bend_magnitude
    return Compose(
        Rand2DElasticd(
            keys=(IMAGE, LABEL),
            spacing=wanted.bend_spacing * size,
            magnitude_range=(lowest * size, highest * size),
            prob=wanted.probability,
            rotate_range=float(np.deg2rad(wanted.rotate)),
            scale_range=(wanted.zoom, wanted.zoom),  # a single number would zoom the rows alone
            # Nearest for labels: the transform's default would blend them into values that do not exist.
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        )
    )
