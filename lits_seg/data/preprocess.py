"""Convert HU to the network's images: window, resize, equalize (paper, III.A and III.B).

Training, validation and prediction share this definition, and its inverse for logits. Only the exported graph
implements it a second time, with operations of its runtimes (``exporters.graph``).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Size, annotations, require_fits
from lits_seg.data.resample import to_image, to_slice

BLOCK = 16  # slices
HU = Annotated[float, Ge(-32768), Le(32767)]
# Added before rounding down to a grey level. Resized HU are often halves. The small excess rounds all of them up,
# independent of the order of summation, so that PyTorch and the exported graph give the same images.
HALF = 0.5 + 2**-10
UNSEEN = -50.0  # logit of all classes but the background, in pixels that no image shows
SPACING = (0.1, 10.0)  # mm
PixelSize = Sequence[float] | np.ndarray | Tensor  # size of a slice's pixels in mm, along H and W


@dataclass(frozen=True)
class Preprocess:
    """A conversion of HU slices to 8-bit images of a fixed size.

    Slices that are not square are first padded at the bottom and on the right with the window's lower end (air). This
    avoids distortion of the anatomy. ``restore`` removes the padding.

    With ``spacing``, the pixels of all images have one size, and each image shows the middle of its slice: what is
    beyond the image is cropped, and an image that is larger than the slice is filled up with air, see ``resample``.

    Args:
        window: lower and upper HU; values outside are clipped. The paper uses -100 to 200.
        size: side of the images in pixels. The paper uses 256.
        equalize: equalize the histogram of each slice.
        equalize_first: equalize before resizing instead of after it.
        bins: number of grey levels in the histogram, 2 to 256.
        spacing: size of the images' pixels in mm; None: each slice is resized to ``size`` as a whole.

    Raises:
        InputError: if a setting is invalid.
    """

    window: tuple[HU, HU] = (-100.0, 200.0)
    size: Size = 256
    equalize: bool = True
    equalize_first: bool = False
    bins: Annotated[int, Ge(2), Le(256)] = 256
    spacing: Annotated[float, Ge(SPACING[0]), Le(SPACING[1])] | None = None

    def __post_init__(self) -> None:
        window = np.atleast_1d(self.window)
        if window.shape != (2,) or not _finite(window) or not window[0] < window[1]:
            raise InputError("data.preprocess.window", "[lower, upper] in HU", self.window)
        object.__setattr__(self, "window", tuple(float(hu) for hu in window))
        require_fits("data.preprocess.", dict(annotations(Preprocess)), vars(self))
        if self.spacing is not None:
            object.__setattr__(self, "spacing", float(self.spacing))

    def plain(self) -> dict[str, Any]:
        """Return the settings, without ``spacing`` if it is not used: stores and files of earlier versions lack it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def images(self, slices: np.ndarray, pixel_mm: PixelSize | None = None) -> np.ndarray:
        """Convert slices to images.

        Args:
            slices: HU ``(S, H, W)``.
            pixel_mm: size of their pixels in mm, along H and W; needed if ``spacing`` is set.

        Returns:
            Images ``(S, size, size)``, uint8.
        """
        # PyTorch distributes the slices of a block over its threads; small blocks limit the memory.
        return np.concatenate([self._images(slices[i : i + BLOCK], pixel_mm) for i in range(0, len(slices), BLOCK)])

    def labels(self, labels: np.ndarray, pixel_mm: PixelSize | None = None) -> np.ndarray:
        """Resample labels by nearest neighbour.

        Args:
            labels: ``(S, H, W)``.
            pixel_mm: as for ``images``.

        Returns:
            Labels ``(S, size, size)``, uint8; 0 outside the slices.
        """
        pixels, (height, width) = np.arange(self.size), labels.shape[1:]
        if self.spacing is None:
            rows = columns = ((pixels + 0.5) * (max(height, width) / self.size)).astype(int)
        else:
            rows, columns = (
                np.floor((pixels - self.size // 2) * scale + side // 2 + 0.5).astype(int)
                for scale, side in zip(self.scale(pixel_mm).tolist(), (height, width), strict=True)
            )
        inside = ((rows >= 0) & (rows < height))[:, None] & (columns >= 0) & (columns < width)
        return labels.take(rows, axis=1, mode="clip").take(columns, axis=2, mode="clip") * inside

    def restore(self, logits: Tensor, height: int, width: int, pixel_mm: PixelSize | None = None) -> Tensor:
        """Resize logits to the slices' own grid by bilinear interpolation; what no image shows is background.

        Args:
            logits: ``(B, K, size, size)``.
            height: rows of the slices, in pixels.
            width: columns of the slices, in pixels.
            pixel_mm: as for ``images``; ``(B, 2)`` if the slices differ.

        Returns:
            Logits ``(B, K, height, width)``.
        """
        if self.spacing is not None:
            scale = self.scale(pixel_mm).to(logits.device)
            rows, in_rows = to_slice(self.size, height, scale[..., 0])
            columns, in_columns = to_slice(self.size, width, scale[..., 1])
            full = rows[..., None, :, :] @ (logits @ columns[..., None, :, :].mT)
            unseen = torch.full((logits.shape[1], 1, 1), UNSEEN, device=logits.device)
            unseen[0] = 0
            return torch.where((in_rows[..., None] & in_columns[..., None, :])[..., None, :, :], full, unseen)
        side = max(height, width)
        full = functional.interpolate(logits, side, mode="bilinear", align_corners=False)
        return full[..., :height, :width]

    def scale(self, pixel_mm: PixelSize | None) -> Tensor:
        """Return the pixel size of the images, relative to that of slices, along H and W.

        Raises:
            InputError: if the slices' pixel size is unknown.
        """
        if self.spacing is None or pixel_mm is None:
            raise InputError("data.preprocess.spacing", "slices whose pixel size is known", "slices without it")
        pixel_mm = torch.as_tensor(pixel_mm, dtype=torch.float32)
        # A number divided by a tensor would be a product with the reciprocal, which is not 1 for equal sizes.
        return torch.full_like(pixel_mm, self.spacing) / pixel_mm

    def _images(self, hu: np.ndarray, pixel_mm: PixelSize | None) -> np.ndarray:
        lower, upper = self.window
        image = torch.from_numpy(hu).clamp(lower, upper).float()
        if self.equalize_first:
            image = self._hu(self._equalize(self._grey(image)))
        if self.spacing is None:
            square = _pad_to_square(image[:, None], value=lower)
            resized = functional.interpolate(square, self.size, mode="bilinear", align_corners=False, antialias=True)
            grey = self._grey(resized[:, 0])
        else:
            rows, columns = (
                to_image(side, self.size, scale)
                for side, scale in zip(image.shape[1:], self.scale(pixel_mm), strict=True)
            )
            grey = self._grey(rows @ ((image - lower) @ columns.T) + lower)
        return grey if self.equalize_first else self._equalize(grey)

    def _grey(self, hu: Tensor) -> np.ndarray:
        """Convert HU in the window to 8-bit grey levels."""
        lower, upper = self.window
        return ((hu - lower) * (255 / (upper - lower)) + HALF).floor_().clamp_(0, 255).byte().numpy()

    def _hu(self, grey: np.ndarray) -> Tensor:
        lower, upper = self.window
        return torch.from_numpy(grey) * ((upper - lower) / 255) + lower

    def _equalize(self, slices: np.ndarray) -> np.ndarray:
        """Equalize each 8-bit slice of ``(S, H, W)`` by its own histogram."""
        return np.stack([self._spread(grey) for grey in slices]) if self.equalize else slices

    def _spread(self, grey: np.ndarray) -> np.ndarray:
        """Equalize the histogram of one 8-bit slice with a look-up table.

        The lowest level in the slice becomes 0. The cumulative histogram of the other levels determines their new
        values. Therefore the amount of air around the patient does not change the tissue's grey values. A slice with a
        single level is unchanged. The computation uses whole numbers and rounds halves up.
        """
        level = np.arange(256) * self.bins // 256
        counts = np.bincount(level, np.bincount(grey.ravel(), minlength=256), minlength=self.bins).astype(np.int64)
        lowest = counts[counts > 0][0]
        rest = grey.size - lowest
        if rest == 0:
            return grey
        above = np.clip(counts.cumsum() - lowest, 0, None)
        spread = (510 * above + rest) // (2 * rest)
        return np.take(spread[level].astype(np.uint8), grey)


def _finite(values: np.ndarray) -> bool:
    return np.issubdtype(values.dtype, np.number) and bool(np.isfinite(values).all())


def _pad_to_square(images: Tensor, value: float) -> Tensor:
    height, width = images.shape[-2:]
    side = max(height, width)
    return functional.pad(images, (0, side - width, 0, side - height), value=value)
