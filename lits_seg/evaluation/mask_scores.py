"""Pair two folders of masks by file name, match the grids of each pair, and score the pairs."""

import logging
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lits_seg.cli import as_input_error
from lits_seg.common.errors import InputError
from lits_seg.data.burden import Burden, burden, swapped
from lits_seg.data.file_names import natural, patient_name, stem
from lits_seg.data.grid import from_slices, same_place, to_slices
from lits_seg.data.layouts import PROBABILITY, find_maps, find_masks
from lits_seg.data.nifti import open_nifti
from lits_seg.data.volumes import Volume, read_labels
from lits_seg.metrics.case import score_case
from lits_seg.metrics.scores import CaseScores

log = logging.getLogger(__name__)

GRIDS = ("affine", "voxels")


def pair_masks(
    predictions: str | Path, references: str | Path, patients: Collection[str] | None = None
) -> dict[str, tuple[Path, Path]]:
    """Pair masks by their patients, whom the file names name: ``5.nii.gz`` and ``segmentation-5.nii`` are a pair.

    Args:
        predictions: a folder of masks, or a single file.
        references: a folder of masks, or a single file. Two single files are a pair even if their names differ.
        patients: names of the patients to score; None: everybody.

    Returns:
        Paths of prediction and reference by the reference's name, in natural order of the names.

    Raises:
        InputError: if references lack a prediction or predictions lack a reference. The message names all of them.
    """
    found, expected = find_masks(predictions), find_masks(references, references=True)
    if Path(predictions).is_file() and Path(references).is_file():
        return {stem(Path(references)): (Path(predictions), Path(references))}
    if patients is not None:
        lacking = sorted(set(patients) - set(map(patient_name, expected)), key=natural)
        if lacking:
            raise InputError(references, "a mask of each patient of split", f"none for {', '.join(lacking)}")
        found, expected = (
            {name: path for name, path in masks.items() if patient_name(name) in patients}
            for masks in (found, expected)
        )
    by_patient = {patient_name(name): path for name, path in found.items()}
    wanted = set(map(patient_name, expected))
    missing = sorted(name for name in expected if patient_name(name) not in by_patient)
    extra = sorted(name for name in found if patient_name(name) not in wanted)
    problems = []
    if missing:
        problems.append(f"none for {', '.join(missing)}")
    if extra:
        problems.append(f"too many: {', '.join(extra)}")
    if problems:
        raise InputError(predictions, f"one mask for each in {references}, by file name", "; ".join(problems))
    return {name: (by_patient[patient_name(name)], expected[name]) for name in sorted(expected, key=natural)}


def read_pair(prediction: Path, reference: Path, grid: str = "affine") -> tuple[Volume, Volume]:
    """Read both masks as slices on the reference's grid, without resampling.

    Args:
        prediction: path of the mask to score.
        reference: path of the mask to score against.
        grid: how voxels correspond. ``affine``: by both headers; axes in another order or direction are reordered.
            ``voxels``: as stored, ignoring the prediction's header, as the LiTS challenge does.

    Raises:
        InputError: if the grids differ.
    """
    true = read_labels(reference)
    return _on_grid(read_labels(prediction), prediction, true, reference, grid), true


def read_probability(prediction: Path, true: Volume, reference: Path, grid: str = "affine") -> np.ndarray | None:
    """Read the probability map that ``predict probability=true`` writes for a mask, on the reference's grid.

    Args:
        prediction: path of the mask. The map is ``probability/NAME.nii[.gz]`` in the mask's folder.
        true: the reference mask.
        reference: path of the reference mask.
        grid: as for ``read_pair``.

    Returns:
        The lesion's probability scaled to 0…255, ``(S, H, W)`` uint8; None if there is no map.

    Raises:
        InputError: if the grids differ, or if a value is outside [0, 1].
    """
    path = find_maps(prediction.parent / PROBABILITY).get(stem(prediction))
    if path is None:
        return None
    with open_nifti(path) as image:
        stored, slope, offset = image.dataobj.get_unscaled(), image.dataobj.slope, image.dataobj.inter
    volume = Volume(image.affine, stored.shape, to_slices(stored, image.affine))
    slices = _on_grid(volume, path, true, reference, grid).slices
    lowest, highest = sorted(slope * float(end) + offset for end in (slices.min(), slices.max()))
    if not (lowest >= 0 and highest <= 1 + 1e-6):  # 255 times 1/255 in 32 bits; NaN is neither
        raise InputError(path, "probabilities from 0 to 1", f"values from {lowest:g} to {highest:g}")
    # Scaled slice by slice, to save memory.
    return np.stack([np.rint(255 * (slope * part + offset)).astype(np.uint8) for part in slices])


def _on_grid(found: Volume, path: Path, true: Volume, reference: Path, grid: str) -> Volume:
    if grid == "voxels" and found.shape == true.shape:
        stored = from_slices(found.slices, found.affine)
        found = Volume(true.affine, true.shape, to_slices(stored, true.affine))
    if found.slices.shape != true.slices.shape or not same_place(found, true):
        hint = "; grid=voxels compares them as stored" if found.shape == true.shape else ""
        raise InputError(path, f"the grid of {reference} ({true})", f"{found}{hint}")
    return found


def score_masks(
    predictions: str | Path,
    references: str | Path,
    grid: str = "affine",
    workers: int = 2,
    unscored: list[str] | None = None,
    maps: bool = False,
    patients: Collection[str] | None = None,
) -> list[CaseScores]:
    """Score each mask against its reference.

    Args:
        predictions: as for ``pair_masks``.
        references: as for ``pair_masks``.
        grid: as for ``read_pair``.
        workers: number of masks scored at the same time.
        unscored: list to which the error of each mask that cannot be scored is added; None: raise an error.
        maps: also compute the FROC of the masks that have probability maps, see ``read_probability``.
        patients: as for ``pair_masks``.

    Raises:
        InputError: if the folders cannot be paired, or if no mask can be scored. The message names all of them.
    """
    if grid not in GRIDS:
        raise InputError("grid", " or ".join(GRIDS), grid)
    pairs = pair_masks(predictions, references, patients)
    burdens: list[Burden] = []

    def score(name: str) -> CaseScores | InputError:
        try:
            found, true = read_pair(*pairs[name], grid)
            burdens.append(burden(true.slices))
            probability = read_probability(pairs[name][0], true, pairs[name][1], grid) if maps else None
            return score_case(found.slices, true.slices, true.spacing, name, true.voxel_ml, probability)
        except Exception as error:  # whatever is wrong with one mask, the others are scored
            return as_input_error(pairs[name][0], error)

    with ThreadPoolExecutor(max(1, workers)) as threads:
        scored = list(tqdm(threads.map(score, pairs), "scoring", len(pairs), unit="case", disable=None))
    for warning in swapped(burdens):
        log.warning("%s: %s", references, warning)
    errors = [str(case) for case in scored if isinstance(case, InputError)]
    if errors and (unscored is None or len(errors) == len(pairs)):
        found = "\n".join([f"{len(errors)} that cannot be scored:", *errors])
        raise InputError(predictions, f"{len(pairs)} masks that can be scored", found)
    if unscored is not None:
        unscored.extend(errors)
    return [case for case in scored if not isinstance(case, InputError)]
