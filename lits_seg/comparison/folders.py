"""Run folders below a folder: the finished ones are read, the others named."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lits_seg.common.errors import InputError
from lits_seg.runs.folder import CONFIG, FAILED, RESULT, VERSIONS
from lits_seg.runs.result import read_result


@dataclass(frozen=True)
class Run:
    """A finished run: its name (the path below the folder of runs) and what its files say."""

    name: str
    folder: Path
    result: dict[str, Any]
    config: dict[str, Any]
    versions: dict[str, Any]


@dataclass
class Found:
    """The runs of a folder. Of those that are not finished only names; with a reason where there is one."""

    finished: list[Run] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def find_runs(root: str | Path) -> Found:
    """All runs below a folder, by name. Raises ``InputError`` where none is finished."""
    found = Found()
    for folder in _run_folders(Path(root)):
        name = folder.relative_to(root).as_posix()
        if (folder / RESULT).exists():
            try:
                found.finished.append(read_run(folder, name))
            except InputError as error:
                found.unreadable[name] = str(error)
        elif (folder / FAILED).exists():
            found.failed[name] = _last_line(folder / FAILED)
        else:
            found.unfinished.append(name)
    if not found.finished:
        raise InputError(root, f"a folder with finished runs ({RESULT})", _others(found))
    return found


def read_run(folder: Path, name: str) -> Run:
    """A finished run. Raises ``InputError`` for a file that is missing or damaged."""
    result = read_result(folder / RESULT)
    for path in (folder / CONFIG, folder / VERSIONS):
        if not path.exists():
            raise InputError(path, "a run's file", "none")
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
        versions = json.loads((folder / VERSIONS).read_text())
    except Exception as error:  # YAML, OmegaConf and JSON share no class of errors
        raise InputError(folder, f"{CONFIG} and {VERSIONS} that can be read", error) from error
    return Run(name, folder, result, config, versions)


def _run_folders(root: Path) -> list[Path]:
    """Folders with a config, a result or a failure. What lies within a run (``.hydra``, W&B's copies) is no run."""
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        if {CONFIG, RESULT, FAILED} & set(files):
            found.append(Path(place))
            folders.clear()
    return sorted(found)


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _others(found: Found) -> str:
    kinds = {"unfinished": found.unfinished, "failed": found.failed, "unreadable": found.unreadable}
    texts = [f"{len(names)} {kind} ({', '.join(names)})" for kind, names in kinds.items() if names]
    reasons = list(found.unreadable.values())[:1]
    return "; ".join([*texts, *reasons]) or "none"
