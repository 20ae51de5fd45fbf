"""Real CT for tests, in the folder that the environment variable LITS_SEG_REAL_DATA names."""

import os
from pathlib import Path

import pytest

VARIABLE = "LITS_SEG_REAL_DATA"


def real_data(*names: str) -> Path:
    """Return the folder with these files or folders; skip the test if one is missing or the variable is not set.

    Expected in it: ``volume-0.nii.gz`` with ``segmentation-0.nii.gz``, and a DICOM series ``dicom_20slices`` with
    ``dicom_20slices_liver.nii.gz``.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} is not set")
    missing = [name for name in names if not Path(folder, name).exists()]
    if missing:
        pytest.skip(f"{VARIABLE}={folder} lacks {', '.join(missing)}")
    return Path(folder).absolute()
