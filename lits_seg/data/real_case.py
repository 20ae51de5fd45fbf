"""``python -m lits_seg.data.real_case``: one real LiTS case with lesions, from a package on PyPI.

``liver-ct-segmentation-package`` 1.6.0 (MIT) holds LiTS case 117 as a crop of 128 x 128 x 128 voxels, about
2 x downsampled, as two MRC files in the order x (from the patient's right), y (from anterior), z (from below).
The voxel size is not stored, so none is made up: the files written here say 1 mm, and mL and mm mean nothing.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np

from lits_seg.common.errors import InputError

PACKAGE = "liver-ct-segmentation-package==1.6.0"
FILES = {"volume-117.nii.gz": ("img_117.mrc", np.int16), "segmentation-117.nii.gz": ("lab_117.mrc", np.uint8)}
# MRC mode -> voxel type (the format's specification, MRC2014).
MODES = {1: np.int16, 2: np.float32, 6: np.uint16}


def fetch_real_case(root: Path) -> None:
    """Writes the case in LiTS layout into ``root``, unless it is there; asks PyPI through pip."""
    if all((root / name).exists() for name in FILES):
        print(f"{root}: the real case is there already")
        return
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", folder, PACKAGE]
        if subprocess.run(command).returncode:
            raise InputError(PACKAGE, "a package that pip can fetch", "pip's error above")
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            members = {Path(name).name: name for name in archive.namelist()}
            for name, (member, kind) in FILES.items():
                voxels = np.rint(read_mrc(archive.read(members[member]), member)).astype(kind)
                _save(root / name, voxels)
    print(f"{root}: LiTS case 117, real CT, 128 x 128 x 128")


def read_mrc(content: bytes, name: str) -> np.ndarray:
    """The voxels of an MRC file, ``(sections, rows, columns)``; in this package's files that is ``(x, y, z)``.

    Raises ``InputError`` for a voxel type that is not known or a file of another length than its header tells.
    """
    columns, rows, sections, mode = np.frombuffer(content, "<i4", 4)
    extended = int(np.frombuffer(content, "<i4", 1, offset=92)[0])
    if mode not in MODES:
        raise InputError(name, f"an MRC file of mode {', '.join(map(str, MODES))}", f"mode {mode}")
    voxels = np.frombuffer(content, np.dtype(MODES[mode]).newbyteorder("<"), offset=1024 + extended)
    if voxels.size != columns * rows * sections:
        raise InputError(name, f"{columns} x {rows} x {sections} voxels", f"{voxels.size}")
    return voxels.reshape(sections, rows, columns)


def _save(path: Path, voxels: np.ndarray) -> None:
    temporary = path.with_name(f".{path.name}")
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])), temporary)
    temporary.replace(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?", default=Path("data/real"), help="folder (default: data/real)")
    try:
        fetch_real_case(parser.parse_args().root)
    except InputError as error:
        sys.exit(f"error: {error}")
