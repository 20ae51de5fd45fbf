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


def systems_picture(tested: Mapping[str, tuple[Path, Sequence[CaseScores]]], budget: str) -> Figure | None:
    """Draw a slice, the reference and every system's prediction.

    The patient is the one whose median Dice over all systems is highest, among those with lesions.

    Args:
        tested: run folder, and scores of its patients, by system.
        budget: the budget of the trainings in words.

    Returns:
        The figure; None without a patient whom all tested, or if a run lacks the patient's picture.
    """
    dice = {
        name: {case.case: case.lesion.dice for case in cases if case.voxels.lesion.reference}
        for name, (_, cases) in tested.items()
    }
    common = set.intersection(*map(set, dice.values())) if dice else set()
    if not common:
        return None
    patient = max(sorted(common), key=lambda case: float(np.median([one[case] for one in dice.values()])))
    pictures = {name: folder / PICTURES / f"{patient}.png" for name, (folder, _) in tested.items()}
    if not all(path.exists() for path in pictures.values()):
        return None
    panels: list[tuple[str, np.ndarray]] = []
    for name, path in pictures.items():
        with Image.open(path, formats=["png"]) as file:
            image, reference, predicted = np.split(np.asarray(file.convert("RGB")), 3, axis=1)
        panels = panels or [("image", image), ("reference", reference)]
        panels.append((f"{name}, Dice {dice[name][patient]:.2f}", predicted))
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 2.4 * rows + 0.3), layout="constrained")
    for axes in figure.subplots(rows, COLUMNS, squeeze=False).flat:
        axes.axis("off")
    for axes, (title, panel) in zip(figure.axes, panels, strict=False):
        axes.imshow(panel)
        axes.set_title(title, fontsize=8)
    chosen = f"synthetic patient {patient}, of all the one with the highest median Dice; {budget}"
    shown = "one slice, and the Dice of the whole CT; red: lesion, cyan: liver"
    figure.supxlabel(f"{chosen}; {shown}. {RESEARCH_USE}", fontsize=8)
    return figure
