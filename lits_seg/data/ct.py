"""One CT, read a few slices at a time, so that its length does not matter to the memory."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip

from lits_seg.common.errors import InputError
from lits_seg.data.dicom import find_series, read_slice
from lits_seg.data.grid import Grid, view_slices
from lits_seg.data.layouts import is_nifti, stem
from lits_seg.data.volumes import nifti_errors, require_volume, to_hu

_LITS = re.compile(r"(test-)?volume-(\w+)")


@dataclass(frozen=True)
class Ct(Grid):
    """A CT whose voxels lie uncompressed on the disk.

    Args:
        path: what the user named, a NIfTI file or a folder with a DICOM series.
        voxels: the file that holds them, in Fortran order from ``offset``; HU = stored x ``slope`` + ``inter``.
        header: of the NIfTI file; None for DICOM.
        series: the DICOM files in the order of the last axis; empty for NIfTI.
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
        """Axial slices ``(stop - start, H, W)`` in HU. Raises ``InputError`` for NaN or infinity."""
        # Mapped anew each time: what was read before does not stay in memory.
        stored = np.array(self._view()[start:stop], order="C")
        if (self.slope, self.inter) != (1.0, 0.0):
            stored = stored.astype(np.float32) * np.float32(self.slope) + np.float32(self.inter)
        return to_hu(self.path, stored)

    def _view(self) -> np.ndarray:
        voxels = np.memmap(self.voxels, self.dtype, "r", self.offset, self.shape, order="F")
        return view_slices(voxels, self.affine)


@contextmanager
def open_ct(path: str | Path, scratch: str | Path | None = None) -> Iterator[Ct]:
    """A CT, from a NIfTI file or a folder with one DICOM series; compressed ones are unpacked for the time being.

    ``scratch``: the folder for that; None: the system's.

    Raises ``InputError`` for what cannot be read as ``read_volume`` does.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="ct-", dir=scratch) as folder:
        yield _open_series(path, Path(folder)) if path.is_dir() else _open_nifti(path, Path(folder))


def find_cts(path: str | Path) -> dict[str, Path]:
    """The CT in a file or folder by the name that its mask gets: LiTS's ``volume-N`` is ``segmentation-N``.

    Of a folder with MSD's ``imagesTr/``: what is in that. Of another one: LiTS's ``volume-*`` at any depth, every other
    NIfTI file in it but ``segmentation-*``, a DICOM series, and folders with a series each.

    Raises ``InputError`` where there is no CT, or two of one name.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "a CT (.nii, .nii.gz, a DICOM folder) or a folder with CTs", "no such file or folder")
    found: dict[str, Path] = {}
    for ct in [path] if path.is_file() else sorted(_cts(path)):
        own = ct.name if ct.is_dir() else stem(ct)
        lits = _LITS.fullmatch(own)
        name = f"{lits[1] or ''}segmentation-{lits[2]}" if lits else own
        if name in found:
            raise InputError(ct, "CTs of different names", f"also {found[name]}, and {name} can be one mask only")
        found[name] = ct
    if not found:
        raise InputError(path, "a folder with CTs (.nii, .nii.gz, DICOM)", "none")
    return found


def _cts(folder: Path) -> list[Path]:
    if (folder / "imagesTr").is_dir():
        return _nifti(folder / "imagesTr")
    found = {path for path in folder.rglob("*volume-*") if _LITS.match(path.name) and (path.is_dir() or is_nifti(path))}
    found |= {path for path in _nifti(folder) if not path.name.startswith("segmentation-")}
    found |= {folder, *(path for path in folder.iterdir() if path.is_dir())}
    return [path for path in found if is_nifti(path) or (path.is_dir() and _has_dicom(path))]


def _nifti(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if is_nifti(path)]


def _has_dicom(folder: Path) -> bool:
    return any(path.is_file() and path.name != "DICOMDIR" and _is_dicom(path) for path in folder.iterdir())


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix.lower() in (".dcm", ".ima") or file.read(132)[128:] == b"DICM"


def _open_nifti(path: Path, scratch: Path) -> Ct:
    if path.is_file() and _is_dicom(path):
        raise InputError(path, "a NIfTI file, or the folder of a DICOM series", "a single DICOM file")
    plain = _unpack(path, scratch / path.name.removesuffix(".gz")) if path.name.endswith(".gz") else path
    with nifti_errors(path, plain):
        image = nib.load(plain)
        proxy = image.dataobj
        require_volume(path, proxy.shape, proxy.dtype, image.affine)
        expected, found = proxy.offset + proxy.dtype.itemsize * int(np.prod(proxy.shape)), plain.stat().st_size
        if found < expected:
            raise InputError(path, f"{expected} bytes of header and voxels", f"{found}: the file is cut off")
        return Ct(
            image.affine,
            proxy.shape,
            path=path,
            voxels=plain,
            dtype=proxy.dtype,
            offset=proxy.offset,
            slope=float(proxy.slope),
            inter=float(proxy.inter),
            header=image.header,
        )


def _unpack(path: Path, plain: Path) -> Path:
    with nifti_errors(path):
        packed = igzip.open(path)
    with packed, plain.open("wb") as unpacked:
        while True:
            with nifti_errors(path):  # what goes wrong in writing is not the file's fault
                part = packed.read(2**22)
            if not part:
                return plain
            unpacked.write(part)


def _open_series(path: Path, scratch: Path) -> Ct:
    series, affine = find_series(path)
    voxels = scratch / "ct.raw"
    with voxels.open("wb") as file:
        for number in series:
            hu = read_slice(number).astype(np.float32)
            file.write(hu.tobytes())
    shape = (hu.shape[1], hu.shape[0], len(series))
    require_volume(path, shape, hu.dtype, affine)
    return Ct(affine, shape, path=path, voxels=voxels, dtype=hu.dtype, series=tuple(series))
