"""Write and read the slice store: pre-processed axial slices on disk, read at random through memory maps.

The folder of a case is named by the case and a fingerprint of its source files. Its parent folder is named by a
fingerprint of the pre-processing. Therefore stale slices are never read after a setting or a file has changed. A case
is written under a temporary name and renamed when it is complete.

    STORE/<pre-processing>/<case>-<sources>/image.npy   (S, size, size) uint8, the network's input
                                            label.npy   (S, size, size) uint8, 0/1/2
                                            truth.npy   (2, S, H, W/8) bits: liver or lesion, lesion; original grid
                                            case.json   shape, spacing, pixel counts, check, fingerprint …
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.common.files import short_hash, write_text
from lits_seg.data.checks import CaseCheck, check_case
from lits_seg.data.crop import Crop
from lits_seg.data.fingerprints import fingerprint
from lits_seg.data.grid import Grid
from lits_seg.data.layouts import Case
from lits_seg.data.nnunet import OURS, label_values
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.stored_case import StoredCase, save_case
from lits_seg.data.volumes import Volume, read_case

log = logging.getLogger(__name__)

STORE_VERSION = 6
DESCRIPTION = "preprocess.json"
NAME = 100  # bytes of a case's name in the name of its folder; file systems allow 255 in all


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
        InputError: if a case is unusable, if the disk is full, or if the store cannot be written. Cases that are
            already written are kept.
    """
    settings, root = _place(preprocess, store)
    found = {case: _open(case, root) for case in cases}
    missing = {case: folder for case, folder in found.items() if isinstance(folder, Path)}
    if not _is(root / DESCRIPTION, settings) or missing:
        _prepare_folder(root, settings)
        for case, written in _write_cases(missing, preprocess, workers):
            found[case] = written
            if errors is None and isinstance(written, InputError):
                raise written
    for error in found.values():
        if isinstance(error, InputError):
            if errors is None:
                raise error
            errors.append(error)
    return _stored(found)


def open_cases(cases: Sequence[Case], preprocess: Preprocess, store: str | Path) -> list[StoredCase]:
    """Open the cases that ``store_cases`` has written, in the given order; leave out the others, which are not read.

    Args:
        cases: the files.
        preprocess: see ``store_cases``.
        store: folder of the store.
    """
    _, root = _place(preprocess, store)
    return _stored({case: _open(case, root) for case in cases})


def _place(preprocess: Preprocess, store: str | Path) -> tuple[str, Path]:
    """Return the description of a pre-processing, and its folder."""
    settings = json.dumps({"version": STORE_VERSION, **preprocess.plain()}, sort_keys=True)
    return settings, Path(store) / short_hash(settings.encode())


def _stored(found: Mapping[Case, StoredCase | Path | InputError]) -> list[StoredCase]:
    return [replace(stored, ct=case.image) for case, stored in found.items() if isinstance(stored, StoredCase)]


def _open(case: Case, root: Path) -> StoredCase | Path | InputError:
    """Return a case from the store, the folder into which to write the case, or the error of unreadable sources."""
    try:
        sources = _sources(case)
    except OSError as error:
        return InputError(error.filename, "a readable file", error.strerror)
    folder = root / f"{os.fsdecode(os.fsencode(case.name)[:NAME])}-{short_hash(sources.encode())}"
    try:
        return StoredCase.open(folder)
    except InputError as error:
        if os.path.lexists(folder):
            log.warning("%s; the case is written anew", error)
        return folder


def _prepare_folder(root: Path, settings: str) -> None:
    """Create the folder of a pre-processing, describe it, and remove incomplete cases of killed processes."""
    try:
        if not root.is_dir():
            root.mkdir(parents=True, exist_ok=True)
        elif not _is(root / DESCRIPTION, settings):
            log.warning("%s: missing or damaged; the file is written anew", root / DESCRIPTION)
        if not _is(root / DESCRIPTION, settings):
            write_text(root / DESCRIPTION, settings)
    except OSError as error:
        raise InputError(root, "a folder to write the slice store to (store=…)", error.strerror) from error
    for folder in root.glob(".*/"):
        with suppress(FileNotFoundError):  # another process has finished its case
            if time.time() - folder.stat().st_mtime > 3600:  # younger folders may be in use
                shutil.rmtree(folder, ignore_errors=True)


def _write_cases(
    missing: dict[Case, Path], preprocess: Preprocess, workers: int
) -> Iterator[tuple[Case, StoredCase | InputError]]:
    """Write cases in parallel, with a progress bar by bytes."""
    sizes = {case: sum(path.stat().st_size for path in _files(case)) for case in missing}
    with (
        # For each case, a second thread pre-processes slices while the next slices are decompressed. These threads are
        # pooled, since every new thread would retain some memory.
        ThreadPoolExecutor(max(1, workers)) as image_threads,
        ThreadPoolExecutor(max(1, workers)) as pool,
        tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, desc="preparing slices", disable=None) as bar,
    ):
        written = pool.map(lambda case: _write_case(case, missing[case], preprocess, image_threads), missing)
        try:
            for number, (case, result) in enumerate(zip(missing, written, strict=True), start=1):
                bar.set_postfix_str(f"{number} of {len(missing)} cases", refresh=False)
                bar.update(sizes[case])
                yield case, result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after an error, only the cases at work are finished


def _write_case(case: Case, folder: Path, preprocess: Preprocess, image_threads: Executor) -> StoredCase | InputError:
    blocks: dict[int, Future[np.ndarray]] = {}

    def watch(first: int, hu: np.ndarray, grid: Grid) -> None:
        blocks[first] = image_threads.submit(preprocess.images, hu, grid.pixel_mm)

    try:
        image, label = read_case(case, watch)
        images = np.concatenate([blocks[first].result() for first in sorted(blocks)])
        check = _with_cut(check_case(case, image, label), case, image, label, preprocess)
        voxels = fingerprint(image.slices, label.slices)
    except InputError as error:
        return error
    # A damaged file may raise anything; the other cases are written nevertheless, and the error is reported.
    except Exception as error:
        return InputError(case.image, "a readable pair of CT and labels", f"{type(error).__name__}: {error}")
    finally:
        for block in blocks.values():
            block.cancel()
    labels = preprocess.labels(label.slices, image.pixel_mm)
    stored = StoredCase(
        folder,
        case.name,
        label.slices.shape,
        image.spacing,
        image.voxel_ml,
        tuple(np.count_nonzero(labels, axis=(1, 2)).tolist()),
        tuple(np.count_nonzero(labels > 1, axis=(1, 2)).tolist()),
        check,
        voxels,
    )
    truth = np.stack([np.packbits(label.slices > below, axis=-1) for below in (0, 1)])
    return save_case(stored, {"image": images, "label": labels, "truth": truth})


def _with_cut(check: CaseCheck, case: Case, image: Volume, label: Volume, preprocess: Preprocess) -> CaseCheck:
    """Add a warning to the check of a case if its images do not show the whole body."""
    if preprocess.spacing is None:
        return check
    crop = Crop(preprocess.size, preprocess.spacing, image.pixel_mm)
    for hu in image.slices:
        crop.add(hu[None])
    found = crop.warnings(case.image, crop.count(label.slices > 0))
    return replace(check, warnings=[*check.warnings, *found], cut=crop.lost if found else 0.0)


def _is(path: Path, text: str) -> bool:
    return os.path.isfile(path) and path.read_bytes() == text.encode()


def _files(case: Case) -> list[Path]:
    return [file for path in (case.image, case.label) for file in (sorted(path.iterdir()) if path.is_dir() else [path])]


def _sources(case: Case) -> str:
    stats = [(str(path.resolve()), path.stat()) for path in _files(case)]
    files = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    values = label_values(case.label)
    return json.dumps(files if values == OURS else [*files, values])
