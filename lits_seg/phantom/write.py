"""``python -m lits_seg.phantom.write``: the embedded data set, CT volumes with liver lesions in LiTS layout.

**Synthetic**: no patient stands behind them. A generator draws the anatomy (``phantom_anatomy``), the lesions
(``phantom_lesions``) and the scanner (here), so that a network trained on them meets what differs between real
scans. It follows what is published of LiTS (Bilic et al., 2023, and public loaders):

- liver volume 1 to 2.2 L, median near 1.6 L; liver 45 to 135 HU by contrast phase, most of them portal venous;
- one patient in ten without lesion; counts from one to dozens; lesions 15 to 80 HU below the liver, with overlap;
- 40 slices 2.7 to 6.8 mm apart span the liver; fields of view of 300 to 500 mm, and crops around the liver;
- HU outside of the scanner's circle of -1024 to -3024; affines in several orientations, some the identity.
"""

import argparse
import gzip
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
from filelock import FileLock
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from scipy import ndimage
from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.data.layouts import PHANTOM
from lits_seg.phantom.anatomy import Grid, make_grid, paint_patient
from lits_seg.phantom.tumours import paint_lesions

VERSION = 5
ORIENTATIONS = (("RAS", 0.35), ("LPS", 0.3), ("LAS", 0.1), ("RPS", 0.05), ("LPI", 0.05), ("PSR", 0.05), ("SAL", 0.05))


@dataclass(frozen=True)
class PhantomVolume:
    """A synthetic patient as a file holds it.

    ``hu`` int16 and ``labels`` uint8 (0 background, 1 liver, 2 lesion), both ``(X, Y, Z)`` in the order that
    ``affine`` (voxel to RAS+ mm) tells.
    """

    hu: np.ndarray
    labels: np.ndarray
    affine: np.ndarray


def write_phantom(
    root: str | Path,
    *,
    cases: int = 80,
    seed: int = 0,
    size: int = 192,
    slices: int = 40,
    workers: int | None = None,
) -> list[Path]:
    """Writes ``volume-N.nii.gz`` and ``segmentation-N.nii.gz`` for N below ``cases``; those that exist stay.

    A case follows from ``(seed, N, size, slices)`` alone, to the byte. ``workers``: processes; None: one a core.
    Raises ``InputError`` where ``root`` holds a phantom of other settings.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    settings = {"version": VERSION, "seed": seed, "size": size, "slices": slices}
    description = root / PHANTOM
    if not description.exists():
        with FileLock(root / ".lock"):  # jobs of a sweep may all begin here
            if not description.exists():
                write_text(description, json.dumps(settings))
    found = json.loads(description.read_text())
    if found != settings:
        raise InputError(description, f"a phantom of {settings} (data.root=… chooses another folder)", found)
    if _missing(root, cases):
        with FileLock(root / ".lock"):
            _write_cases([(root, seed, n, size, slices) for n in _missing(root, cases)], workers)
    return [_paths(root, n)[0] for n in range(cases)]


def _missing(root: Path, cases: int) -> list[int]:
    return [n for n in range(cases) if not all(path.exists() for path in _paths(root, n))]


def _write_cases(jobs: list[tuple[Path, int, int, int, int]], workers: int | None) -> None:
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    progress = tqdm(total=len(jobs), desc="synthetic CT volumes", unit="case", disable=not jobs)
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
    """One synthetic patient, ``size`` x ``size`` x ``slices`` voxels before its axes are ordered."""
    rng = np.random.default_rng(np.random.SeedSequence([VERSION, seed, case]))
    body = (rng.uniform(145, 190), rng.uniform(100, 135))
    grid, spacing = _field_of_view(rng, size, slices, body[0])
    patient = paint_patient(rng, grid, body)
    lesions = paint_lesions(patient)
    hu = _scan(rng, patient.hu, grid, spacing)
    labels = patient.liver.astype(np.uint8) + (lesions & patient.liver)
    return _store(rng, hu, labels, grid, spacing)


def _field_of_view(rng: np.random.Generator, size: int, slices: int, half_width: float) -> tuple[Grid, np.ndarray]:
    """Voxel centres; three in ten volumes are crops around the liver."""
    cropped = rng.random() < 0.3
    field = rng.uniform(190, 300) if cropped else 2 * half_width * rng.uniform(1.02, 1.3)
    centre = np.array([rng.uniform(-70, -35), rng.uniform(-10, 10)]) if cropped else rng.normal(0, 6, 2)
    thick = rng.uniform(200, 270) / slices if rng.random() < 0.8 else rng.uniform(110, 180) / slices
    middle = rng.normal(4, 8) if thick * slices > 190 else rng.uniform(-45, 45)
    spacing = np.array([field / size, field / size, thick])
    place = (np.arange(size) - (size - 1) / 2) * spacing[0]
    z = (np.arange(slices) - (slices - 1) / 2) * thick + middle
    x, y = ((place + offset).astype(np.float32) for offset in centre)
    return make_grid(rng, x, y, z.astype(np.float32)), spacing


def _scan(rng: np.random.Generator, hu: np.ndarray, grid: Grid, spacing: np.ndarray) -> np.ndarray:
    """The scanner: blur, noise with grain and streaks, table, padding outside of the circle; int16 HU."""
    pixel = spacing[0]
    blur = rng.uniform(0.5, 1.1) / pixel
    hu = ndimage.gaussian_filter(hu, (blur, blur, rng.uniform(0.2, 0.5)))
    grain = rng.uniform(0.35, 1.1) / pixel * rng.choice([0.7, 1.0, 1.4])
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), (grain, grain, 0.2))
    noise *= rng.uniform(6, 25) / noise.std()
    streaks = ndimage.gaussian_filter1d(rng.standard_normal(hu.shape, dtype=np.float32), 40 / pixel, axis=0)
    noise += streaks * (rng.uniform(0, 6) / streaks.std())
    x, y = grid.x[:, None, None], grid.y[None, :, None]
    if rng.random() < 0.7:  # table
        top = rng.uniform(125, 150)
        shell = np.abs(y - top + 0.0012 * (x - rng.uniform(-10, 10)) ** 2) < 2.5
        hu = np.where(shell & (hu < -500), rng.uniform(-500, 50), hu)
    hu = hu + noise
    if rng.random() < 0.4 and np.ptp(x) > 300:  # padding; a crop lies within the circle
        outside = np.hypot(x - x.mean(), y - y.mean()) > 0.5 * np.ptp(x)
        hu = np.where(outside, rng.choice([-1024, -2000, -3024]), np.maximum(hu, -1024))
    return np.clip(np.rint(hu), -3024, 3071).astype(np.int16)


def _store(
    rng: np.random.Generator, hu: np.ndarray, labels: np.ndarray, grid: Grid, spacing: np.ndarray
) -> PhantomVolume:
    """Orders the axes as some scanner would, with the affine that tells so; some affines are no help."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = [-grid.x[0], -grid.y[0], grid.z[0]]
    if rng.random() < 0.05:
        return PhantomVolume(hu, labels, np.eye(4))
    codes, chances = zip(*ORIENTATIONS, strict=True)
    code = codes[rng.choice(len(codes), p=np.array(chances) / sum(chances))]
    turn = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(code))
    affine = affine @ inv_ornt_aff(turn, hu.shape)
    if rng.random() < 0.1:  # slightly oblique
        angle = rng.uniform(-0.12, 0.12)
        tilt = np.eye(4)
        tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        affine = tilt @ affine
    return PhantomVolume(
        np.ascontiguousarray(apply_orientation(hu, turn)), np.ascontiguousarray(apply_orientation(labels, turn)), affine
    )


def _paths(root: Path, case: int) -> tuple[Path, Path]:
    return root / f"volume-{case}.nii.gz", root / f"segmentation-{case}.nii.gz"


def _write_case(root: Path, seed: int, case: int, size: int, slices: int) -> None:
    volume = generate_volume(seed, case=case, size=size, slices=slices)
    for path, voxels in zip(_paths(root, case), (volume.hu, volume.labels), strict=True):
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            # No time stamp in the gzip header: equal arguments give equal bytes.
            content = nib.Nifti1Image(voxels, volume.affine).to_bytes()
            temporary.write_bytes(gzip.compress(content, compresslevel=3, mtime=0))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def main() -> None:
    """``lits-seg phantom FOLDER``."""
    parser = argparse.ArgumentParser(
        prog="lits-seg phantom",
        description="Write synthetic abdominal CT volumes with liver lesions in LiTS layout. Research use only.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("root", type=Path, nargs="?", default=Path("data/phantom"), help="folder")
    for name, default in (("cases", 80), ("seed", 0), ("size", 192), ("slices", 40)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--workers", type=int, help="processes; one a core unless given")
    try:
        write_phantom(**vars(parser.parse_args()))
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
