"""Record how a file was made: versions of code and packages, the checkpoint, and the permitted use."""

import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from lits_seg import RESEARCH_USE, __version__
from lits_seg.common.files import sha256

PERMITTED_USE = f"{RESEARCH_USE} Not a medical device: nothing here may guide the care of a patient."
CODE = (":/lits_seg", ":/conf", ":/hydra_plugins")
PACKAGES = (
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "monai",
    "hydra-core",
    "omegaconf",
    "nibabel",
    "numpy",
)


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint at the time when another file was made from it.

    Args:
        path: path as given by the user.
        sha256: SHA-256 of the file in hexadecimal digits.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """How a file was made. JSON files, exports and reports use the field names as keys.

    Args:
        research_use_only: statement of the permitted use.
        lits_seg: version of the package.
        git_commit: commit of the code; None if the package is not a git checkout.
        checkpoint: checkpoint with the network's weights; None if no checkpoint was used.
    """

    research_use_only: str
    lits_seg: str
    git_commit: str | None
    checkpoint: CheckpointFile | None


def provenance(checkpoint: str | Path | None = None) -> Provenance:
    """Return the provenance of a file that this code makes, from a checkpoint if ``checkpoint`` is given."""
    file = None if checkpoint is None else CheckpointFile(str(checkpoint), sha256(checkpoint))
    return Provenance(PERMITTED_USE, __version__, _git("rev-parse", "HEAD"), file)


def versions() -> dict[str, Any]:
    """Return the versions of Python and of packages, and the git commit of a checkout, for ``versions.json``."""
    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    found["lits-seg"] = __version__  # of this code, where an environment has the metadata of another one
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    found["git_commit"] = _git("rev-parse", "HEAD")
    # Changes outside the code, such as a log file, do not affect a run.
    found["git_dirty"] = bool(_git("status", "--porcelain", "--", *CODE)) if found["git_commit"] else None
    return found


def _git(*arguments: str) -> str | None:
    here = Path(__file__).parents[1]
    if not (here.parent / ".git").exists():
        return None  # installed from a wheel: a repository in a parent folder belongs to another project
    try:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
