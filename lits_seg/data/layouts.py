"""What is in a folder: pairs of CT and labels, in every layout that LiTS comes in, and masks."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lits_seg.common.errors import InputError

PHANTOM = "phantom.json"  # lies beside synthetic volumes, and tells their settings

_LITS = re.compile(r"(volume|segmentation)-(\w+?)(\.nii(\.gz)?)?")
_MSD_IMAGE = re.compile(r"((?!\.).+?)\.nii(\.gz)?")


@dataclass(frozen=True, order=True)
class Case:
    """One patient: a name, the CT's path (a file, or a folder with a DICOM series), and the labels' path."""

    name: str
    image: Path
    label: Path


def find_cases(root: str | Path, unpaired: list[InputError] | None = None) -> list[Case]:
    """All pairs below ``root``, in the order of their numbers.

    Reads LiTS (``volume-N.nii[.gz]``, or a folder ``volume-N/`` with a DICOM series, with
    ``segmentation-N.nii[.gz]``; in one folder or spread over the split folders of mirrors) and MSD Task03_Liver
    (``imagesTr/NAME.nii.gz`` with ``labelsTr/NAME.nii.gz``).

    Raises ``InputError`` for a missing or empty folder, a name twice, or a file without its counterpart; the last
    is added to ``unpaired``, where a list is given, and the other cases are found.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(root, "a folder with CT volumes (data.root or references)", "no such folder")
    if (root / "imagesTr").is_dir():
        images = _by_name((root / "imagesTr").iterdir(), _MSD_IMAGE, group=1)
        labels_folder = root / "labelsTr"
        labels = _by_name(labels_folder.iterdir() if labels_folder.is_dir() else (), _MSD_IMAGE, group=1)
    else:
        images = _by_name(filter(_is_volume, root.rglob("volume-*")), _LITS, group=2)
        labels = _by_name(filter(Path.is_file, root.rglob("segmentation-*.nii*")), _LITS, group=2)
    for name in sorted(images.keys() ^ labels.keys(), key=natural):
        present, missing = (images, "segmentation") if name in images else (labels, "volume")
        error = InputError(present[name], f"a {missing} of the same name beside it", "none")
        if unpaired is None:
            raise error
        unpaired.append(error)
    if not images.keys() | labels.keys():
        raise InputError(
            root,
            "volume-N.nii[.gz] with segmentation-N.nii[.gz] (LiTS), or imagesTr/ with labelsTr/ (MSD)",
            f"{sum(1 for _ in root.iterdir())} entries, none of them such a pair",
        )
    names = sorted(images.keys() & labels.keys(), key=natural)
    return [Case(name, images[name], labels[name]) for name in names]


def find_masks(folder: str | Path) -> dict[str, Path]:
    """The masks in a folder by file name without ending, or a single file's.

    ``segmentation-*`` (LiTS) anywhere below the folder where there are such, else those in ``labelsTr/`` (MSD), else
    every NIfTI file in the folder itself.

    Raises ``InputError`` where there is none, or a name twice.
    """
    folder = Path(folder)
    if folder.is_file():
        return {stem(folder): folder}
    if not folder.is_dir():
        raise InputError(folder, "a folder with masks (.nii, .nii.gz)", "no such file or folder")
    paths = [path for path in folder.rglob("segmentation-*") if _is_mask(path)]
    if not paths:
        labels = folder / "labelsTr"
        paths = [path for path in (labels if labels.is_dir() else folder).iterdir() if _is_mask(path)]
    found: dict[str, Path] = {}
    for path in sorted(paths):
        if stem(path) in found:
            raise InputError(path, "each mask once", f"it is also {found[stem(path)]}")
        found[stem(path)] = path
    if not found:
        raise InputError(folder, "a folder with masks (.nii, .nii.gz)", "none")
    return found


def _is_volume(path: Path) -> bool:
    if path.is_file():
        return path.name.endswith((".nii", ".nii.gz"))
    # A folder of the mirrors that merely begins so (volume_pt1 has no hyphen) holds volumes, not a series.
    return not any(path.glob("*.nii*"))


def _by_name(paths: Iterable[Path], pattern: re.Pattern, group: int) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(paths):
        match = pattern.fullmatch(path.name)
        if not match:
            continue
        name = match.group(group)
        if name in found:
            raise InputError(path, "each case once", f"it is also {found[name]}")
        found[name] = path
    return found


def is_phantom(root: str | Path) -> bool:
    """Whether a folder's volumes are synthetic ones of ``phantom.write_phantom``."""
    return (Path(root) / PHANTOM).exists()


def is_nifti(path: Path) -> bool:
    """Whether a path is a NIfTI file by its name, and not a hidden one."""
    return path.name.endswith((".nii", ".nii.gz")) and not path.name.startswith(".") and path.is_file()


def stem(path: Path) -> str:
    """A file's name without ``.nii`` or ``.nii.gz``."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def natural(name: str) -> list:
    """A sorting key that counts: ``case-9`` before ``case-10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _is_mask(path: Path) -> bool:
    return is_nifti(path) and not path.name.startswith("volume-")
