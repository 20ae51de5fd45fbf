"""Discover the files in a folder: pairs of CT and labels in every layout of LiTS, masks, and CTs to predict."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.common.ownership import is_marked

PHANTOM = "phantom.json"  # settings of the generator, in the folder of synthetic volumes

# File names of LiTS without .nii or .nii.gz. Test volumes of the challenge start with test-.
_LITS = re.compile(r"(?P<test>test-)?(?P<kind>volume|segmentation)-(?P<number>\w+)")


@dataclass(frozen=True, order=True)
class Case:
    """A patient's files: ``image`` is the CT (a file, or a folder with a DICOM series), ``label`` its labels."""

    name: str
    image: Path
    label: Path


def find_cases(root: str | Path, unpaired: list[InputError] | None = None) -> list[Case]:
    """Find all pairs of CT and labels below a folder, in the order of their numbers.

    Two layouts are supported:

    - LiTS: ``volume-N.nii[.gz]``, or a folder ``volume-N/`` with a DICOM series, with ``segmentation-N.nii[.gz]``, in
      one folder or distributed over the subfolders of mirrors;
    - MSD Task03_Liver: ``imagesTr/NAME.nii.gz`` with ``labelsTr/NAME.nii.gz``.

    Args:
        root: the folder.
        unpaired: list to which an error is added for each file without its counterpart; None: raise the first error.

    Raises:
        InputError: if the folder is missing or has no pair, or if two files have the same name.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(root, "a folder with CT volumes (data.root or references)", "no such folder")
    if (root / "imagesTr").is_dir():
        images = _by_name(filter(_has_nifti_name, (root / "imagesTr").iterdir()), stem)
        labels_folder = root / "labelsTr"
        labels = _by_name(filter(_has_nifti_name, labels_folder.iterdir() if labels_folder.is_dir() else ()), stem)
    else:
        images = _by_name(filter(_is_volume, root.rglob("volume-*")), _lits_number)
        labels = _by_name(filter(Path.is_file, root.rglob("segmentation-*.nii*")), _lits_number)
    for name in sorted(images.keys() ^ labels.keys(), key=natural):
        present, missing = (images, "segmentation") if name in images else (labels, "volume")
        error = InputError(present[name], f"a {missing} of the same name", "none")
        if unpaired is None:
            raise error
        unpaired.append(error)
    if not images.keys() | labels.keys():
        raise InputError(
            root,
            "volume-N.nii[.gz] with segmentation-N.nii[.gz] (LiTS), or imagesTr/ with labelsTr/ (MSD)",
            f"{sum(1 for _ in root.iterdir())} entries without such a pair",
        )
    names = sorted(images.keys() & labels.keys(), key=natural)
    return [Case(name, images[name], labels[name]) for name in names]


def find_masks(folder: str | Path, references: bool = False) -> dict[str, Path]:
    """Find the masks in a folder, or a single mask file.

    The first kind that is present is used: ``segmentation-*`` (LiTS) at any depth, NIfTI files in ``labelsTr/`` (MSD),
    NIfTI files in the folder itself. The maps that ``predict`` writes into ``probability/`` are not masks.

    Args:
        folder: the folder or file.
        references: of several masks of the same name, ignore those that lits_seg wrote.

    Returns:
        Paths by file name without extension.

    Raises:
        InputError: if there is no mask, or if two masks have the same name.
    """
    folder = Path(folder)
    if folder.is_file():
        return {stem(folder): folder}
    if not folder.is_dir():
        raise InputError(folder, "a folder with masks (.nii, .nii.gz)", "no such file or folder")
    paths = [path for path in folder.rglob("segmentation-*") if _is_mask(path) and not _is_by_product(path, folder)]
    if not paths:
        labels = folder / "labelsTr"
        paths = [path for path in (labels if labels.is_dir() else folder).iterdir() if _is_mask(path)]
    found: dict[str, Path] = {}
    for path in sorted(paths):
        if references and stem(path) in found and is_marked(path):
            continue
        if stem(path) in found and not (references and is_marked(found[stem(path)])):
            raise InputError(path, "masks with different names", f"the same name as {found[stem(path)]}")
        found[stem(path)] = path
    if not found:
        raise InputError(folder, "a folder with masks (.nii, .nii.gz)", "none")
    return found


def find_cts(path: str | Path, clashes: list[InputError] | None = None) -> dict[str, Path]:
    """Find the CT in a file, or all CTs in a folder.

    If the folder has ``imagesTr/`` (MSD), its files are the CTs. Otherwise the CTs are:

    - ``volume-*`` (LiTS) at any depth;
    - all other NIfTI files in the folder, except ``segmentation-*``;
    - a DICOM series in the folder, and each subfolder with a DICOM series.

    Masks that lits_seg wrote into the folder are not CTs.

    Args:
        path: the file or folder.
        clashes: list to which an error is added for each CT with the mask name of an earlier one; None: raise the first
            error.

    Returns:
        Paths by the name of the mask to write: ``volume-N`` becomes ``segmentation-N``, other names are kept.

    Raises:
        InputError: if there is no CT, or if two CTs have the same mask name.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "a CT (.nii, .nii.gz, a DICOM folder) or a folder with CTs", "no such file or folder")
    found: dict[str, Path] = {}
    for ct in [path] if path.is_file() else sorted(_cts(path)):
        name = ct.name if ct.is_dir() else stem(ct)
        lits = _LITS.fullmatch(name)
        if lits and lits["kind"] == "volume":
            name = f"{lits['test'] or ''}segmentation-{lits['number']}"
        if name in found:
            error = InputError(ct, "CTs with different mask names", f"{name}, the mask of {found[name]}, too")
            if clashes is None:
                raise error
            clashes.append(error)
            continue
        found[name] = ct
    if not found:
        raise InputError(path, "a folder with CTs (.nii, .nii.gz, DICOM)", "none")
    return found


def _cts(folder: Path) -> set[Path]:
    if (folder / "imagesTr").is_dir():
        return {path for path in (folder / "imagesTr").iterdir() if is_nifti(path) and not is_marked(path)}
    named = {path for path in folder.rglob("*volume-*") if path.name.startswith(("volume-", "test-volume-"))}
    inside = {path for path in folder.iterdir() if path.is_dir() or not path.name.startswith("segmentation-")}
    cts = {path for path in {folder, *named, *inside} if is_nifti(path) or (path.is_dir() and _has_dicom(path))}
    return {path for path in cts if path.is_dir() or not is_marked(path)}


def _has_dicom(folder: Path) -> bool:
    files = (path for path in folder.iterdir() if path.is_file() and path.name != "DICOMDIR")
    return any(is_dicom(path) and not is_marked(path) for path in files)


def _is_volume(path: Path) -> bool:
    if path.is_file():
        return path.name.endswith((".nii", ".nii.gz"))
    # Some mirrors have folders with a similar name, which hold volumes, not a DICOM series.
    return not any(path.glob("*.nii*"))


def _lits_number(path: Path) -> str | None:
    match = _LITS.fullmatch(stem(path))
    return match["number"] if match else None


def _by_name(paths: Iterable[Path], name_of: Callable[[Path], str | None]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(paths):
        name = name_of(path)
        if name is None:
            continue
        if name in found and is_marked(path):
            continue  # a mask that predict wrote into the folder of the data set
        if name in found and not is_marked(found[name]):
            raise InputError(path, "cases with different names", f"the same name as {found[name]}")
        found[name] = path
    return found


def is_phantom(root: str | Path) -> bool:
    """Return whether a folder's volumes are synthetic, written by ``phantom.write_phantom``."""
    return (Path(root) / PHANTOM).exists()


def is_nifti(path: Path) -> bool:
    """Return whether a path is a file with a NIfTI name and is not hidden."""
    return _has_nifti_name(path) and path.is_file()


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, by its extension or its preamble."""
    with path.open("rb") as file:
        return path.suffix.lower() in (".dcm", ".ima") or file.read(132)[128:] == b"DICM"


def stem(path: Path) -> str:
    """Return a path's name without ``.nii`` or ``.nii.gz``."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sorting key that compares numbers by value: ``case-9`` precedes ``case-10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _has_nifti_name(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz")) and not path.name.startswith(".")


def _is_mask(path: Path) -> bool:
    return is_nifti(path) and not path.name.startswith("volume-")


def _is_by_product(path: Path, folder: Path) -> bool:
    """Return whether a file below a folder is a probability map of ``predict``, or in a hidden folder (unfinished)."""
    between = path.relative_to(folder).parts[:-1]
    return any(part.startswith(".") for part in between) or ("probability" in between and is_marked(path))
