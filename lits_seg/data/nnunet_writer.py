"""Write a data set as a raw data set of nnU-Net (version 2) with our folds; ``nnunet`` has the layout."""

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip
from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.common.files import scratch_folder, short_hash, write_text
from lits_seg.common.ownership import json_file, require_free
from lits_seg.data.dicom import read_series
from lits_seg.data.grid import from_slices
from lits_seg.data.layouts import PHANTOM, Case, find_cases, is_phantom
from lits_seg.data.nifti import count_axes, is_gzip, open_nifti
from lits_seg.data.nnunet import CHANNEL, DESCRIPTION, LABELS, OURS, SPLITS, label_values
from lits_seg.data.splits import Split
from lits_seg.data.stored_case import StoredCase
from lits_seg.data.volumes import read_case

ENDING = ".nii.gz"
_NAME = re.compile(r"Dataset\d{3}_[\w-]+")
_OURS = json_file("data set", "converted_by", "fingerprints")
_UNUSED = "an unused name for the data set (nnunet=…)"


@dataclass(frozen=True)
class Part:
    """A part of the data set: the folder of its volumes, its usable cases, and the ending of nnU-Net's folders."""

    root: Path
    cases: Sequence[StoredCase]
    ending: str = "Tr"

    def files(self, folder: Path) -> dict[str, tuple[Path, Path]]:
        """Return the files of CT and labels to write into a folder, by the patients' names."""
        images, labels = folder / f"images{self.ending}", folder / f"labels{self.ending}"
        names = [case.name for case in self.cases]
        return {name: (images / f"{name}{CHANNEL}{ENDING}", labels / f"{name}{ENDING}") for name in names}


def require_place(folder: Path) -> None:
    """Require a name by which nnU-Net finds a data set, and a folder without files of other origin.

    Raises:
        InputError: if the name is another, or the folder has such files.
    """
    if not _NAME.fullmatch(folder.name):
        raise InputError("nnunet", "a folder DatasetNNN_NAME, such as nnUNet_raw/Dataset003_LiTS", folder)
    if _is_used(folder):
        require_free({folder / DESCRIPTION: _OURS})
        if not os.path.isfile(folder / DESCRIPTION):
            raise InputError(folder, _UNUSED, "other files")


def write_data_set(folder: Path, parts: Sequence[Part], splits: Sequence[Split]) -> None:
    """Write a data set, completely or not at all; nothing is written if the folder has the same data set already.

    Compressed files are hard links, or copies if links are impossible. All other files are compressed, and a DICOM
    series is converted. Labels are written anew if their grid or their values differ from those that nnU-Net expects.

    Args:
        folder: the folder to write.
        parts: patients for training (``Tr``), and, if there are any, for the test (``Ts``).
        splits: the split of each fold. nnU-Net trains on all but the test patients, since it needs no others to choose
            a checkpoint, and validates on the test patients.

    Raises:
        InputError: if the folder has other files, or a file has become unreadable.
    """
    description = {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": len(parts[0].cases),
        "file_ending": ENDING,
        "overwrite_image_reader_writer": "NibabelIOWithReorient",  # volumes may have any order and direction of axes
        "converted_by": "lits_seg",
        "fingerprints": [
            {case.name: short_hash(str(case.fingerprint).encode()) for case in part.cases} for part in parts
        ],
    }
    folds = [_fold(split) for split in splits]
    texts = {DESCRIPTION: json.dumps(description, indent=2), **({SPLITS: json.dumps(folds, indent=2)} if folds else {})}
    if _is_used(folder):
        _require_same(folder, parts, texts)
        return
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder.parent, ".nnunet-") as scratch:
        whole = scratch / folder.name
        for part in parts:
            _write_part(part, whole)
        for name, text in texts.items():
            write_text(whole / name, text)
        whole.rename(folder)


def _fold(split: Split) -> dict[str, list[str]]:
    test = [case.name for case in split["test"]]
    rest = [case.name for part in ("train", "val") for case in split[part]]
    return {"train": [name for name in rest if name not in test], "val": test}


def _require_same(folder: Path, parts: Sequence[Part], texts: dict[str, str]) -> None:
    written = {path for part in parts for pair in part.files(folder).values() for path in pair}
    written |= {folder / name for name in texts}
    same = all(map(os.path.isfile, written)) and all(
        (folder / name).read_bytes() == texts[name].encode() for name in texts
    )
    if not same or (SPLITS not in texts and os.path.lexists(folder / SPLITS)):
        raise InputError(folder, f"{_UNUSED}, or this data set with these folds", "other patients, folds or files")


def _is_used(folder: Path) -> bool:
    return os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))


def _write_part(part: Part, whole: Path) -> None:
    found = {case.name: case for case in find_cases(part.root, unpaired=[])}
    for name, (image, label) in tqdm(part.files(whole).items(), "writing for nnU-Net", unit="case", disable=None):
        image.parent.mkdir(parents=True, exist_ok=True)
        label.parent.mkdir(parents=True, exist_ok=True)
        _write_case(found[name], image, label)
    if is_phantom(part.root):  # scores of its masks are marked as synthetic
        shutil.copy(part.root / PHANTOM, whole if part.ending == "Tr" else whole / f"labels{part.ending}")


def _write_case(case: Case, image: Path, label: Path) -> None:
    if os.path.isdir(case.image):
        array, affine, _ = read_series(case.image)
        series = nib.Nifti1Image(array, affine)
        series.header.set_xyzt_units("mm")
        _save(series, image)
    else:
        _add(case.image, image)
    if label_values(case.label) == OURS and _same_grid(image, case.label):
        _add(case.label, label)
        return
    ct, labels = read_case(case)
    with open_nifti(image) as written:
        header, kind = written.header.copy(), type(written)
    header.set_data_dtype(np.uint8)
    header.extensions.clear()  # extensions describe the CT and may identify the patient
    header["cal_min"] = header["cal_max"] = 0
    mask = kind(from_slices(labels.slices, ct.affine), None, header)
    mask.header.set_slope_inter(1, 0)
    _save(mask, label)


def _same_grid(image: Path, label: Path) -> bool:
    """Return whether nnU-Net accepts the grids of two files as equal, by affine and ``pixdim``."""
    with open_nifti(image) as one, open_nifti(label) as other:
        zooms = np.allclose(one.header.get_zooms(), other.header.get_zooms())
        return one.shape == other.shape and np.allclose(one.affine, other.affine) and zooms


def _add(source: Path, target: Path) -> None:
    if count_axes(source) > 3:  # nnU-Net reads three only
        with open_nifti(source) as image:
            copy = type(image)(image.dataobj.get_unscaled(), image.affine, image.header)
            copy.header.set_slope_inter(image.dataobj.slope, image.dataobj.inter)
            _save(copy, target)
        return
    if not is_gzip(source):
        with source.open("rb") as plain, igzip.open(target, "wb") as packed:
            shutil.copyfileobj(plain, packed, 2**22)
        return
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, a file of somebody else, a file system without links; a full disk fails here, too
        shutil.copyfile(source, target)


def _save(image: nib.Nifti1Image, path: Path) -> None:
    with igzip.open(path, "wb") as file:
        image.to_stream(file)
