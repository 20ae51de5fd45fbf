"""Folders of masks, from any program: paired by file name, brought onto the same grid, scored."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.data.grid import from_slices, same_place, to_slices
from lits_seg.data.layouts import find_masks, natural, stem
from lits_seg.data.volumes import Volume, read_labels
from lits_seg.metrics.case import score_case

GRIDS = ("affine", "voxels")


def pair_masks(predictions: str | Path, references: str | Path) -> dict[str, tuple[Path, Path]]:
    """Prediction and reference of each name, in the order of their numbers. Two single files are a pair as they are.

    Raises ``InputError``, naming all of them, where a reference has no prediction or a prediction no reference.
    """
    found, expected = find_masks(predictions), find_masks(references)
    if Path(predictions).is_file() and Path(references).is_file():
        return {stem(Path(references)): (Path(predictions), Path(references))}
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        told = [f"none for {', '.join(missing)}"] * bool(missing) + [f"too many: {', '.join(extra)}"] * bool(extra)
        raise InputError(predictions, f"one mask for each in {references}, by file name", "; ".join(told))
    return {name: (found[name], expected[name]) for name in sorted(expected, key=natural)}


def read_pair(prediction: Path, reference: Path, grid: str = "affine") -> tuple[Volume, Volume]:
    """Both masks as slices on the reference's grid.

    ``grid``: how they belong together. ``affine``: by their headers; axes may be in another order or direction, and
    are brought to the same. ``voxels``: as stored, whatever the prediction's header says; the challenge's way.

    Raises ``InputError`` where the grids are not the same then; nothing is resampled.
    """
    true, found = read_labels(reference), read_labels(prediction)
    if grid == "voxels" and found.shape == true.shape:
        stored = from_slices(found.slices, found.affine)
        found = Volume(true.affine, true.shape, to_slices(stored, true.affine))
    if found.slices.shape != true.slices.shape or not same_place(found, true):
        hint = "; grid=voxels compares them as stored" if found.shape == true.shape else ""
        raise InputError(prediction, f"the grid of {reference} ({true})", f"{found}{hint}")
    return found, true


def score_masks(
    predictions: str | Path, references: str | Path, grid: str = "affine", workers: int = 2
) -> list[dict[str, Any]]:
    """``score_case`` of each pair, with its ``case`` and ``spacing`` (x, y, z) in mm.

    Raises ``InputError`` for a folder that cannot be paired, else one that tells of every pair that cannot be scored.
    """
    if grid not in GRIDS:
        raise InputError("grid", " or ".join(GRIDS), grid)
    pairs = pair_masks(predictions, references)

    def score(name: str) -> dict[str, Any] | InputError:
        try:
            found, true = read_pair(*pairs[name], grid)
        except InputError as error:
            return error
        return {"case": name, "spacing": true.spacing, **score_case(found.slices, true.slices, true.spacing)}

    with ThreadPoolExecutor(max(1, workers)) as threads:
        scored = list(tqdm(threads.map(score, pairs), "scoring", len(pairs), unit="case", disable=None))
    errors = [str(case) for case in scored if isinstance(case, InputError)]
    if errors:
        raise InputError(
            predictions,
            f"{len(pairs)} masks that can be scored",
            "\n".join([str(len(errors)) + " that cannot:", *errors]),
        )
    return [case for case in scored if not isinstance(case, InputError)]
