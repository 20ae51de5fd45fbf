"""Pictures of test patients for the page, from the run folders' overlays."""

import base64
import io
import math
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from lits_seg.comparison.pool import Variant
from lits_seg.runs.folder import PICTURES

WIDTH, JPEG_QUALITY = 900, 85  # the page shows three panels beside each other


@dataclass(frozen=True)
class Overlay:
    """A patient's picture (JPEG, base64), or None where the run has none."""

    caption: str
    jpeg: str | None


def overlays(variant: Variant) -> list[Overlay]:
    """The best, the median and the worst patient of a variant by Dice; fewer where it has fewer."""
    ranked = sorted(variant.cases, key=lambda patient: (-variant.cases[patient]["lesion"]["dice"], patient))
    places = {"best": 0, "median": (len(ranked) - 1) // 2, "worst": len(ranked) - 1}
    chosen: dict[str, str] = {}
    for name, place in places.items():
        patient = ranked[place]
        chosen[patient] = f"{chosen[patient]} and {name}" if patient in chosen else name
    return [_overlay(variant, patient, name) for patient, name in chosen.items()]


def _overlay(variant: Variant, patient: str, name: str) -> Overlay:
    run = next(run for run in variant.runs if any(case["case"] == patient for case in run.result["cases"]))
    dice = next(case["lesion"]["dice"] for case in run.result["cases"] if case["case"] == patient)
    of = f"fold {run.result['fold']}, seed {run.result['seed']}"
    caption = f"{name}: {patient}, Dice {'–' if math.isnan(dice) else f'{dice:.2f}'} ({of})"
    try:
        with Image.open(run.folder / PICTURES / f"{patient}.png") as picture:
            picture.load()
            shown = picture.convert("RGBA")
    except (OSError, UnidentifiedImageError):
        return Overlay(caption, None)
    white = Image.new("RGBA", shown.size, "white")
    shown = Image.alpha_composite(white, shown).convert("RGB")
    shown.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    shown.save(stream, "jpeg", quality=JPEG_QUALITY)
    return Overlay(caption, base64.b64encode(stream.getvalue()).decode())
