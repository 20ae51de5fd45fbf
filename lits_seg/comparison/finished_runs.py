"""Find run folders in a folder or an archive, read the finished runs and name the others."""

import json
import lzma
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lits_seg.common.errors import InputError
from lits_seg.common.records import read_json, read_record
from lits_seg.comparison.plausible import require_plausible
from lits_seg.postprocess.fitting import Calibration
from lits_seg.runs.folder import CALIBRATED, CONFIG, FAILED, RESULT, VERSIONS, finished, read_config
from lits_seg.runs.naming import decoder_levels, decoder_name
from lits_seg.runs.result import RunResult, read_result
from lits_seg.training.pictures import history

LARGEST_ARCHIVE = 2**31  # bytes when unpacked
MOST_FILES = 100_000  # in an archive; empty files take no bytes there, but time and space on the disk
RUN_FILES = {CONFIG, RESULT, FAILED}


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        name: path of the run below the folder of runs.
        folder: the run's folder.
        result: content of ``result.json``; the decoder's name is taken from the configuration.
        config: the resolved configuration.
        versions: versions of the code and of installed packages, by name.
        curves: logged values by name and step.
        calibration: content of ``best_calibrated.json``; None if the checkpoint is not calibrated.
    """

    name: str
    folder: Path
    result: RunResult
    config: dict[str, Any]
    versions: dict[str, Any]
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    calibration: Calibration | None = None


@dataclass
class Found:
    """The runs in a folder: those with scores of lesions, and the names of all others with the reason, if known."""

    finished: list[Run] = field(default_factory=list)
    livers: list[str] = field(default_factory=list)  # finished runs of networks that find livers only
    untested: list[str] = field(default_factory=list)  # finished runs that had no patient to test
    unfinished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


@contextmanager
def opened(runs: str | Path) -> Iterator[Path]:
    """Yield the folder of runs; an archive is unpacked into a temporary folder, which is deleted afterwards.

    An error about an unpacked file names the archive.

    Raises:
        InputError: if ``runs`` is missing, or a file, but not an archive that can be unpacked safely.
    """
    if not Path(runs).exists():
        raise InputError(runs, "a folder with finished runs, or an archive of one", "no such file or folder")
    if not Path(runs).is_file():
        yield Path(runs)
        return
    with tempfile.TemporaryDirectory(prefix="lits_seg-") as temporary:
        root = Path(temporary)
        unpack(Path(runs), root)
        inside = list(root.iterdir())
        if len(inside) == 1 and inside[0].is_dir() and not _is_run(os.listdir(inside[0])):
            (root,) = inside  # the folder that was packed, whose name is not part of a run's name
        try:
            yield root
        except InputError as error:
            error.args = (str(error).replace(str(root), str(runs)),)
            raise


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive of run folders.

    Args:
        archive: a tar file, plain or compressed by gzip, bzip2 or xz.
        folder: an empty folder to unpack into.

    Raises:
        InputError: if the file is not an archive, has more than 100,000 files or 2 GiB when
            unpacked, or would write outside the folder.
    """
    expected = "an archive of run folders (.tar, .tar.gz, .tar.xz)"
    try:
        with tarfile.open(archive) as tar:
            size = 0
            for count, member in enumerate(tar, start=1):
                size += member.size
                if size > LARGEST_ARCHIVE or count > MOST_FILES:
                    limits = f"at most {MOST_FILES} files and {LARGEST_ARCHIVE >> 30} GiB unpacked"
                    raise InputError(archive, f"{expected} of {limits}", "a larger archive")
            tar.extractall(folder, filter="data")  # rejects devices, and paths and links out of the folder
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise InputError(archive, expected, error) from error


def find_runs(root: str | Path) -> Found:
    """Read all runs below a folder, sorted by name.

    Args:
        root: folder of runs.

    Raises:
        InputError: if no run is finished.
    """
    found = Found()
    for folder in _run_folders(Path(root)):
        name = _printable(folder.relative_to(root).as_posix())
        if (folder / RESULT).exists():
            try:
                run = read_run(folder, name)
                if run.result.structure == "liver":
                    found.livers.append(name)
                else:
                    found.finished.append(run)
            except InputError as error:
                found.unreadable[name] = _printable(str(error).replace(f"{root}/", ""))
        elif finished(folder):
            found.untested.append(name)
        elif (folder / FAILED).exists():
            found.failed[name] = _last_line(folder / FAILED)
        else:
            found.unfinished.append(name)
    if not found.finished:
        raise InputError(root, f"a folder with finished runs ({RESULT})", _others(found))
    return found


def read_run(folder: Path, name: str) -> Run:
    """Read and validate all files of a finished run from which tables and figures are made.

    Args:
        folder: the run's folder.
        name: path of the run below the folder of runs.

    Raises:
        InputError: if a file is missing or damaged, or contains a value that no run has.
    """
    result = read_result(folder / RESULT)
    require_plausible(result, folder / RESULT)
    config = read_config(folder)
    versions = read_json(folder / VERSIONS, "versions of packages")
    for file, plain in ((CONFIG, config), (VERSIONS, versions)):
        try:
            json.dumps(plain, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:  # bytes, and characters that no file can contain
            raise InputError(folder / file, "texts, numbers, true, false and null", error) from error
    if not isinstance(versions, dict):
        raise InputError(folder / VERSIONS, "versions of packages by name", versions)
    levels, made = config["model"].get("upsample"), config["data"].get("generate")
    if levels is not None and not (isinstance(levels, list) and all(isinstance(level, str) for level in levels)):
        raise InputError(folder / CONFIG, "model.upsample: a list of names, or null", levels)
    if made is not None and not isinstance(made, dict):
        raise InputError(folder / CONFIG, "data.generate: settings by name, or null", made)
    # Earlier versions stored the choice in conf/decoder as the name, even if decoder.levels was overridden.
    result = replace(result, decoder=decoder_name(config["model"]), levels=decoder_levels(config["model"]))
    calibrated = folder / CALIBRATED
    calibration = read_record(Calibration, calibrated) if calibrated.exists() else None
    return Run(name, folder, result, json.loads(json.dumps(config)), versions, history(folder), calibration)


def _run_folders(root: Path) -> list[Path]:
    """Return the folders with a config, a result or a failure, each once, without looking for runs inside a run."""
    found, seen = [], set()
    for place, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        visible = [folder for folder in folders if not folder.startswith(".")]
        folders[:] = sorted(visible, key=lambda folder: (os.path.islink(os.path.join(place, folder)), folder))
        if _is_run(files):
            found.append(Path(place))
            folders.clear()
    return sorted(found)


def _is_run(files: list[str]) -> bool:
    return not RUN_FILES.isdisjoint(files)


def _last_line(path: Path) -> str:
    text = path.read_text(errors="replace") if path.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _printable(lines[-1]) if lines else ""


def _printable(text: str) -> str:
    """Return a text that any file and terminal can show; names of files may contain any bytes."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _others(found: Found) -> str:
    kinds = {
        "of livers only": found.livers,
        "without test patients": found.untested,
        "unfinished": found.unfinished,
        "failed": found.failed,
        "unreadable": found.unreadable,
    }
    texts = [f"{len(names)} {kind} ({', '.join(names)})" for kind, names in kinds.items() if names]
    reasons = list(found.unreadable.values())[:1]
    return "; ".join([*texts, *reasons]) or "none"
