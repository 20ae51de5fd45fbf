"""Define the exported graph: the operations of ``Preprocess`` and ``LesionModule.labels`` for any runtime.

``Preprocess`` computes histograms with NumPy and resizes with a kernel of PyTorch, which cannot be exported. This
module implements both with operations that every runtime supports. Resizing is a product with two matrices that contain
the weights of the triangle filter; the histogram is a scatter-add. Tests compare the images of both implementations.
"""

import torch
from torch import Tensor, nn

from lits_seg.data.preprocess import HALF, UNSEEN, Preprocess
from lits_seg.data.resample import to_image, to_slice


class Prepare(nn.Module):
    """A layer from HU slices ``(B, context, H, W)`` float32 to images ``(B, context, size, size)`` uint8.

    Args:
        preprocess: the conversion.
        context: if it is not 1, the layer also takes a run of neighbouring slices, ``(B + context - 1, 1, H, W)``.
            The images of B slices with their neighbours are then made of each slice's single image.
    """

    level: Tensor

    def __init__(self, preprocess: Preprocess, context: int = 1) -> None:
        super().__init__()
        self.preprocess, self.context = preprocess, context
        self.register_buffer("level", torch.arange(256) * preprocess.bins // 256, persistent=False)

    def forward(self, hu: Tensor, pixel_mm: Tensor | None = None) -> Tensor:
        """Convert HU to images.

        Args:
            hu: ``(B, context, H, W)``.
            pixel_mm: pixel size along H and W, ``(B, 2)``, if pre-processing resamples to a spacing.

        Returns:
            Images ``(B, context, size, size)``.
        """
        lower, upper = self.preprocess.window
        above = hu.clamp(lower, upper) - lower
        if self.preprocess.equalize_first:
            above = self._equalize(self._grey(above)) * ((upper - lower) / 255)
        grey = self._grey(self._resize(above, pixel_mm))
        images = (grey if self.preprocess.equalize_first else self._equalize(grey)).to(torch.uint8)
        if self.context == 1:
            return images
        # The context of one slice starts `channels` images after that of the slice before, in both kinds of input.
        channels, flat = hu.shape[1], images.flatten(0, 1)
        first = torch.arange(0, flat.shape[0] - self.context + 1, channels, device=hu.device)
        return flat[first[:, None] + torch.arange(self.context, device=hu.device)]

    def _resize(self, above: Tensor, pixel_mm: Tensor | None) -> Tensor:
        """Resize with antialiasing, as if padded to a square with 0, which is the window's lower end here."""
        height, width = above.shape[-2:]
        if pixel_mm is not None:
            scale = self.preprocess.scale(pixel_mm)[:, None]
            rows, columns = (to_image(n, self.preprocess.size, scale[..., i]) for i, n in enumerate((height, width)))
            return rows @ (above @ columns.mT)
        weights = antialias(torch.sym_max(height, width), self.preprocess.size, above.device)
        return weights[:, :height] @ (above @ weights[:, :width].T)

    def _grey(self, above: Tensor) -> Tensor:
        """Convert HU above the window's lower end to grey levels 0 to 255, int64."""
        lower, upper = self.preprocess.window
        return (above * (255 / (upper - lower)) + HALF).floor().clamp(0, 255).long()

    def _equalize(self, grey: Tensor) -> Tensor:
        """Equalize the histogram of each slice as ``Preprocess`` does."""
        if not self.preprocess.equalize:
            return grey
        pixels = grey.shape[-2] * grey.shape[-1]
        flat = grey.flatten(2)
        level = self.level[flat]
        counts = torch.zeros(*flat.shape[:2], self.preprocess.bins, dtype=torch.long, device=grey.device)
        above = counts.scatter_add(2, level, torch.ones_like(level)).cumsum(2)
        lowest = torch.where(above > 0, above, pixels).amin(2, keepdim=True)
        rest = pixels - lowest
        spread = (510 * (above - lowest).clamp(min=0) + rest) // (2 * rest).clamp(min=1)
        return torch.where(rest == 0, flat, spread.gather(2, level)).reshape(grey.shape)


class Restore(nn.Module):
    """A layer from logits ``(B, K, size, size)`` to LiTS labels and lesion probability ``(B, H, W)``.

    The results equal those of ``LesionModule.labels``. The graph resizes and compares differences to the background's
    logit. This saves a channel and the ``argmax``, which would take as long as the network in some runtimes.

    Args:
        classes: K.
        temperature: divisor of the logits that calibrates the probability.
        foreground: the structure of two classes, ``lesion`` or ``liver``, whose lesions have the probability 0.
    """

    def __init__(
        self,
        classes: int,
        preprocess: Preprocess | None = None,
        temperature: float = 1.0,
        foreground: str = "lesion",
    ) -> None:
        super().__init__()
        self.classes, self.preprocess, self.temperature = classes, preprocess, temperature
        self.foreground = foreground

    def forward(self, logits: Tensor, like: Tensor, pixel_mm: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return labels uint8 and probability float32.

        Args:
            logits: ``(B, K, size, size)``.
            like: any tensor with the shape of the slices, ``(B, context, H, W)``.
            pixel_mm: pixel size along H and W, ``(B, 2)``, if pre-processing resamples to a spacing.
        """
        above = logits[:, 1:] - logits[:, :1]
        if self.temperature != 1:
            above = above / self.temperature
        above = self._resize(above, like, pixel_mm)
        lesion = above[:, -1]
        if self.foreground == "liver":
            return (lesion > 0).to(torch.uint8), torch.zeros_like(lesion)
        if self.classes == 2:
            return (lesion > 0).to(torch.uint8) * 2, lesion.sigmoid()
        liver = above[:, 0]
        labels = torch.where(lesion > liver.clamp(min=0), 2, (liver > 0).to(torch.int32))
        return labels.to(torch.uint8), 1 / (1 + (-lesion).exp() + (liver - lesion).exp())

    def _resize(self, above: Tensor, like: Tensor, pixel_mm: Tensor | None) -> Tensor:
        (height, width), size = like.shape[-2:], above.shape[-1]
        if self.preprocess is None or pixel_mm is None:
            weights = bilinear(size, torch.sym_max(height, width), above.device)
            return weights[:height] @ (above @ weights[:width].T)
        scale = self.preprocess.scale(pixel_mm)[:, None]
        (rows, in_rows), (columns, in_columns) = (
            to_slice(size, n, scale[..., i]) for i, n in enumerate((height, width))
        )
        return torch.where(in_rows[..., None] & in_columns[..., None, :], rows @ (above @ columns.mT), UNSEEN)


class Logits(nn.Module):
    """The network with a conversion of 8-bit images, from ``(B, context, size, size)`` to ``(B, K, size, size)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Convert images ``(B, context, size, size)`` uint8 to logits ``(B, K, size, size)``."""
        return self.network(image.float() / 255)


class Contract(nn.Module):
    """The complete graph, from HU to labels, probability and logits."""

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        classes: int,
        temperature: float = 1.0,
        foreground: str = "lesion",
    ) -> None:
        super().__init__()
        self.prepare, self.logits = Prepare(preprocess), Logits(network)
        self.restore = Restore(classes, preprocess, temperature, foreground)

    def forward(self, hu: Tensor, pixel_mm: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Segment slices.

        Args:
            hu: ``(B, context, H, W)`` float32.
            pixel_mm: pixel size along H and W, ``(B, 2)`` float32, if pre-processing resamples to a spacing.

        Returns:
            Labels ``(B, H, W)`` uint8, probability ``(B, H, W)`` float32, and logits ``(B, K, size, size)``.
        """
        logits = self.logits(self.prepare(hu, pixel_mm))
        return (*self.restore(logits, hu, pixel_mm), logits)


def antialias(side: int | torch.SymInt, size: int, device: torch.device | None = None) -> Tensor:
    """Return the weights of antialiased bilinear resizing: triangles whose width is the scale.

    Args:
        side: input side in pixels; symbolic during export.
        size: output side in pixels.
        device: device of the weights.

    Returns:
        ``(size, side)``.
    """
    scale = side / size
    width = torch.sym_max(scale, 1.0)
    centre = (torch.arange(size, device=device) + 0.5) * scale
    place = torch.arange(side, device=device) + 0.5  # type: ignore[arg-type]  # takes symbolic sizes
    weights = (1 - (place - centre[:, None]).abs() / width).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def bilinear(size: int, side: int | torch.SymInt, device: torch.device | None = None) -> Tensor:
    """Return the weights of bilinear resizing with repeated edges (``align_corners=False``).

    Args:
        size: input side in pixels.
        side: output side in pixels; symbolic during export.
        device: device of the weights.

    Returns:
        ``(side, size)``.
    """
    pixels = torch.arange(side, device=device)  # type: ignore[arg-type]  # takes symbolic sizes
    place = ((pixels + 0.5) * (size / side) - 0.5).clamp(0, size - 1)
    return (1 - (place[:, None] - torch.arange(size, device=device)).abs()).clamp(min=0)
