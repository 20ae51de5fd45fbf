"""Read a CT a few slices at a time, so that memory use does not grow with the number of slices."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from lits_seg.data.dicom import find_series
from lits_seg.data.grid import Grid, view_slices
from lits_seg.data.nifti import is_gzip, nifti_errors, open_nifti, unpack
from lits_seg.data.volumes import to_hu


@dataclass(frozen=True)
class Ct(Grid):
    """A CT with uncompressed voxels on disk. HU = stored value x ``slope`` + ``inter``.

    Args:
        path: the path given by the user: a NIfTI file or a folder with a DICOM series.
        voxels: the file that holds the voxels in Fortran order.
        dtype: type of the stored values.
        offset: position of the first voxel in the file, in bytes.
        slope: HU per stored unit.
        inter: HU of the stored value 0.
        header: header of the NIfTI file; None for DICOM.
        series: DICOM files in the order of the last axis; empty for NIfTI.
    """

    path: Path
    voxels: Path
    dtype: np.dtype
    offset: int = 0
    slope: float = 1.0
    inter: float = 0.0
    header: nib.Nifti1Header | None = None
    series: tuple[Path, ...] = ()

    def __len__(self) -> int:
        """Number of axial slices."""
        return len(self._view())

    def slices(self, start: int, stop: int) -> np.ndarray:
        """Read axial slices ``(stop - start, H, W)`` in HU.

        Args:
            start: index of the first slice; 0 is the lowest slice of the patient.
            stop: index after the last slice.

        Raises:
            InputError: if a voxel is NaN or infinite.
        """
        # A new memory map for each call: pages of a long-lived map would stay in memory.
        stored = np.array(self._view()[start:stop], order="C")
        if (self.slope, self.inter) != (1.0, 0.0):
            with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are reported
                stored = stored.astype(np.float32) * np.float32(self.slope) + np.float32(self.inter)
        return to_hu(self.path, stored, start)

    def _view(self) -> np.ndarray:
        voxels = np.memmap(self.voxels, self.dtype, "r", self.offset, self.shape, order="F")
        return view_slices(voxels, self.affine)


@contextmanager
def open_ct(path: str | Path, scratch: str | Path | None = None) -> Iterator[Ct]:
    """Open a CT from a NIfTI file or a folder with one DICOM series; compressed voxels are unpacked to disk.

    Args:
        path: the file or folder.
        scratch: folder for the unpacked voxels, which are deleted on exit; None: the system's temporary folder.

    Yields:
        The CT, readable inside the ``with`` block.

    Raises:
        InputError: if a file is unreadable; see ``volumes.read_volume``.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="ct-", dir=scratch) as folder:
        yield _open_series(path, Path(folder)) if os.path.isdir(path) else _open_nifti(path, Path(folder))


def _open_nifti(path: Path, scratch: Path) -> Ct:
    unpacked = None
    with nifti_errors(path):
        packed = path.is_file() and is_gzip(path)
    if packed:
        unpacked = scratch / "ct.nii"
        unpack(path, unpacked)
    with open_nifti(path, unpacked) as image:
        proxy = image.dataobj
        return Ct(
            image.affine,
            proxy.shape,
            doubts=image.extra["doubts"],
            path=path,
            voxels=unpacked or path,
            dtype=proxy.dtype,
            offset=proxy.offset,
            slope=float(proxy.slope),
            inter=float(proxy.inter),
            header=image.header,
        )


def _open_series(path: Path, scratch: Path) -> Ct:
    series = find_series(path)
    voxels = scratch / "ct.raw"
    with voxels.open("wb") as file:
        for hu in series.slices():
            file.write(hu.astype(np.float32).tobytes())
    return Ct(
        series.affine,
        series.shape,
        doubts=series.doubts,
        path=path,
        voxels=voxels,
        dtype=np.dtype(np.float32),
        series=series.paths,
    )
