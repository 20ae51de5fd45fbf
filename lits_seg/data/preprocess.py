"""Convert HU to the network's images: window, resize, equalize (paper, III.A and III.B).

Training, validation and prediction share this definition, and its inverse for logits. Only the exported graph
implements it a second time, with operations of its runtimes (``exporters.graph``).
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn import functional

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Size

BLOCK = 16  # slices
HU = Annotated[float, Ge(-32768), Le(32767)]
# Added before rounding down to a grey level. Resized HU are often halves. The small excess rounds all of them up,
# independent of the order of summation, so that PyTorch and the exported graph give the same images.
HALF = 0.5 + 2**-10


@dataclass(frozen=True)
class Preprocess:
    """A conversion of HU slices to 8-bit images of a fixed size.

    Slices that are not square are first padded at the bottom and on the right with the window's lower end (air). This
    avoids distortion of the anatomy. ``restore`` removes the padding.

    Args:
        window: lower and upper HU; values outside are clipped. The paper uses -100 to 200.
        size: side of the images in pixels. The paper uses 256.
        equalize: equalize the histogram of each slice.
        equalize_first: equalize before resizing instead of after it.
        bins: number of grey levels in the histogram, 2 to 256.

    Raises:
        InputError: if a setting is invalid.
    """

    window: tuple[HU, HU] = (-100.0, 200.0)
    size: Size = 256
    equalize: bool = True
    equalize_first: bool = False
    bins: Annotated[int, Ge(2), Le(256)] = 256

    def __post_init__(self) -> None:
        window = np.atleast_1d(self.window)
        if window.shape != (2,) or not _finite(window) or not window[0] < window[1]:
            raise InputError("data.preprocess.window", "[lower, upper] in HU", self.window)
        object.__setattr__(self, "window", tuple(float(hu) for hu in window))
        if not isinstance(self.bins, int) or not 2 <= self.bins <= 256:
            raise InputError("data.preprocess.bins", "a whole number from 2 to 256", self.bins)
        if not isinstance(self.size, int) or self.size < 16:
            raise InputError("data.preprocess.size", "a whole number of pixels, at least 16", self.size)
        for name in ("equalize", "equalize_first"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"data.preprocess.{name}", "true or false", getattr(self, name))

    def images(self, slices: np.ndarray) -> np.ndarray:
        """Return HU slices ``(S, H, W)`` as images ``(S, size, size)``, uint8."""
        # PyTorch distributes the slices of a block over its threads; small blocks limit the memory.
        return np.concatenate([self._images(slices[i : i + BLOCK]) for i in range(0, len(slices), BLOCK)])

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Resize labels ``(S, H, W)`` to ``(S, size, size)``, uint8, by nearest neighbour."""
        height, width = labels.shape[1:]
        side = max(height, width)
        nearest = ((np.arange(self.size) + 0.5) * (side / self.size)).astype(int)
        rows, columns = nearest[nearest < height], nearest[nearest < width]
        out = np.zeros((len(labels), self.size, self.size), np.uint8)
        out[:, : len(rows), : len(columns)] = labels.take(rows, axis=1).take(columns, axis=2)
        return out

    def restore(self, logits: Tensor, height: int, width: int) -> Tensor:
        """Resize logits to the slices' own grid by bilinear interpolation.

        Args:
            logits: ``(B, K, size, size)``.
            height: rows of the slices, in pixels.
            width: columns of the slices, in pixels.

        Returns:
            Logits ``(B, K, height, width)``.
        """
        side = max(height, width)
        full = functional.interpolate(logits, side, mode="bilinear", align_corners=False)
        return full[..., :height, :width]

    def _images(self, hu: np.ndarray) -> np.ndarray:
        lower, upper = self.window
        image = torch.from_numpy(hu).clamp(lower, upper).float()
        if self.equalize_first:
            image = self._hu(self._equalize(self._grey(image)))
        square = _pad_to_square(image[:, None], value=lower)
        resized = functional.interpolate(square, self.size, mode="bilinear", align_corners=False, antialias=True)
        grey = self._grey(resized[:, 0])
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
