"""Write and read the slice store: pre-processed axial slices on disk, read at random through memory maps.

The folder of a case is named by the case and a fingerprint of its source files. Its parent folder is named by a
fingerprint of the pre-processing. Therefore stale slices are never read after a setting or a file has changed. A case
is written under a temporary name and renamed when it is complete.

    STORE/<pre-processing>/<case>-<sources>/image.npy   (S, size, size) uint8, the network's input
                                            label.npy   (S, size, size) uint8, 0/1/2
                                            truth.npy   (2, S, H, W/8) bits: liver or lesion, lesion; original grid
                                            case.json   name, shape, spacing, voxel volume, pixel counts, check
"""

import errno
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.data.checks import CaseCheck, check_case
from lits_seg.data.layouts import Case
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.volumes import read_case

STORE_VERSION = 5


@dataclass(frozen=True)
class StoredCase:
    """A case of the store. Each process opens the arrays on first use.

    Args:
        folder: folder of the case in the store.
        name: name of the case.
        shape: shape of the original slices, ``(S, H, W)``.
        spacing: voxel size in mm along W, H and S.
        voxel_ml: volume of a voxel in mL.
        liver_pixels: number of liver and lesion pixels in each of the network's label images.
        lesion_pixels: number of lesion pixels in each of the network's label images.
        check: facts about the case, and warnings.
    """

    folder: Path
    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    voxel_ml: float
    liver_pixels: tuple[int, ...]
    lesion_pixels: tuple[int, ...]
    check: CaseCheck

    @classmethod
    def open(cls, folder: Path) -> "StoredCase":
        """Read ``case.json``, but no arrays."""
        description = json.loads((folder / "case.json").read_text())
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in description.items()}
        return cls(folder=folder, **{**fields, "check": CaseCheck(**description["check"])})

    @cached_property
    def images(self) -> np.ndarray:
        """Map the images, ``(S, size, size)`` uint8."""
        return np.load(self.folder / "image.npy", mmap_mode="r")

    @cached_property
    def labels(self) -> np.ndarray:
        """Map the labels, ``(S, size, size)`` uint8, 0/1/2."""
        return np.load(self.folder / "label.npy", mmap_mode="r")

    @cached_property
    def _truth(self) -> np.ndarray:
        return np.load(self.folder / "truth.npy", mmap_mode="r")

    def truth(self, index: int) -> np.ndarray:
        """Read the labels of one slice at the original resolution, ``(H, W)`` uint8, 0/1/2."""
        planes = np.unpackbits(self._truth[:, index], axis=-1, count=self.shape[2])
        return planes[0] + planes[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict:
        # Worker processes map the files again: pickling a memory map would copy its content.
        return {key: self.__dict__[key] for key in self.__dataclass_fields__}


def store_cases(
    cases: Sequence[Case],
    preprocess: Preprocess,
    store: str | Path,
    workers: int = 2,
    errors: list[InputError] | None = None,
) -> list[StoredCase]:
    """Write the cases that are not in the store yet, and open all cases in the given order.

    Writing a case takes about 1.5 times the memory of its unpacked files.

    Args:
        cases: the files.
        preprocess: converts HU to images.
        store: folder of the store.
        workers: number of cases written in parallel.
        errors: list to which an error is added for each unusable case, which is skipped; None: raise the first error.

    Raises:
        InputError: if a case is unusable, or if the disk is full. Cases that are already written are kept.
    """
    settings = json.dumps({"version": STORE_VERSION, **asdict(preprocess)}, sort_keys=True)
    root = Path(store) / _fingerprint(settings)
    folders = {case: root / f"{case.name}-{_fingerprint(_sources(case))}" for case in cases}
    missing = {case: folder for case, folder in folders.items() if not folder.is_dir()}
    if missing:
        root.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(root)
        (root / "preprocess.json").write_text(settings)
        for error in _write_cases(missing, preprocess, workers):
            if errors is None:
                raise error
            errors.append(error)
    return [StoredCase.open(folder) for folder in folders.values() if folder.is_dir()]


def _write_cases(missing: dict[Case, Path], preprocess: Preprocess, workers: int) -> Iterator[InputError]:
    """Write cases in parallel, with a progress bar by bytes; yield the errors of unusable cases."""
    sizes = {case: sum(path.stat().st_size for path in _files(case)) for case in missing}
    with (
        # For each case, a second thread pre-processes slices while the next slices are decompressed. These threads are
        # pooled, since every new thread would retain some memory.
        ThreadPoolExecutor(max(1, workers)) as image_threads,
        ThreadPoolExecutor(max(1, workers)) as pool,
        tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, desc="preparing slices", disable=None) as bar,
    ):
        written = pool.map(lambda case: _write_case(case, missing[case], preprocess, image_threads), missing)
        for number, (case, error) in enumerate(zip(missing, written, strict=True), start=1):
            bar.set_postfix_str(f"{number} of {len(missing)} cases", refresh=False)
            bar.update(sizes[case])
            if error is not None:
                yield error


def _write_case(case: Case, folder: Path, preprocess: Preprocess, image_threads: Executor) -> InputError | None:
    blocks: dict[int, Future[np.ndarray]] = {}

    def watch(first: int, hu: np.ndarray) -> None:
        blocks[first] = image_threads.submit(preprocess.images, hu)

    try:
        image, label = read_case(case, watch)
    except InputError as error:
        for block in blocks.values():
            block.cancel()
        return error
    labels = preprocess.labels(label.slices)
    description = {
        "name": case.name,
        "shape": label.slices.shape,
        "spacing": image.spacing,
        "voxel_ml": image.voxel_ml,
        "liver_pixels": np.count_nonzero(labels, axis=(1, 2)).tolist(),
        "lesion_pixels": np.count_nonzero(labels > 1, axis=(1, 2)).tolist(),
        "check": asdict(check_case(case, image, label)),
    }
    arrays = {
        "image": np.concatenate([blocks[first].result() for first in sorted(blocks)]),
        "label": labels,
        "truth": np.stack([np.packbits(label.slices > below, axis=-1) for below in (0, 1)]),
    }
    _save(case, folder, arrays, description)
    return None


def _save(case: Case, folder: Path, arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    """Write the folder of a case, completely or not at all."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        (temporary / "case.json").write_text(json.dumps(description))
        temporary.chmod(0o755)
        if not folder.is_dir():  # another process may have written the case in the meantime
            temporary.rename(folder)
    except OSError as error:
        # NumPy's error has no number if an array was written only partly.
        if error.errno not in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        size = sum(array.nbytes for array in arrays.values())
        found = f"a full disk ({error.strerror or error})"
        raise InputError(folder.parent, f"space for {size / 1e6:.0f} MB of case {case.name}", found) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(root: Path) -> None:
    """Remove incomplete cases of killed processes; folders younger than an hour may still be in use."""
    for folder in root.glob(".*"):
        if time.time() - folder.stat().st_mtime > 3600:
            shutil.rmtree(folder, ignore_errors=True)


def _files(case: Case) -> list[Path]:
    return [file for path in (case.image, case.label) for file in (sorted(path.iterdir()) if path.is_dir() else [path])]


def _sources(case: Case) -> str:
    stats = [(str(path.resolve()), path.stat()) for path in _files(case)]
    return json.dumps([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats])


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
