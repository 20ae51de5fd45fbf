"""Random augmentation of training slices, through MONAI, one sample at a time.

A transform takes and gives ``{"image": (1, H, W) float32 in [0, 1], "label": (1, H, W)}``. All randomness
is drawn from the seed that the sampler deals to each sample (see ``datamodule``), so that it repeats with
the run's seed and differs between workers, epochs and ranks.
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

IMAGE, LABEL = "image", "label"


def rotate_zoom_bend(
    size: int,
    rotate: float = 180.0,
    zoom: float = 0.2,
    bend_spacing: float = 0.125,
    bend_magnitude: tuple[float, float] = (0.0, 0.02),
    probability: float = 1.0,
) -> Compose:
    """Rotation, zoom and elastic deformation in one interpolation (paper, V.B); outside is air.

    Args:
        size: side of the images in pixels.
        rotate: largest angle in degrees, both ways.
        zoom: largest relative change of scale, both ways, each axis its own.
        bend_spacing: distance of the elastic grid's nodes, as a share of the side (not stated in the paper).
        bend_magnitude: range of the nodes' displacement, as a share of the side (not stated in the paper).
        probability: share of the samples that are changed.
    """
    return Compose(
        Rand2DElasticd(
            keys=(IMAGE, LABEL),
            spacing=bend_spacing * size,
            magnitude_range=(bend_magnitude[0] * size, bend_magnitude[1] * size),
            prob=probability,
            rotate_range=float(np.deg2rad(rotate)),
            scale_range=(zoom, zoom),  # one number would zoom the rows alone
            # Nearest for labels: the transform's default would blend them into values that do not exist.
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        )
    )


def scanner_variety(
    size: int,
    gamma: tuple[float, float] = (0.6, 1.6),
    shift: float = 0.1,
    noise: float = 0.2,
    blur: tuple[float, float] = (0.3, 1.0),
    probability: float = 0.4,
    **geometry: Any,
) -> Compose:
    """``rotate_zoom_bend``, then what differs between scanners: contrast, offset, sharpness, noise.

    Args:
        size: side of the images in pixels.
        gamma: range of the contrast's exponent.
        shift: largest offset of the grey values, of [0, 1].
        noise: largest standard deviation of the added noise, of [0, 1]; equalization amplifies a scan's own.
        blur: range of the Gaussian's sigma in pixels.
        probability: share of the samples that each of the four changes.
        geometry: for ``rotate_zoom_bend``.
    """
    return Compose(
        [
            rotate_zoom_bend(size, **geometry),
            RandAdjustContrastd(IMAGE, prob=probability, gamma=gamma),
            RandShiftIntensityd(IMAGE, offsets=shift, prob=probability),
            RandGaussianSmoothd(IMAGE, prob=probability, sigma_x=blur, sigma_y=blur),
            RandGaussianNoised(IMAGE, prob=probability, std=noise),
        ]
    )
