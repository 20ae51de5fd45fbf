"""Discover the files in a folder: pairs of CT and labels in every layout of LiTS, masks, and CTs to predict."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.common.ownership import is_marked
from lits_seg.data import nnunet
from lits_seg.data.dicom import holds_images
from lits_seg.data.file_names import (
    CT_NAMES,
    SEGMENTATION,
    TEST_NAMES,
    VOLUME,
    has_nifti_name,
    lits_patient,
    mask_name,
    natural,
    patient_name,
    stem,
    with_hash,
)
from lits_seg.data.walk import below, entries, missing, same_file

PHANTOM = "phantom.json"  # settings of the generator, in the folder of synthetic volumes
PROBABILITY = "probability"  # folder of probability maps in the folder of the masks


@dataclass(frozen=True, order=True)
class Case:
    """A patient's files: ``image`` is the CT (a file, or a folder with a DICOM series), ``label`` its labels."""

    name: str
    image: Path
    label: Path


def find_cases(root: str | Path, unpaired: list[InputError] | None = None) -> list[Case]:
    """Find all pairs of CT and labels below a folder, in the order of their numbers.

    Three layouts are supported:

    - LiTS: ``volume-N.nii[.gz]``, or a folder ``volume-N/`` with a DICOM series, with ``segmentation-N.nii[.gz]``, in
      one folder or distributed over the subfolders of mirrors; N is any name;
    - MSD Task03_Liver: ``imagesTr/NAME.nii.gz`` with ``labelsTr/NAME.nii.gz``;
    - nnU-Net: ``imagesTr/NAME_0000.nii.gz`` with ``labelsTr/NAME.nii.gz`` and ``dataset.json``.

    Args:
        root: the folder.
        unpaired: list to which an error is added for each file without its counterpart; None: raise the first error.

    Raises:
        InputError: if the folder is missing or has no pair, or if two files show the same patient.
    """
    root = Path(root)
    if not os.path.isdir(root):
        raise InputError(root, "a folder with CT volumes (data.root or references)", missing(root, "folder"))
    errors = []
    if os.path.isdir(root / "imagesTr"):
        images = _by_name(
            filter(has_nifti_name, entries(root / "imagesTr")), lambda path: nnunet.case_name(path, stem(path))
        )
        labels_folder = root / "labelsTr"
        labels_in = entries(labels_folder) if os.path.isdir(labels_folder) else []
        labels = _by_name(filter(has_nifti_name, labels_in), stem)
        nnunet.require_description(root, images, labels)
    else:
        paths, lost = below(root)
        images = _by_name(filter(_is_volume, paths), lits_patient)
        labels = _by_name(filter(_is_segmentation, paths), lits_patient)
        read = {*images.values(), *labels.values()}  # reading a pair reports its broken links
        errors = [error for path, error in lost.items() if path not in read and not path.name.startswith(TEST_NAMES)]
    for name in sorted(images.keys() ^ labels.keys(), key=natural):
        present, lacking = (images, "segmentation") if name in images else (labels, "volume")
        errors.append(InputError(present[name], f"a {lacking} of the same name", "none"))
    if errors and unpaired is None:
        raise errors[0]
    if unpaired is not None:
        unpaired.extend(errors)
    if not images.keys() | labels.keys():
        raise InputError(
            root,
            "volume-N.nii[.gz] with segmentation-N.nii[.gz] (LiTS), or imagesTr/ with labelsTr/ (MSD, nnU-Net)",
            f"{len(entries(root))} entries without such a pair",
        )
    names = sorted(images.keys() & labels.keys(), key=natural)
    return [Case(name, images[name], labels[name]) for name in names]


def find_masks(folder: str | Path, references: bool = False) -> dict[str, Path]:
    """Find the masks in a folder, or a single mask file.

    If the folder has ``labelsTr/`` (MSD, nnU-Net), its files are the masks. Otherwise the masks are:

    - ``segmentation-*`` (LiTS) at any depth, except the maps that ``predict`` writes into ``probability/``;
    - all other NIfTI files in the folder, except the CTs ``volume-*`` and ``test-volume-*``.

    Args:
        folder: the folder or file.
        references: of several masks of the same patient, ignore those that lits_seg wrote.

    Returns:
        Paths by file name without extension.

    Raises:
        InputError: if there is no mask, if ``segmentation-*`` are next to ``labelsTr/``, or if two masks show the same
            patient, see ``patient_name``.
    """
    folder = Path(folder)
    if os.path.exists(folder) and not os.path.isdir(folder):
        return {stem(folder): folder}
    if not os.path.isdir(folder):
        raise InputError(folder, "a folder with masks (.nii, .nii.gz)", missing(folder, "file or folder"))
    everything, lost = below(folder)
    masks = {path for path in filter(_is_segmentation, everything) if PROBABILITY not in path.relative_to(folder).parts}
    labels = folder / "labelsTr"
    if not os.path.isdir(labels):
        masks |= set(filter(_is_mask, entries(folder)))
    elif others := {path for path in masks if not path.is_relative_to(labels)}:
        raise InputError(min(others), f"masks in {labels.name}/ only, since there is such a folder", "another one")
    else:
        masks = set(filter(_is_mask, entries(labels)))
    for path, error in lost.items():
        if path not in masks and not path.name.startswith(CT_NAMES):
            raise error
    found = _by_name(masks, lambda path: patient_name(stem(path)), "masks", prefer_others=references)
    if not found:
        raise InputError(folder, "a folder with masks (.nii, .nii.gz)", "none")
    return {stem(path): path for path in found.values()}


def find_maps(folder: Path) -> dict[str, Path]:
    """Return the probability maps in a folder by the names of their masks; none if there is no such folder."""
    return {stem(path): path for path in entries(folder) if has_nifti_name(path)} if os.path.isdir(folder) else {}


def find_cts(path: str | Path) -> dict[str, Path]:
    """Find the CT in a file, or all CTs in a folder.

    If the folder has ``imagesTr/`` (MSD), its files are the CTs. Otherwise the CTs are:

    - ``volume-*`` (LiTS) at any depth;
    - all other NIfTI files in the folder, except ``segmentation-*``;
    - a DICOM series in the folder, and each folder below that has a DICOM series.

    Links are followed. A broken link and a file that is no CT are also returned: reading them raises the error.

    Masks that lits_seg wrote into the folder are not CTs.

    Args:
        path: the file or folder.

    Returns:
        Paths by the name of the mask to write: ``volume-N`` becomes ``segmentation-N``, nnU-Net's ``NAME_0000`` becomes
        ``NAME``, other names are kept. A series in a deeper folder is named by all folders on the way, such as
        ``PATIENT_STUDY_SERIES``.

    Raises:
        InputError: if there is no CT, or if the masks of two CTs would show the same patient, see ``patient_name``.
    """
    path = Path(path)
    if not os.path.lexists(path):
        raise InputError(path, "a CT (.nii, .nii.gz, a DICOM folder) or a folder with CTs", "no such file or folder")
    found: dict[str, tuple[str, Path]] = {}  # by patient, as evaluate counts them
    for ct in sorted(_cts(path)) if os.path.isdir(path) else [path]:
        name = mask_name(path, ct)
        if patient_name(name) in found and "_" in name and os.path.isdir(ct):
            name = with_hash(name, ct.relative_to(path))  # a_b/c and a/b_c
        _, first = found.setdefault(patient_name(name), (name, ct))
        if first != ct and not same_file(first, ct):
            raise InputError(ct, "CTs of different patients, by file name", f"the same patient as {first}")
    if not found:
        others = sorted({entry.suffix for entry in entries(path) if entry.suffix})[:8]
        kinds = f" (files {', '.join(others)})" if others else ""
        raise InputError(path, "a folder with CTs (.nii, .nii.gz, DICOM)", f"none{kinds}")
    return dict(found.values())


def _cts(folder: Path) -> set[Path]:
    if os.path.isdir(folder / "imagesTr"):
        return {path for path in entries(folder / "imagesTr") if has_nifti_name(path) and not is_marked(path)}
    everything, lost = below(folder)
    named = {path for path in everything if path.name.startswith(CT_NAMES)}
    inside = {path for path in entries(folder) if not path.name.startswith(SEGMENTATION)}
    files = {path for path in named | inside if has_nifti_name(path) and not (os.path.isdir(path) or is_marked(path))}
    folders = {path for path in everything if os.path.isdir(path)} - lost.keys()
    series = {path for path in folders if _has_dicom(path) and (path == folder or holds_images(path))}
    return files | series | {path for path in lost if not path.name.startswith(SEGMENTATION)}


def _has_dicom(folder: Path) -> bool:
    for path in entries(folder):
        if has_nifti_name(path) or path.name == "DICOMDIR" or not os.path.isfile(path):
            continue
        try:
            if is_dicom(path) and not is_marked(path):
                return True
        except OSError:
            return True  # reading the folder as a series raises an error that names the file
    return False


def _is_volume(path: Path) -> bool:
    if not path.name.startswith(VOLUME):
        return False
    if not os.path.isdir(path):
        return has_nifti_name(path)
    # Some mirrors have folders with a similar name, which hold volumes, not a DICOM series.
    return not any(map(has_nifti_name, entries(path)))


def _by_name(
    paths: Iterable[Path], name_of: Callable[[Path], str], what: str = "cases", prefer_others: bool = True
) -> dict[str, Path]:
    """Return paths by name.

    Args:
        paths: the paths.
        name_of: function from a path to its name.
        what: what errors call the paths.
        prefer_others: of several masks of the same name, ignore those that lits_seg predicted.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths):
        name = name_of(path)
        if prefer_others and name in found and is_marked(path):
            continue
        if prefer_others and name in found and is_marked(found[name]):
            del found[name]
        if name in found and not same_file(found[name], path):
            raise InputError(path, f"{what} of different patients", f"the same patient as {found[name]}")
        found.setdefault(name, path)
    return found


def is_phantom(root: str | Path) -> bool:
    """Return whether a folder's volumes are synthetic, written by ``phantom.write_phantom``."""
    return os.path.exists(Path(root) / PHANTOM)


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, by its extension or its preamble."""
    with path.open("rb") as file:
        return path.suffix.lower() in (".dcm", ".ima") or file.read(132)[128:] == b"DICM"


def _is_mask(path: Path) -> bool:
    return has_nifti_name(path) and not os.path.isdir(path) and not path.name.startswith(CT_NAMES)


def _is_segmentation(path: Path) -> bool:
    return _is_mask(path) and path.name.startswith(SEGMENTATION)
