"""``python -m experiments.real_case``: fetch a real LiTS case with lesions from a package on PyPI.

``liver-ct-segmentation-package`` 1.6.0 (MIT) holds LiTS case 117 as a crop of 128 x 128 x 128 voxels, downsampled
about 2 x. The two MRC files have the axes x (from the patient's right), y (from anterior), z (from below). The
package does not state the voxel size. The files written here claim 1 mm, so volumes in mL and distances in mm are
meaningless.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import mrcfile
import nibabel as nib
import numpy as np

from lits_seg.common.errors import InputError

PACKAGE = "liver-ct-segmentation-package==1.6.0"
FILES = {"volume-117.nii.gz": ("img_117.mrc", np.int16), "segmentation-117.nii.gz": ("lab_117.mrc", np.uint8)}


def main() -> None:
    """Read the command line and fetch the case."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.real_case",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, nargs="?", default=Path("data/real"), help="folder (default: data/real)")
    try:
        fetch_real_case(parser.parse_args().root)
    except InputError as error:
        sys.exit(f"error: {error}")


def fetch_real_case(root: Path, package: str = PACKAGE) -> None:
    """Fetch the package by pip and write the case in LiTS layout, unless the files exist.

    Args:
        root: folder for the case.
        package: requirement that names the package for pip.

    Raises:
        InputError: if pip cannot fetch the package, or if a file in the package is damaged.
    """
    if all((root / name).exists() for name in FILES):
        print(f"{root}: the real case already exists")
        return
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", name, package]
        if subprocess.run(command).returncode:
            raise InputError(package, "a package that pip can fetch", "pip's error above")
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            members = {Path(member).name: member for member in archive.namelist()}
            for target, (source, kind) in FILES.items():
                if (root / target).exists():
                    continue
                voxels = read_mrc(Path(archive.extract(members[source], folder)))
                _save(root / target, np.rint(voxels).astype(kind))
    print(f"{root}: LiTS case 117, real CT, 128 x 128 x 128")


def read_mrc(path: Path) -> np.ndarray:
    """Return the voxels of an MRC file, ``(sections, rows, columns)``, which is ``(x, y, z)`` in this package.

    Raises:
        InputError: if the file is not MRC, or is truncated.
    """
    try:
        with mrcfile.open(path) as file:
            return file.data.copy()
    except (OSError, ValueError) as error:
        raise InputError(path, "an MRC file", error) from error


def _save(path: Path, voxels: np.ndarray) -> None:
    temporary = path.with_name(f".{path.name}")
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])), temporary)
    temporary.replace(path)


if __name__ == "__main__":
    main()
