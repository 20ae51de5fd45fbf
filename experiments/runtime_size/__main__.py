"""``python -m experiments.runtime_size``: measure the size of fresh environments and the start time of a command."""

import json
import subprocess
import tempfile
import venv
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from annotated_types import Len

from experiments.shared.command import PUBLISHED, command, publish
from lits_seg.common.errors import InputError
from lits_seg.common.settings import Place, Rounds
from lits_seg.common.tables import markdown
from lits_seg.common.timing import fastest
from lits_seg.models.cost import processor

TOOLS = ("pip", "setuptools")  # packages that are not counted
START = ("-m", "lits_seg.predict", "--help")


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    output: Place
    extras: Annotated[list[str], Len(1, 20)]
    passes: Rounds


@command("runtime_size/settings", Settings, {"environments.md": PUBLISHED})
def main(cfg: Settings) -> None:
    """Measure, print the table and write the table into ``output``."""
    if not Path("pyproject.toml").exists():
        raise InputError(Path.cwd(), "the repository's root (pyproject.toml)", "another folder")
    rows = [_environment(extra, cfg.passes) for extra in cfg.extras]
    text = "\n".join(
        [
            "# Environments",
            "",
            markdown(["environment", "packages", "MB", "start of a command, s"], rows, right=True),
            "",
            f"Start: `python {' '.join(START)}`, the fastest of {cfg.passes}; {processor()}.",
            "Written by `python -m experiments.runtime_size`.",
            "",
        ]
    )
    publish(text, Path(cfg.output) / "environments.md")


def _environment(extra: str, passes: int) -> list[str]:
    """Install an extra into a fresh environment and return its row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        install = partial(_run, python, "-m", "pip", "install", "--quiet", "-c", "constraints.txt")
        if extra not in ("", "runtime"):
            install("torch")  # installed alone, so that pip takes a CPU build if the index offers one
        name = f".[{extra}]" if extra else "."
        install(name)
        installed = json.loads(_run(python, "-m", "pip", "list", "--format=json"))
        packages = [one for one in installed if one["name"] not in TOOLS]
        start = fastest(lambda: _run(python, *START), passes)
        return [f"`{name}`", str(len(packages)), f"{_megabytes(Path(folder)):.0f}", f"{start:.2f}"]


def _run(python: Path, *arguments: str) -> str:
    return subprocess.run([python, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def _megabytes(folder: Path) -> float:
    packages = next(folder.glob("lib/python*/site-packages"))
    files = [path for path in packages.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files if path.relative_to(packages).parts[0] not in TOOLS) / 2**20


if __name__ == "__main__":
    main()
