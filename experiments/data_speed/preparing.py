"""Time the preparation of a case, compared with decompressing the same case."""

import gzip
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from experiments.shared.machine import peak_memory
from lits_seg.common.timing import fastest
from lits_seg.data.layouts import Case, find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.store import store_cases
from lits_seg.phantom.write import generate_volume

Row = tuple[str, str, str]


def write_volumes(root: Path, cases: int, slices: int) -> None:
    """Write the same synthetic case several times, gzipped.

    Args:
        root: new folder for the files.
        cases: number of copies.
        slices: number of slices in each volume.
    """
    root.mkdir()
    volume = generate_volume(0, case=1, size=512, slices=slices)
    for number in range(cases):
        for name, array in (("volume", volume.hu), ("segmentation", volume.labels)):
            nib.save(nib.Nifti1Image(array, volume.affine), root / f"{name}-{number}.nii.gz")


def preparing(root: Path, store: Path, size: int) -> list[Row]:
    """Measure the time and the peak memory of preparing the cases.

    Args:
        root: folder of the volumes.
        store: new folder for the pre-processed slices.
        size: side of the images, pixels.

    Returns:
        Rows of the table: step, measured value, and ratio.
    """
    cases, preprocess = find_cases(root), Preprocess(size=size)
    first = cases[0]

    def prepare(count: int, workers: int) -> None:
        with tempfile.TemporaryDirectory(dir=store.parent) as fresh:
            store_cases(cases[:count], preprocess, fresh, workers)

    with_zlib, with_isal = (fastest(partial(_decompress, first, opener)) for opener in (gzip.open, igzip.open))
    alone = fastest(lambda: prepare(1, workers=1))
    together = fastest(lambda: prepare(len(cases), workers=2)) / len(cases)
    store_cases(cases, preprocess, store)
    again = fastest(lambda: store_cases(cases, preprocess, store))
    unpacked = sum(np.asanyarray(nib.load(path).dataobj).nbytes for path in (first.image, first.label))
    peak = _peak_memory(root, size)
    return [
        ("decompressing a pair with zlib (nibabel's way)", f"{with_zlib:.2f} s", f"{with_zlib / with_isal:.2f} x"),
        ("decompressing a pair with ISA-L, the fastest reader here", f"{with_isal:.2f} s", "1 x"),
        ("preparing a case, alone", f"{alone:.2f} s", f"{alone / with_isal:.2f} x"),
        (f"preparing a case, {len(cases)} by two workers", f"{together:.2f} s", f"{together / with_isal:.2f} x"),
        ("finding that nothing changed", f"{again * 1000:.0f} ms", f"{again / with_isal:.3f} x"),
        ("peak memory of preparing one case at a time", f"{peak / 1e6:.0f} MB", f"{peak / unpacked:.1f} x unpacked"),
    ]


def _decompress(case: Case, opener: Callable[[Path], Any]) -> None:
    for path in (case.image, case.label):
        with opener(path) as file:
            file.read()


def _peak_memory(root: Path, size: int) -> int:
    return peak_memory(
        "import tempfile; from lits_seg.data.layouts import find_cases; from lits_seg.data.store import store_cases;"
        "from lits_seg.data.preprocess import Preprocess",
        "store_cases(find_cases(sys.argv[1]), Preprocess(size=int(sys.argv[2])), tempfile.mkdtemp(dir=sys.argv[3]), 1)",
        *(str(root), str(size), str(root.parent)),
    )
