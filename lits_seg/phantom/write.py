"""Write the embedded data set: CT volumes with liver lesions in LiTS layout.

The volumes are **synthetic**: no patient is shown. The generator draws the anatomy (``anatomy``), the lesions
(``tumours``) and the scanner (``scanner``), so that the volumes vary like real scans. The generator follows the
published properties of LiTS (Bilic et al., 2023, and public loaders):

- The liver has 0.8 to 2.8 L, with a median near 1.7 L, and 45 to 135 HU by contrast phase, mostly portal venous.
- One patient in ten has no lesion; others have one to dozens, from 5 mm. Most are 15 to 85 HU below the liver.
- 40 slices span the liver, 2.7 to 6.8 mm apart, or in one of eight scans liver and pelvis, at least 9.7 mm apart.
- Fields of view have 300 to 500 mm; some are crops around the liver.
- Outside the scanner's circle, HU are -1024 to -3024. Affines have several orientations; some are the identity.
"""

import gzip
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np
from annotated_types import Ge, Le
from filelock import FileLock
from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Seed, Size, Threads
from lits_seg.data.layouts import PHANTOM
from lits_seg.phantom.anatomy import paint_patient
from lits_seg.phantom.place import LOCK, claim
from lits_seg.phantom.scanner import PhantomVolume, as_file, field_of_view, scan
from lits_seg.phantom.tumours import paint_lesions

VERSION = 6
Cases = Annotated[int, Ge(1), Le(10_000)]
Slices = Annotated[int, Ge(4), Le(2000)]


def write_phantom(
    root: str | Path,
    *,
    cases: Cases = 80,
    seed: Seed = 0,
    size: Size = 192,
    slices: Slices = 40,
    workers: Threads | None = None,
) -> list[Path]:
    """Write ``volume-N.nii.gz`` and ``segmentation-N.nii.gz`` for N below ``cases``; existing files are skipped.

    ``(seed, N, size, slices)`` determine every byte of a case.

    Args:
        root: folder for the volumes.
        cases: number of patients.
        seed: seed of all random numbers.
        size: rows and columns of a slice.
        slices: number of slices.
        workers: number of processes; None: one per core.

    Returns:
        The paths of the CT volumes.

    Raises:
        InputError: if ``root`` contains a phantom with other settings, or files that are not of this phantom.
    """
    root = Path(root)
    claim(root, {"version": VERSION, "seed": seed, "size": size, "slices": slices})
    if _missing(root, cases):
        with FileLock(root / LOCK):
            for leftover in root.glob(".*.nii.gz.*"):  # of killed processes, since this process holds the lock
                leftover.unlink()
            _write_cases([(root, seed, n, size, slices) for n in _missing(root, cases)], workers)
    return [_paths(root, n)[0] for n in range(cases)]


def _missing(root: Path, cases: int) -> list[int]:
    return [n for n in range(cases) if not all(path.exists() for path in _paths(root, n))]


def _write_cases(jobs: list[tuple[Path, int, int, int, int]], workers: int | None) -> None:
    if not jobs:
        return
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    progress = tqdm(total=len(jobs), desc="synthetic CT volumes", unit="case", disable=None)  # None: in terminals
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for _ in pool.map(_write_case, *zip(*jobs, strict=True)):
                progress.update()
    else:
        for job in jobs:
            _write_case(*job)
            progress.update()
    progress.close()


def generate_volume(seed: int, *, case: int = 0, size: int = 192, slices: int = 40) -> PhantomVolume:
    """Generate one synthetic patient.

    Args:
        seed: seed of all random numbers.
        case: number of the patient.
        size: rows and columns of a slice.
        slices: number of slices.
    """
    rng = np.random.default_rng(np.random.SeedSequence([VERSION, seed, case]))
    width = rng.uniform(145, 190)
    body = (width, np.clip(width * rng.uniform(0.66, 0.82), 100, 145))
    axes, spacing = field_of_view(rng, size, slices, body[0])
    patient = paint_patient(rng, axes, body)
    lesions = paint_lesions(patient)
    hu = scan(rng, patient.hu, axes, spacing)
    labels = patient.liver.astype(np.uint8) + (lesions & patient.liver)
    return as_file(rng, hu, labels, axes, spacing)


def _paths(root: Path, case: int) -> tuple[Path, Path]:
    return root / f"volume-{case}.nii.gz", root / f"segmentation-{case}.nii.gz"


def _write_case(root: Path, seed: int, case: int, size: int, slices: int) -> None:
    volume = generate_volume(seed, case=case, size=size, slices=slices)
    contents = [nib.Nifti1Image(voxels, volume.affine).to_bytes() for voxels in (volume.hu, volume.labels)]
    written = dict(zip(_paths(root, case), contents, strict=True))
    for path, content in written.items():
        if path.exists() and gzip.decompress(path.read_bytes()) != content:
            raise InputError(path, f"the synthetic volume {case} of this folder's {PHANTOM}", "another volume")
    for path, content in written.items():
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            # mtime=0 omits the time stamp, so that equal arguments give equal bytes.
            temporary.write_bytes(gzip.compress(content, compresslevel=3, mtime=0))
            if not path.exists():
                temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
