"""Choose pictures of test patients from the run folders for the report page."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lits_seg.common.html import base64_picture
from lits_seg.common.tables import number
from lits_seg.common.untrusted import require_file
from lits_seg.comparison.pool import Variant
from lits_seg.runs.folder import PICTURES

WIDTH = 900  # of the three panels together, pixels
JPEG_QUALITY = 85
LARGEST = 10**7  # pixels of a picture; training writes at most 300,000


@dataclass(frozen=True)
class Overlay:
    """A patient's picture as JPEG in base64 (None if the run has no picture), with a caption."""

    caption: str
    jpeg: str | None


def overlays(variant: Variant) -> list[Overlay]:
    """Return pictures of a variant's best, median and worst patient by Dice; fewer than three patients: all of them."""
    ranked = sorted(variant.cases, key=lambda patient: (-variant.cases[patient].lesion.dice, patient))
    places = {"best": 0, "median": (len(ranked) - 1) // 2, "worst": len(ranked) - 1}
    chosen: dict[str, str] = {}
    for name, place in places.items():
        patient = ranked[place]
        chosen[patient] = f"{chosen[patient]} and {name}" if patient in chosen else name
    return [_overlay(variant, patient, name) for patient, name in chosen.items()]


def _overlay(variant: Variant, patient: str, name: str) -> Overlay:
    tested = [(run, case) for run in variant.runs for case in run.result.cases if case.case == patient]
    run, case = tested[0]
    dice = number(case.lesion.dice, 2)
    caption = f"{name}: {patient}, Dice {dice} (fold {run.result.fold}, seed {run.result.seed})"
    path = run.folder / PICTURES / f"{patient}.png"
    if Path(path.name) != Path(f"{patient}.png"):  # a name with / would lead to another folder
        return Overlay(caption, None)
    try:
        require_file(path, "a picture")
        with Image.open(path, formats=["png"]) as picture:
            if picture.width * picture.height > LARGEST:
                return Overlay(caption, None)
            shown = picture.convert("RGBA")
    except Exception:  # a damaged picture may raise anything; the page says that there is none
        return Overlay(caption, None)
    white = Image.new("RGBA", shown.size, "white")
    shown = Image.alpha_composite(white, shown).convert("RGB")
    shown.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
    return Overlay(caption, base64_picture(shown, "jpeg", quality=JPEG_QUALITY))
