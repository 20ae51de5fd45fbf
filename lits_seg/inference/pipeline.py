"""Predict a CT and write its files: mask, report, viewer page, and a probability map if requested."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.common.tables import json_text
from lits_seg.data.checks import doubt_warnings
from lits_seg.data.ct import Ct, open_ct
from lits_seg.data.grid import same_place, view_slices
from lits_seg.data.layouts import PROBABILITY
from lits_seg.data.volumes import Volume, read_labels
from lits_seg.inference.ct_report import CtReport, MadeBy, ct_report
from lits_seg.inference.outputs import write_dicom_seg, write_nifti
from lits_seg.inference.rules import Rules
from lits_seg.inference.segmenter import Segmenter
from lits_seg.inference.viewer import Pictures, page


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
    """

    segmenter: Segmenter
    rules: Rules
    made_by: MadeBy
    batch_size: int = 4
    probability: bool = False
    page: bool = True

    def __call__(self, name: str, path: Path, output: Path, liver: Path | None = None) -> CtReport:
        """Write ``name.nii.gz``, ``.json``, ``.html`` and, for a DICOM series, ``.dcm``: all files or none.

        Args:
            name: name of the mask.
            path: path of the CT.
            output: folder to write into.
            liver: path of a liver mask, which replaces the predicted liver and limits the lesions; None: no liver mask.

        Returns:
            The report.

        Raises:
            InputError: if the CT or the liver mask is unusable, or if the mask would overwrite a file that was not
                written by a prediction.
        """
        mask_path = output / f"{name}.nii.gz"
        if mask_path.exists() and not (output / f"{name}.json").exists():
            expected = "an unused name for the mask (output=…)"
            raise InputError(mask_path, expected, "a file that was not written by predict")
        with tempfile.TemporaryDirectory(prefix=".predict-", dir=output) as scratch, open_ct(path, scratch) as ct:
            work = Path(scratch)
            mask, probability = (_OnDisk(work / part, ct) for part in ("mask", PROBABILITY))
            given = None if liver is None else _liver(liver, ct)
            pictures, hu = self._segment(name, ct, mask, probability, given)
            labels = mask.slices()
            self.rules(labels, ct.voxel_ml)
            known = liver is not None or self.segmenter.classes == 3
            report = ct_report(ct, labels, hu, known, mask_path.name, self.made_by)
            if liver is not None and given is not None:
                report.warnings.extend(doubt_warnings(liver, given))
            with _all_or_none(name, output, work / "done") as done:
                (done / f"{name}.json").write_text(json_text(report.plain()))
                write_nifti(done / f"{name}.nii.gz", mask.array(), ct)
                if ct.series:
                    write_dicom_seg(done / f"{name}.dcm", mask.array(), ct)
                if self.page:
                    (done / f"{name}.html").write_text(page(name, report, pictures, labels, ct))
                if self.probability:
                    (done / PROBABILITY).mkdir()
                    write_nifti(done / PROBABILITY / f"{name}.nii.gz", probability.array(), ct, slope=1 / 255)
        return report

    def _segment(
        self, name: str, ct: Ct, mask: "_OnDisk", probability: "_OnDisk", liver: Volume | None
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
                if self.probability:
                    probability.slices()[block] = lesion
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


class _OnDisk:
    """A file with one byte per voxel of a CT. Each access makes a new memory map, which frees its memory after use."""

    def __init__(self, path: Path, ct: Ct) -> None:
        self.path, self.shape, self.affine = path, ct.shape, ct.affine
        with path.open("wb") as file:
            file.truncate(int(np.prod(ct.shape)))

    def array(self) -> np.ndarray:
        """Map the voxels ``(X, Y, Z)`` in the order of the CT's file."""
        return np.memmap(self.path, np.uint8, "r+", shape=self.shape, order="F")

    def slices(self) -> np.ndarray:
        """Map the voxels as writable axial slices ``(S, H, W)``."""
        return view_slices(self.array(), self.affine)


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
    for earlier in (f"{name}.html", f"{name}.dcm", f"{PROBABILITY}/{name}.nii.gz"):
        if (output / f"{name}.json").exists() and not (done / earlier).exists():
            (output / earlier).unlink(missing_ok=True)  # a file of the earlier mask would not match the new mask
    for file in sorted(path for path in done.rglob("*") if path.is_file()):
        target = output / file.relative_to(done)
        target.parent.mkdir(exist_ok=True)
        file.replace(target)
