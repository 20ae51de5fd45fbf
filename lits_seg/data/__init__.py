"""Discover, read, check, pre-process, store, split, sample and augment CT volumes and their slices."""

import sys
from typing import Any

# nibabel imports pydicom, if it is installed, for headers with a DICOM extension, which no command reads. The import
# takes a quarter of the time of `--help`. Python treats None as not installed.
_modules: dict[str, Any] = sys.modules
if "pydicom" not in _modules:
    _modules["pydicom"] = None
    import nibabel  # noqa: F401

    del _modules["pydicom"]
