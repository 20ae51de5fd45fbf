"""The slice store: pre-processed axial slices on disk, read at random through memory maps.

One folder a case, named by the case and a fingerprint of its source files, below a folder named by a
fingerprint of the pre-processing: a changed setting or file can never meet stale slices. A case is written
under a temporary name and renamed when it is whole.

    STORE/<pre-processing>/<case>-<sources>/image.npy   (S, size, size) uint8, what the network sees
                                            label.npy   (S, size, size) uint8, 0/1/2
                                            truth.npy   (2, S, H, W/8) bits: liver-or-lesion, lesion, own grid
                                            case.json   name, shape, spacing, pixel counts, warnings
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lits_seg.data.cases import Case
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.volumes import header_warnings, read_case

STORE_VERSION = 1


@dataclass(frozen=True)
class StoredCase:
    """A case of the store. Arrays are opened on first use, in whichever process uses them."""

    folder: Path
    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    liver_pixels: tuple[int, ...]
    lesion_pixels: tuple[int, ...]
    warnings: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path) -> "StoredCase":
        """Reads ``case.json``; no array is touched."""
        description = json.loads((folder / "case.json").read_text())
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in description.items()}
        return cls(folder=folder, **fields)

    @cached_property
    def images(self) -> np.ndarray:
        """``(S, size, size)`` uint8."""
        return np.load(self.folder / "image.npy", mmap_mode="r")

    @cached_property
    def labels(self) -> np.ndarray:
        """``(S, size, size)`` uint8, 0/1/2."""
        return np.load(self.folder / "label.npy", mmap_mode="r")

    @cached_property
    def _truth(self) -> np.ndarray:
        return np.load(self.folder / "truth.npy", mmap_mode="r")

    def truth(self, index: int) -> np.ndarray:
        """The labels of one slice at the case's own resolution, ``(H, W)`` uint8, 0/1/2."""
        planes = np.unpackbits(self._truth[:, index], axis=-1, count=self.shape[2])
        return planes[0] + planes[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict:
        # Workers map the files themselves; a pickled memory map would travel as its whole content.
        return {key: self.__dict__[key] for key in self.__dataclass_fields__}


def store_cases(cases: Sequence[Case], preprocess: Preprocess, store: str | Path, workers: int = 2) -> list[StoredCase]:
    """Writes the cases that the store lacks, and opens them all, in the order given.

    Raises ``InputError`` for the first case that cannot be used; those written before stay.
    """
    settings = json.dumps({"version": STORE_VERSION, **asdict(preprocess)}, sort_keys=True)
    root = Path(store) / _fingerprint(settings)
    folders = [root / f"{case.name}-{_fingerprint(_sources(case))}" for case in cases]
    missing = [(case, folder) for case, folder in zip(cases, folders, strict=True) if not folder.is_dir()]
    if missing:
        root.mkdir(parents=True, exist_ok=True)
        (root / "preprocess.json").write_text(settings)
        with ThreadPoolExecutor(max(1, workers)) as pool:
            written = pool.map(lambda pair: _write_case(pair[0], pair[1], preprocess), missing)
            for _ in tqdm(written, total=len(missing), desc="preparing slices", unit="case"):
                pass
    return [StoredCase.open(folder) for folder in folders]


def _write_case(case: Case, folder: Path, preprocess: Preprocess) -> None:
    image, label = read_case(case)
    labels = preprocess.labels(label.slices)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        np.save(temporary / "image.npy", preprocess.images(image.slices))
        np.save(temporary / "label.npy", labels)
        np.save(temporary / "truth.npy", np.packbits(np.stack([label.slices > 0, label.slices > 1]), axis=-1))
        description = {
            "name": case.name,
            "shape": label.slices.shape,
            "spacing": image.spacing,
            "liver_pixels": (labels > 0).sum(axis=(1, 2)).tolist(),
            "lesion_pixels": (labels > 1).sum(axis=(1, 2)).tolist(),
            "warnings": header_warnings(case),
        }
        (temporary / "case.json").write_text(json.dumps(description))
        temporary.chmod(0o755)
        if not folder.is_dir():  # else another process was faster
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sources(case: Case) -> str:
    stats = [(str(path.resolve()), path.stat()) for path in (case.image, case.label)]
    return json.dumps([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats])


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
