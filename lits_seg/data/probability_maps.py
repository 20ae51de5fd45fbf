"""Store probability maps that ``predict`` has written, at the size of the network's images, to learn from them.

STORE/probability/<case>-<sources>.npy   (S, size, size) uint8, 255 = 1
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lits_seg.common.errors import InputError
from lits_seg.common.files import short_hash
from lits_seg.data.dicom import find_series
from lits_seg.data.file_names import composed, mask_name
from lits_seg.data.grid import Grid, same_place
from lits_seg.data.layouts import PROBABILITY, find_cases, find_maps
from lits_seg.data.nifti import open_nifti
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.stored_case import StoredCase
from lits_seg.data.volumes import read_volume
from lits_seg.data.walk import entries

ROUNDING = 1e-3  # of stored probabilities


def with_maps(
    cases: Sequence[StoredCase],
    folders: Sequence[Path],
    roots: Mapping[str, Path],
    preprocess: Preprocess,
    store: Path,
) -> list[StoredCase]:
    """Return cases with their probability maps, one of each folder, which are stored if they are new.

    Maps have the names that ``predict`` gives them. Maps of a further data set are in a subfolder of its name; the
    patients of a data set without such a subfolder have no maps.

    Args:
        cases: the cases.
        folders: outputs of ``predict``, or their subfolders ``probability``.
        roots: folder with the CTs of each data set, by its name; empty for ``data.root``.
        preprocess: converts CTs to the network's images.
        store: folder of the store.

    Raises:
        InputError: if cases lack a map, or a map is damaged, has another grid than its CT, or has other values.
    """
    cts = {
        (source, f"{source}-{case.name}" if source else case.name): (mask_name(root, case.image), case.image)
        for source, root in roots.items()
        for case in find_cases(root, unpaired=[])
    }
    found: dict[str, list[tuple[Path, Path]]] = {case.name: [] for case in cases}
    for folder in folders:
        for source in roots:
            own = [case for case in cases if case.source == source]
            maps = _maps(folder, source)
            missing = [case.name for case in own if cts[source, case.name][0] not in maps]
            if missing and (maps or not source):
                expected = "a map of every training patient (lits-seg predict probability=true)"
                raise InputError(folder / source, expected, f"none for {', '.join(missing)}")
            for case in own if maps else []:
                name, ct = cts[source, case.name]
                found[case.name].append((maps[name], ct))
    return [
        replace(case, maps=tuple(_stored(path, ct, case, preprocess, store) for path, ct in found[case.name]))
        for case in tqdm(cases, desc="preparing probability maps", unit="patient", disable=None)
    ]


def _maps(folder: Path, source: str) -> dict[str, Path]:
    """Return the maps of a data set in a folder by their names."""
    inside = folder / PROBABILITY
    inside = inside if inside.is_dir() else folder
    own = [path for path in entries(inside) if composed(path.name) == source] if source else [inside]
    return find_maps(own[0]) if own else {}


def _stored(path: Path, ct: Path, case: StoredCase, preprocess: Preprocess, store: Path) -> Path:
    """Write a map to the store, unless the map is there, and return its file."""
    stat = os.stat(path)
    sources = f"{case.folder.parent.name} {path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    file = store / PROBABILITY / f"{case.folder.name}-{short_hash(sources.encode())}.npy"
    if _is_map(file, case):
        return file
    volume, grid = read_volume(path), _grid(ct)
    if volume.slices.shape != case.shape or not same_place(grid, volume):
        raise InputError(path, f"the grid of {ct} ({grid})", volume)
    low, high = float(volume.slices.min()), float(volume.slices.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(path, "probabilities between 0 and 1", f"values from {low:g} to {high:g}")
    images = replace(preprocess, window=(0.0, 1.0), equalize=False).images(volume.slices, case.pixel_mm)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.npy")
    try:
        np.save(temporary, images)
        temporary.replace(file)
    except OSError as error:
        raise InputError(file.parent, f"space for {images.nbytes / 1e6:.0f} MB", error.strerror or error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return file


def _is_map(file: Path, case: StoredCase) -> bool:
    """Return whether a file of the store holds a map of a case; a damaged file is written anew."""
    try:
        stored = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return stored.dtype == np.uint8 and stored.shape == case.labels.shape


def _grid(ct: Path) -> Grid:
    if ct.is_dir():
        series = find_series(ct)
        return Grid(series.affine, series.shape)
    with open_nifti(ct) as image:
        return Grid(image.affine, image.shape)
