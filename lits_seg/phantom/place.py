"""Claim a folder for the phantom: a folder that is empty, or that holds this phantom and nothing else.

Synthetic volumes are never mixed among others: a folder with ``phantom.json`` is synthetic as a whole.
"""

import json
import logging
import re
from pathlib import Path
from typing import Any

import nibabel as nib
from filelock import FileLock

from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.records import read_json
from lits_seg.data.layouts import PHANTOM
from lits_seg.data.nifti import nifti_errors
from lits_seg.data.walk import entries

log = logging.getLogger(__name__)

LOCK = ".lock"
OWN = re.compile(r"(volume|segmentation)-\d+\.nii\.gz")
VOLUME = re.compile(r"(volume|segmentation)-.*|.*\.nii(\.gz)?", re.IGNORECASE)
ANOTHER = "data.root=… chooses another folder; data=lits reads the volumes of a folder without generating any"


def claim(root: Path, settings: dict[str, Any]) -> None:
    """Create the phantom's folder with its description, unless it exists.

    Args:
        root: the folder.
        settings: settings of the generator, the content of the description.

    Raises:
        InputError: if the folder has a phantom with other settings, or files that the generator did not write.
    """
    description = root / PHANTOM
    if not description.exists():
        _require_empty(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / LOCK):  # jobs of a sweep may start at the same time
                if not description.exists():
                    _require_empty(root)
                    log.warning("%s: synthetic CT volumes are written into this folder", root.absolute())
                    write_text(description, json.dumps(settings))
        except OSError as error:
            raise InputError(root, f"a folder to write synthetic volumes to ({ANOTHER})", error.strerror) from error
    found = read_json(description, "a phantom's settings")
    if found != settings:
        raise InputError(description, f"a phantom with {settings} ({ANOTHER})", found)
    foreign = [p for p in entries(root) if p.is_dir() or (VOLUME.fullmatch(p.name) and not OWN.fullmatch(p.name))]
    if foreign:
        raise InputError(root, f"nothing but synthetic volumes ({ANOTHER})", foreign[0].name)
    expected = sorted([settings["size"], settings["size"], settings["slices"]])
    for path in sorted(path for path in entries(root) if OWN.fullmatch(path.name)):
        with nifti_errors(path):
            shape = nib.load(path).shape
        if sorted(shape) != expected:
            raise InputError(path, f"a synthetic volume of the shape {expected} ({ANOTHER})", list(shape))


def _require_empty(root: Path) -> None:
    files = entries(root) if root.is_dir() else []
    # Another process may have claimed the folder for its phantom just now.
    if files and root / PHANTOM not in files:
        found = f"{len(files)} files or folders, such as {files[0].name}"
        raise InputError(
            root, f"an empty folder, or one with {PHANTOM}, to write synthetic volumes to ({ANOTHER})", found
        )
