"""Name patients and masks by the files that show them, in every layout of LiTS, MSD and nnU-Net."""

import hashlib
import os
import re
import unicodedata
from pathlib import Path

from lits_seg.data import nnunet

# Starts of the file names of LiTS. Names of patients follow: numbers there, but any text in the same layout.
VOLUME, SEGMENTATION = "volume-", "segmentation-"
_TEST = "test-"  # of the challenge
CT_NAMES = (VOLUME, f"{_TEST}{VOLUME}")
TEST_NAMES = (f"{_TEST}{VOLUME}", f"{_TEST}{SEGMENTATION}")
_LITS = re.compile(rf"(?P<test>{_TEST})?(?P<kind>{VOLUME}|{SEGMENTATION})(?P<patient>.*)", re.DOTALL)
_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_LONGEST_NAME = 240  # bytes of a mask's name; longer names are shortened, since a file's name has at most 255 bytes


def has_nifti_name(path: Path) -> bool:
    """Return whether a path has a NIfTI name, in upper or lower case, and is not hidden."""
    return _NIFTI.search(path.name) is not None and not path.name.startswith(".")


def stem(path: Path) -> str:
    """Return a path's name without ``.nii`` or ``.nii.gz``, ``composed``."""
    return composed(_NIFTI.sub("", path.name))


def composed(name: str) -> str:
    """Return a name with composed letters (NFC), to compare names: macOS may write ``ü`` as ``u`` and dots."""
    return unicodedata.normalize("NFC", name)


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sorting key that compares numbers by value: ``case-9`` precedes ``case-10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def mask_name(root: Path, ct: Path) -> str:
    """Return the name of the mask that ``predict`` writes of a CT.

    Args:
        root: folder with CTs.
        ct: the CT, below ``root``.
    """
    # The name of "." is empty, and files with an empty name would be hidden.
    name = Path(os.path.abspath(ct)).name if os.path.isdir(ct) else nnunet.case_name(ct, stem(ct))
    lits = _LITS.fullmatch(name)
    if lits and lits["kind"] == VOLUME:
        name = f"{lits['test'] or ''}{SEGMENTATION}{lits['patient']}"
    elif os.path.isdir(ct) and ct != root:
        name = "_".join(ct.relative_to(root).parts)
    name = composed(name)
    return name if len(os.fsencode(name)) <= _LONGEST_NAME else with_hash(name, ct.relative_to(root))


def patient_name(mask: str) -> str:
    """Return the name of a mask's patient: ``segmentation-5`` (LiTS) shows 5; other masks are named by patients."""
    lits = _LITS.fullmatch(mask)
    return lits["patient"] if lits and lits["kind"] == SEGMENTATION and not lits["test"] else mask


def lits_patient(path: Path) -> str:
    """Return the name of the patient of a file in the layout of LiTS, CT or labels."""
    lits = _LITS.fullmatch(stem(path))
    return (lits and lits["patient"]) or stem(path)  # volume- has no name, and so no counterpart


def with_hash(name: str, path: Path) -> str:
    """Return the start of a name with a hash of its path, for names that are too long, or not the only ones."""
    return f"{name[: _LONGEST_NAME // 5]}-{hashlib.sha256(os.fsencode(composed(str(path)))).hexdigest()[:8]}"
