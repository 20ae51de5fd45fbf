"""Render the viewer page: an HTML file with the CT's slices, the mask as an overlay, and the report."""

import zlib

import numpy as np
from PIL import Image

from lits_seg.common.html import base64_picture, render
from lits_seg.data.ct import Ct
from lits_seg.inference.ct_report import CtReport

SIDE = 320  # largest side of the pictures in pixels; the mask keeps the CT's resolution
JPEG_QUALITY = 85
GENERATOR = '<meta name="generator" content="lits-seg predict">'  # by which a later prediction recognises the page
# Piecewise linear map from HU to 8-bit levels: about 3 HU per level in soft tissue, more elsewhere.
HU = (-1024, -200, 300, 1500)
LEVELS = (0, 40, 215, 255)
# Colours of labels 0, 1 and 2; the page reads the label from the red channel. A palette needs two bits per pixel.
PALETTE = [channel for label in range(3) for channel in (label, label, label)]


class Pictures:
    """The CT's slices as JPEG, lowest first. Each is encoded when it is added, and takes about 15 kB."""

    def __init__(self) -> None:
        self.jpegs: list[str] = []

    def add(self, hu: np.ndarray) -> None:
        """Encode axial slices ``(B, H, W)`` in HU."""
        height, width = hu.shape[1:]
        shrink = max(1.0, max(height, width) / SIDE)
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        for part in hu:
            picture = Image.fromarray(grey_levels(part)).resize(size, Image.Resampling.BOX)
            self.jpegs.append(base64_picture(picture, "jpeg", quality=JPEG_QUALITY))


def grey_levels(hu: np.ndarray) -> np.ndarray:
    """Convert HU, int16 or float, to the 8-bit levels of the pictures."""
    # Most CTs are int16, for which a look-up table takes a fifth of the time.
    return _INT16.take(hu) if hu.dtype == np.int16 else _interpolate(hu)


def page(name: str, report: CtReport, pictures: Pictures, labels: np.ndarray, ct: Ct) -> str:
    """Render the page.

    Args:
        name: name of the mask.
        report: report on the CT.
        pictures: pictures of all slices.
        labels: LiTS labels ``(S, H, W)`` of the CT's slices.
        ct: the CT.

    Returns:
        HTML without references to other files.
    """
    x, y, _ = ct.spacing
    height, width = labels.shape[1:]
    to_mm = ct.slices_affine
    highest, masks = zip(*(_mask(part) for part in labels), strict=True)
    data = {
        "name": name,
        "report": report.plain(),
        "width": width,
        "height": height,
        "aspect": (width * x) / (height * y),
        "hu": np.interp(np.arange(256), LEVELS, HU).round().astype(int).tolist(),
        "mm": [float((to_mm @ (width / 2, height / 2, i, 1))[2]) for i in range(len(labels))],
        "labels": highest,
        "slices": pictures.jpegs,
        "masks": masks,
    }
    return render("viewer.html.j2", data=data)


def _interpolate(hu: np.ndarray) -> np.ndarray:
    return np.interp(hu, HU, LEVELS).round().astype(np.uint8)


# Levels of 0 to 32767, followed by those of -32768 to -1, since negative indices count from the end.
_INT16 = _interpolate(np.arange(2**16, dtype=np.uint16).view(np.int16))


def _mask(labels: np.ndarray) -> tuple[int, str]:
    """Return the highest label in ``(H, W)``, and the labels as PNG (empty if the slice has only background)."""
    labels = np.ascontiguousarray(labels)  # reading a flipped view is slow
    highest = int(labels.max())
    if not highest:
        return 0, ""
    picture = Image.fromarray(labels)
    picture.putpalette(PALETTE)
    # Run-length coding suits labels: it is faster and gives smaller files than the default.
    return highest, base64_picture(picture, "png", compress_type=zlib.Z_RLE)
