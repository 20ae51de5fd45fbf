"""Draw pictures of a run: learning curves and overlays."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lits_seg import RESEARCH_USE
from lits_seg.common.errors import InputError
from lits_seg.common.untrusted import read_text
from lits_seg.data.file_names import natural

LARGEST = 2**62  # step or value that a figure can show; a training that diverges logs any value
LARGEST_CSV = 2**27  # bytes; a million steps have 100 MB
SIDE = 320  # longest side of a small picture, in pixels


def curves(values: Mapping[str, Mapping[int, float]], val_dice: str) -> Figure:
    """Draw loss and Dice of training and validation over steps (the paper's Fig. 2).

    Args:
        values: what a run has logged, see ``history``.
        val_dice: name of the validation Dice, see ``LesionModule.val_dice``.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, title, names in (
        (
            left,
            "Dice",
            {"train/dice_global": "training slices, all together", val_dice: "validation, per patient"},
        ),
        (right, "Loss", {"train/loss_epoch": "training", "val/loss": "validation"}),
    ):
        for name, label in names.items():
            points = sorted(values.get(name, {}).items())
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        axes.legend()
    left.set_ylim(0, 1)
    return figure


def history(folder: Path) -> dict[str, dict[int, float]]:
    """Read what a run has logged into ``{name: {step: value}}``.

    Each start of the run has a ``metrics.csv``. A file replaces the values of earlier files from its first step on,
    since the run continues from there.

    Args:
        folder: the run's folder.

    Raises:
        InputError: if a file is damaged.
    """
    values: dict[str, dict[int, float]] = {}
    # In the order of their numbers: copies and archives may have lost the times.
    for path in sorted(folder.glob("metrics/version_*/metrics.csv"), key=lambda path: natural(path.parent.name)):
        rows = _rows(path)
        start = min((step for step, _, _ in rows), default=0)
        for of_name in values.values():
            for step in [step for step in of_name if rows and step >= start]:
                del of_name[step]
        for step, name, value in rows:
            values.setdefault(name, {})[step] = value
    return values


def _rows(path: Path) -> list[tuple[int, str, float]]:
    """Return step, name and value of each value in a ``metrics.csv``."""
    expected = "a table of numbers with the column step"
    rows = []
    try:
        for row in csv.DictReader(io.StringIO(read_text(path, expected, LARGEST_CSV)), strict=True):
            step = int(row.pop("step"))
            if not 0 <= step < LARGEST:
                raise ValueError(f"step {step}")
            numbers = {name: float(value) for name, value in row.items() if value}
            rows += [(step, name, number if abs(number) < LARGEST else math.nan) for name, number in numbers.items()]
    except (ValueError, TypeError, KeyError, csv.Error) as error:  # TypeError: more values than columns
        raise InputError(path, expected, f"{type(error).__name__}: {error}"[:200]) from error
    return rows


def overlays(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw a row per slice with the network's input, the reference and the prediction (the paper's Fig. 3).

    Args:
        rows: mappings with ``image`` ``(H, W)`` in [0, 1], LiTS labels ``truth`` and ``predicted``
            ``(H, W)``, and ``title``.
    """
    figure = Figure(figsize=(9, 3.1 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        for ax, mask, title in zip(
            axes, (None, row["truth"], row["predicted"]), (row["title"], "reference", "prediction"), strict=True
        ):
            ax.imshow(row["image"], cmap="gray", vmin=0, vmax=1)
            if mask is not None:
                _outline(ax, mask >= 1, "tab:cyan")
                _outline(ax, mask == 2, "tab:red")
            ax.set_title(title, fontsize=9)
            ax.axis("off")
    figure.supxlabel(f"red: lesion, cyan: liver if known. {RESEARCH_USE}", fontsize=8)
    return figure


def tinted(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Tint a slice by its labels: lesion red, liver cyan.

    Args:
        image: 8-bit grey values ``(H, W)``.
        labels: LiTS labels ``(H, W)``.

    Returns:
        8-bit colours ``(H, W, 3)``.
    """
    colours = np.repeat(image[..., None], 3, axis=-1).astype(np.float32)
    for value, colour in ((1, (0, 190, 200)), (2, (230, 40, 40))):
        colours[labels == value] = 0.65 * colours[labels == value] + 0.35 * np.array(colour)
    return colours.astype(np.uint8)


def panels(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Place a slice, its reference and its prediction next to each other.

    Args:
        image: the network's input on the slice's grid, ``(H, W)`` in [0, 1].
        truth: LiTS labels ``(H, W)`` of the reference.
        predicted: LiTS labels ``(H, W)`` of the prediction.

    Returns:
        8-bit colours ``(h, 3w, 3)``; h and w are at most ``SIDE`` pixels.
    """
    grey = (image.clip(0, 1) * 255).astype(np.uint8)
    step = -(-max(truth.shape) // SIDE)
    parts = [tinted(grey, labels)[::step, ::step] for labels in (np.zeros_like(truth), truth, predicted)]
    return np.concatenate(parts, axis=1)


def _outline(axes: Any, mask: np.ndarray, colour: str) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=colour, linewidths=1.0)
