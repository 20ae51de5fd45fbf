"""Show one synthetic patient as every system segments it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lits_seg import RESEARCH_USE
from lits_seg.metrics.scores import CaseScores
from lits_seg.runs.folder import PICTURES

COLUMNS = 6


def systems_picture(tested: Mapping[str, tuple[Path, Sequence[CaseScores]]]) -> Figure | None:
    """Draw the slice, the reference and every system's prediction; return None without a patient whom all tested.

    The patient is the one whose median Dice over all systems is highest, among those with lesions.

    Args:
        tested: run folder, and scores of its patients, by system.
    """
    drawn = {
        name: {case.case: case.lesion.dice for case in cases if _drawn(folder, case)}
        for name, (folder, cases) in tested.items()
        if (folder / PICTURES).is_dir()
    }
    common = set.intersection(*(set(dice) for dice in drawn.values())) if drawn else set()
    if not common:
        return None
    patient = max(sorted(common), key=lambda case: float(np.median([dice[case] for dice in drawn.values()])))
    panels: list[tuple[str, np.ndarray]] = []
    for name, dice in drawn.items():
        with Image.open(tested[name][0] / PICTURES / f"{patient}.png", formats=["png"]) as file:
            image, reference, predicted = np.split(np.asarray(file.convert("RGB")), 3, axis=1)
        panels = panels or [("image", image), ("reference", reference)]
        panels.append((f"{name}, Dice {dice[patient]:.2f}", predicted))
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 2.4 * rows + 0.3), layout="constrained")
    for axes in figure.subplots(rows, COLUMNS, squeeze=False).flat:
        axes.axis("off")
    for axes, (title, panel) in zip(figure.axes, panels, strict=False):
        axes.imshow(panel)
        axes.set_title(title, fontsize=8)
    chosen = f"synthetic patient {patient}, of all the one with the highest median Dice"
    figure.supxlabel(f"{chosen}; red: lesion, cyan: liver. {RESEARCH_USE}", fontsize=8)
    return figure


def _drawn(folder: Path, case: CaseScores) -> bool:
    """Return whether a patient has lesions and a picture; an archive of runs may keep the pictures of some."""
    return bool(case.voxels.lesion.reference) and (folder / PICTURES / f"{case.case}.png").exists()
