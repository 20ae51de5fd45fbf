"""``python -m experiments.export``: export a checkpoint in every format and precision, and measure each file."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from experiments.shared.command import command
from lits_seg.common.errors import InputError
from lits_seg.common.settings import Place
from lits_seg.export import JSON, TEXT

ALL = ("format=[onnx,openvino]", "precision=all", "patients=null")


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    output: Place
    ckpt: Place
    exported: Place
    real: Place | None


@command("export/settings", Settings, {"exports.md": TEXT, "exports.json": JSON, "real.md": TEXT})
def main(cfg: Settings) -> None:
    """Export the checkpoint and copy the tables into ``output``."""
    output, exported = Path(cfg.output), Path(cfg.exported)
    if output.resolve() == exported.resolve():
        raise InputError("output", "another folder than exported=", output)
    output.mkdir(parents=True, exist_ok=True)
    _export(f"ckpt={cfg.ckpt}", f"output={exported}")
    for name in ("exports.md", "exports.json"):
        shutil.copyfile(exported / name, output / name)
    if cfg.real is not None:
        _export(f"ckpt={cfg.ckpt}", f"output={exported / 'real'}", f"references={cfg.real}")
        shutil.copyfile(exported / "real" / "exports.md", output / "real.md")


def _export(*arguments: str) -> None:
    status = subprocess.run([sys.executable, "-m", "lits_seg.export", *ALL, *arguments]).returncode
    if status:  # the command has printed the error
        sys.exit(status)


if __name__ == "__main__":
    main()
