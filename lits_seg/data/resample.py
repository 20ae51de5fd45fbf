"""Weights that resample slices to images with one pixel size for all patients, and logits back to the slices.

The middle pixel of a slice, ``side // 2``, is the middle pixel of its image, ``size // 2``. Images are cropped or
filled up at their edges. Pre-processing and the exported graph share these functions; all runtimes have their
operations.
"""

import torch
from torch import Tensor


def to_image(side: int | torch.SymInt, size: int, scale: Tensor) -> Tensor:
    """Return the weights of antialiased linear resampling of one axis of a slice: triangles, as wide as the scale.

    Args:
        side: pixels of the slice; symbolic during export.
        size: pixels of the image.
        scale: pixel size of the image, relative to that of the slice, ``(…)``.

    Returns:
        ``(…, size, side)``; 0 for pixels of the image outside the slice.
    """
    place = (torch.arange(size, device=scale.device) - size // 2) * scale[..., None] + side // 2
    inside = (place >= -0.5) & (place + 0.5 < side)
    pixels = torch.arange(side, device=scale.device)  # type: ignore[arg-type]  # takes symbolic sizes
    width = scale.clamp(min=1)[..., None, None]
    weights = (1 - (pixels - place[..., None]).abs() / width).clamp(min=0)
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-6) * inside[..., None]


def to_slice(size: int, side: int | torch.SymInt, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of linear resampling of one axis of an image, with repeated edges.

    Args:
        size: pixels of the image.
        side: pixels of the slice; symbolic during export.
        scale: pixel size of the image, relative to that of the slice, ``(…)``.

    Returns:
        Weights ``(…, side, size)``; and whether the image shows each pixel of the slice, ``(…, side)``.
    """
    pixels = torch.arange(side, device=scale.device)  # type: ignore[arg-type]  # takes symbolic sizes
    place = (pixels - side // 2) / scale[..., None] + size // 2
    near = place.clamp(0, size - 1)[..., None]
    weights = (1 - (near - torch.arange(size, device=scale.device)).abs()).clamp(min=0)
    return weights, (place >= -0.5) & (place < size - 0.5)
