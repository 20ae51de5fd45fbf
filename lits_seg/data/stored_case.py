"""Read and write the folder of one case in the slice store; a folder that differs from what was written is damaged."""

import errno
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from lits_seg.common.errors import InputError
from lits_seg.common.files import short_hash
from lits_seg.data.checks import CaseCheck
from lits_seg.data.fingerprints import Fingerprint

DESCRIPTION = "case.json"
HEADER = 128  # bytes of NumPy's header, with type and shape


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
        fingerprint: hashes of the original voxels.
        source: name of the case's data set, see ``sources``; not in the store.
        lesions_known: whether all lesions are labelled; not in the store.
        maps: files of probability maps, see ``probability_maps``; not in the case's folder.
        ct: file or folder of the CT in HU; not in the store.
    """

    folder: Path
    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    voxel_ml: float
    liver_pixels: tuple[int, ...]
    lesion_pixels: tuple[int, ...]
    check: CaseCheck
    fingerprint: Fingerprint
    source: str = ""
    lesions_known: bool = True
    maps: tuple[Path, ...] = ()
    ct: Path | None = None

    @classmethod
    def open(cls, folder: Path) -> "StoredCase":
        """Read ``case.json``, and verify type, shape and size of the arrays without reading them.

        Raises:
            InputError: if a file is missing or damaged.
        """
        path = folder / DESCRIPTION
        try:
            description = json.loads(_regular(path).read_bytes())
            if description.pop("sha256") != short_hash(json.dumps(description).encode()):
                raise ValueError("other values")
            for name, facts in description.pop("arrays").items():
                path = folder / f"{name}.npy"
                if _facts(path) != facts:
                    raise ValueError("another size or header")
        # A damaged JSON file may hold anything: a list, a text, very deep nesting.
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(path, "a file as the slice store wrote it", error) from error
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in description.items()}
        check, voxels = CaseCheck(**description["check"]), Fingerprint.parse(description["fingerprint"])
        return cls(folder=folder, **{**fields, "check": check, "fingerprint": voxels})

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

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Return the size of the original slices' pixels in mm along H and W."""
        return self.spacing[1], self.spacing[0]

    @cached_property
    def _maps(self) -> list[np.ndarray]:
        return [np.load(path, mmap_mode="r") for path in self.maps]

    def probability(self, index: int) -> np.ndarray:
        """Read the probability maps of one slice, ``(maps, size, size)`` float16 in [0, 1]."""
        return np.stack([values[index] for values in self._maps]).astype(np.float16) / np.float16(255)

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict:
        # Worker processes map the files again: pickling a memory map would copy its content.
        return {key: self.__dict__[key] for key in self.__dataclass_fields__}


def save_case(case: StoredCase, arrays: dict[str, np.ndarray]) -> StoredCase:
    """Write the folder of a case, completely or not at all, unless another process has written it in the meantime.

    Args:
        case: the case; a damaged folder in its place is replaced.
        arrays: the arrays by name.

    Returns:
        The case as it is in the store.

    Raises:
        InputError: if the disk is full, or the store cannot be written.
    """
    root = case.folder.parent
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".", dir=root))
        whole = temporary / "whole"
        whole.mkdir()
        for name, array in arrays.items():
            np.save(whole / f"{name}.npy", array)
        description = {**asdict(case), "fingerprint": str(case.fingerprint)}
        for name in ("folder", "source", "lesions_known", "maps", "ct"):
            del description[name]
        description["arrays"] = {name: _facts(whole / f"{name}.npy") for name in arrays}
        description = {"sha256": short_hash(json.dumps(description).encode()), **description}
        (whole / DESCRIPTION).write_text(json.dumps(description))
        with FileLock(root / ".lock"):
            try:
                return StoredCase.open(case.folder)
            except InputError:
                if os.path.lexists(case.folder):
                    case.folder.rename(temporary / "damaged")
                whole.rename(case.folder)
        return StoredCase.open(case.folder)
    except OSError as error:
        raise _unwritable(case, sum(array.nbytes for array in arrays.values()), error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _unwritable(case: StoredCase, size: int, error: OSError) -> InputError:
    # NumPy's error has no number if an array was written only partly.
    if error.errno not in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(case.folder.parent, "a folder to write the slice store to (store=…)", error.strerror)
    found = f"a full disk ({error.strerror or error})"
    return InputError(case.folder.parent, f"space for {size / 1e6:.0f} MB of case {case.name}", found)


def _facts(path: Path) -> list[int | str]:
    """Return size and hash of the header of an array's file, which together determine type and shape."""
    with _regular(path).open("rb") as file:
        return [path.stat().st_size, short_hash(file.read(HEADER))]


def _regular(path: Path) -> Path:
    if not path.is_file():  # opening a pipe would wait for ever
        raise ValueError("no such file")
    return path
