"""Predict a CT and write its files: mask and report, and what may fail without them: viewer page and DICOM-SEG."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.common.files import reserve, scratch_folder, write_text
from lits_seg.common.ownership import DICOM_SEG, MASK, OTHER, Kind, json_file, require_free, text_file
from lits_seg.common.tables import json_text
from lits_seg.data.checks import doubt_warnings
from lits_seg.data.crop import Crop
from lits_seg.data.ct import Ct, open_ct
from lits_seg.data.grid import same_place, view_slices
from lits_seg.data.layouts import PROBABILITY
from lits_seg.data.volumes import Volume, read_labels
from lits_seg.inference.ct_report import CtReport, MadeBy, ct_report
from lits_seg.inference.outputs import write_dicom_seg, write_nifti
from lits_seg.inference.segmenter import Segmenter
from lits_seg.inference.viewer import GENERATOR, Pictures, page
from lits_seg.postprocess import Rules

REPORT = json_file("report", "lits_seg", "lesion_count", "mask")
PAGE = text_file("viewer page", GENERATOR, "<title>lits_seg</title>")  # the title of version 0.1.0


def outputs(
    name: str, path: Path, output: Path, probability: bool = False, page: bool = True, seg: bool = True
) -> dict[Path, Kind]:
    """Return the files that predicting a CT writes, and ``name.nii``, which must not be next to the mask.

    Args:
        name: name of the mask.
        path: path of the CT.
        output: folder to write into.
        probability: also write a map of the lesion's probability into ``probability/``.
        page: also write a viewer page with the slices and the mask.
        seg: also write a DICOM-SEG if the CT is a DICOM series.
    """
    kinds = {f"{name}.nii": OTHER, f"{name}.nii.gz": MASK, f"{name}.json": REPORT}
    wanted = {"page": page, "seg": seg and path.is_dir(), "probability": probability}
    kinds |= {file: kind for part, (file, kind) in _optional(name).items() if wanted[part]}
    return {output / file: kind for file, kind in kinds.items()}


def _optional(name: str) -> dict[str, tuple[str, Kind]]:
    return {
        "page": (f"{name}.html", PAGE),
        "seg": (f"{name}.dcm", DICOM_SEG),
        "probability": (f"{PROBABILITY}/{name}.nii.gz", MASK),
    }


@dataclass(frozen=True)
class Prediction:
    """A function that predicts CTs and writes their files.

    Args:
        segmenter: segmenter that predicts the labels.
        rules: rules applied to the mask.
        made_by: code, network and settings, for the report.
        batch_size: slices in a batch.
        probability: also write a map of the lesion's probability into ``probability/``.
        page: also write a viewer page with the slices and the mask.
        seg: also write a DICOM-SEG for a DICOM series.
    """

    segmenter: Segmenter
    rules: Rules
    made_by: MadeBy
    batch_size: int = 4
    probability: bool = False
    page: bool = True
    seg: bool = True

    def __call__(self, name: str, path: Path, output: Path, liver: Path | None = None) -> CtReport:
        """Write ``name.nii.gz``, ``.json``, ``.html`` and, for a DICOM series, ``.dcm``: mask and report, or nothing.

        If the page or the DICOM-SEG cannot be made, the report has a warning with the reason.

        Args:
            name: name of the mask.
            path: path of the CT.
            output: folder to write into.
            liver: path of a liver mask, which replaces the predicted liver and limits the lesions; None: no liver mask.

        Returns:
            The report.

        Raises:
            InputError: if the CT or the liver mask is unusable, or if an output would overwrite a file that was not
                written by a prediction.
        """
        require_free(outputs(name, path, output, self.probability, self.page, self.seg))
        with scratch_folder(output, ".predict-") as work, open_ct(path, work) as ct:
            mask = _OnDisk(work / "mask", ct)
            probability = _OnDisk(work / PROBABILITY, ct, used=self._need_probability)
            given = None if liver is None else _liver(liver, ct)
            crop = _crop(self.made_by.model.preprocess, ct)
            pictures, hu = self._segment(name, ct, mask, probability, given, crop)
            labels = mask.slices()
            known = liver is not None or self.segmenter.finds_liver
            # A given liver stays as it is.
            rules = self.rules if given is None else replace(self.rules, largest_liver=False, fill_liver=False)
            rules(labels, probability.slices(), ct.spacing, ct.voxel_ml, known, ct.slices)
            report = ct_report(ct, labels, hu, known, f"{name}.nii.gz", self.made_by)
            if liver is not None and given is not None:
                report.warnings.extend(doubt_warnings(liver, given))
            if crop is not None:
                report.warnings.extend(crop.warnings(path, (0, 0) if given is None else crop.count(given.slices > 0)))
            with _all_or_none(name, output, work / "done") as done, ThreadPoolExecutor(1) as beside:
                written = beside.submit(write_nifti, done / f"{name}.nii.gz", mask.array(), ct)
                if self.probability:
                    (done / PROBABILITY).mkdir()
                    write_nifti(done / PROBABILITY / f"{name}.nii.gz", probability.array(), ct, slope=1 / 255)
                if ct.series and self.seg:
                    with _by_product("DICOM-SEG", done / f"{name}.dcm", report.warnings) as file:
                        report.warnings.extend(write_dicom_seg(file, mask.array(), ct))
                if self.page:  # after the DICOM-SEG, whose warnings the page shows
                    with _by_product("viewer page", done / f"{name}.html", report.warnings) as file:
                        write_text(file, page(name, report, pictures, labels, ct))
                written.result()
                write_text(done / f"{name}.json", json_text(report.plain()))
        return report

    @property
    def _need_probability(self) -> bool:
        return self.probability or self.rules.need_probability

    def _segment(
        self, name: str, ct: Ct, mask: "_OnDisk", probability: "_OnDisk", liver: Volume | None, crop: Crop | None
    ) -> tuple[Pictures, tuple[float, float]]:
        """Fill ``mask`` and ``probability``; return pictures of the slices, and the lowest and highest HU."""
        inside = None if liver is None else liver.slices
        pictures, lowest, highest = Pictures(), np.inf, -np.inf
        with tqdm(total=len(ct), desc=name, unit="slice", disable=None) as bar:
            for start, hu, found, lesion in self.segmenter.segment(ct, self.batch_size):
                block = slice(start, start + len(hu))
                if inside is not None:
                    found = np.where(inside[block] >= 1, np.maximum(found, 1), 0)
                mask.slices()[block] = found
                if self._need_probability:
                    probability.slices()[block] = lesion
                if crop is not None:
                    crop.add(hu)
                lowest, highest = min(lowest, float(hu.min())), max(highest, float(hu.max()))
                if self.page:
                    pictures.add(hu)
                bar.update(len(hu))
        if lowest >= 0 and highest <= 255:
            values = f"values from {lowest:g} to {highest:g}, as in an 8-bit image"
            raise InputError(ct.path, "a CT in HU (air is near -1000)", values)
        return pictures, (lowest, highest)


def _liver(path: Path, ct: Ct) -> Volume:
    liver = read_labels(path)
    if not same_place(ct, liver):
        raise InputError(path, f"the grid of {ct.path} ({ct})", liver)
    return liver


def _crop(preprocess: Mapping[str, Any], ct: Ct) -> Crop | None:
    """Return a count of what the images show; None if they show whole slices."""
    spacing = preprocess.get("spacing")
    return None if spacing is None else Crop(preprocess["size"], spacing, ct.pixel_mm)


class _OnDisk:
    """A file with one byte per voxel of a CT. Each access makes a new memory map, which frees its memory after use.

    Args:
        path: the file to create.
        ct: the CT.
        used: whether voxels will be written.
    """

    def __init__(self, path: Path, ct: Ct, used: bool = True) -> None:
        self.path, self.shape, self.affine = path, ct.shape, ct.affine
        with path.open("wb") as file:
            file.truncate(int(np.prod(ct.shape)))
        if used:
            reserve(path)

    def array(self) -> np.ndarray:
        """Map the voxels ``(X, Y, Z)`` in the order of the CT's file."""
        return np.memmap(self.path, np.uint8, "r+", shape=self.shape, order="F")

    def slices(self) -> np.ndarray:
        """Map the voxels as writable axial slices ``(S, H, W)``."""
        return view_slices(self.array(), self.affine)


@contextmanager
def _by_product(noun: str, file: Path, warnings: list[str]) -> Iterator[Path]:
    """Yield a file to write; if the block fails, delete the file and append the reason to the warnings.

    Args:
        noun: what the warning calls the file.
        file: the file.
        warnings: warnings of the report.
    """
    try:
        yield file
    except OSError:
        raise  # a full disk, which mask and report need, too
    except Exception as error:  # whatever the reason, which the warning contains, mask and report are complete
        file.unlink(missing_ok=True)
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        warnings.append(f"{file.name}: no {noun} was written: {' '.join(reason.split())}")


@contextmanager
def _all_or_none(name: str, output: Path, done: Path) -> Iterator[Path]:
    """Yield a folder for new files; on exit without error, move them to ``output``, replacing an earlier prediction.

    Args:
        name: name of the mask.
        output: folder of the predictions.
        done: the folder to create and yield.
    """
    done.mkdir()
    yield done
    # Files of the earlier mask would not match the new mask.
    for file, kind in _optional(name).values():
        earlier = output / file
        if not (done / file).exists() and earlier.is_file() and kind.wrote(earlier):
            earlier.unlink()
    for path in sorted(path for path in done.rglob("*") if path.is_file()):
        target = output / path.relative_to(done)
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
