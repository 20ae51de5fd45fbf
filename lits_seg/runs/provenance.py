"""Who made it: versions of Python, the packages and the code."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

CODE = (":/lits_seg", ":/conf", ":/hydra_plugins")
PACKAGES = (
    "lits-seg",
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "monai",
    "hydra-core",
    "omegaconf",
    "nibabel",
    "numpy",
)


def versions() -> dict[str, Any]:
    """Versions of Python and the packages, and the code's git commit where it is a checkout."""
    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    found["git_commit"] = _git("rev-parse", "HEAD")
    # What lies beside the code, such as a log, changes no run.
    found["git_dirty"] = bool(_git("status", "--porcelain", "--", *CODE)) if found["git_commit"] else None
    return found


def _git(*arguments: str) -> str | None:
    here = Path(__file__).parents[1]
    if not (here.parent / ".git").exists():
        return None  # installed from a wheel: a repository further up would be somebody else's
    try:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
