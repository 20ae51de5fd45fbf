"""Augment training slices at random with MONAI, one sample at a time.

These transforms are the reference in the tests of ``augment``, whose classes define the settings and their defaults.
They take and return ``{"image": (1, H, W) float32 in [0, 1], "label": (1, H, W)}``. The seed of each sample (see
``sampling``) determines its augmentation. Therefore augmentation is reproducible with the run's seed, and differs
between workers, epochs and ranks.
"""

import inspect
from collections.abc import Callable
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
from lits_seg.common.settings import Size
from lits_seg.data.augment import RotateZoomBend, ScannerVariety

IMAGE, LABEL = "image", "label"


def _takes(kind: type[RotateZoomBend]) -> Callable[[Callable[..., Compose]], Callable[..., Compose]]:
    """Return a decorator that gives a function of ``size`` and ``settings`` the signature of its settings' class."""

    def decorate(function: Callable[..., Compose]) -> Callable[..., Compose]:
        size = inspect.Parameter("size", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Size)
        parameters = [size, *inspect.signature(kind).parameters.values()]
        signature = inspect.Signature(parameters, return_annotation=Compose)
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    return decorate


@_takes(RotateZoomBend)
def rotate_zoom_bend(size: int, **settings: Any) -> Compose:
    """Return the reference implementation of ``augment.RotateZoomBend``.

    Args:
        size: side of the images in pixels.
        settings: of ``augment.RotateZoomBend``, except ``crop``, ``stages`` and ``lesions``.
    """
    return _geometry(size, RotateZoomBend(**settings))


@_takes(ScannerVariety)
def scanner_variety(size: int, **settings: Any) -> Compose:
    """Return the reference implementation of ``augment.ScannerVariety``.

    Args:
        size: side of the images in pixels.
        settings: of ``augment.ScannerVariety``, except ``crop``, ``stages`` and ``lesions``.
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
    for name in ("crop", "stages", "lesions"):
        if getattr(wanted, name):
            expected = "no such setting, since augmentation with MONAI supports whole slices without drawn lesions only"
            raise InputError(f"augment.{name}", expected, getattr(wanted, name))
    lowest, highest = wanted.bend_magnitude
    return Compose(
        Rand2DElasticd(
            keys=(IMAGE, LABEL),
            spacing=wanted.bend_spacing * size,
            magnitude_range=(lowest * size, highest * size),
            prob=wanted.probability,
            rotate_range=float(np.deg2rad(wanted.rotate)),
            scale_range=(wanted.zoom, wanted.zoom),  # a single number would zoom the rows only
            # Linear interpolation, the default, would blend labels into values that are no class.
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        )
    )
