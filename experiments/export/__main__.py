"""``python -m experiments.export``: export a checkpoint in every format and precision, and measure each file."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from experiments.export.folds import fold_text, read_folds
from experiments.shared.command import PUBLISHED, command, publish
from lits_seg.common.errors import InputError
from lits_seg.common.settings import CountOrZero, Place
from lits_seg.export import JSON, TEXT

ALL = ("format=[onnx,openvino]", "precision=all")


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    output: Place
    ckpt: Place
    exported: Place
    real: Place | None
    folds: list[str] | None
    patients: CountOrZero | None


@command(
    "export/settings", Settings, {"exports.md": TEXT, "exports.json": JSON, "real.md": TEXT, "folds.md": PUBLISHED}
)
def main(cfg: Settings) -> None:
    """Export the checkpoint, or those of all folds, and write the tables into ``output``."""
    output, exported = Path(cfg.output), Path(cfg.exported)
    if cfg.folds == []:
        raise InputError("folds", "checkpoints of folds, or null", "none")
    if output.resolve() == exported.resolve():
        raise InputError("output", "another folder than exported=", output)
    output.mkdir(parents=True, exist_ok=True)
    if cfg.folds is not None:
        folders = [exported / f"fold{number}" for number in range(len(cfg.folds))]
        for path, folder in zip(cfg.folds, folders, strict=True):
            _export(cfg, f"ckpt={path}", f"output={folder}")
        publish(fold_text(read_folds(folders)), output / "folds.md")
        return
    _export(cfg, f"ckpt={cfg.ckpt}", f"output={exported}")
    for name in ("exports.md", "exports.json"):
        shutil.copyfile(exported / name, output / name)
    if cfg.real is not None:
        _export(cfg, f"ckpt={cfg.ckpt}", f"output={exported / 'real'}", f"references={cfg.real}")
        shutil.copyfile(exported / "real" / "exports.md", output / "real.md")


def _export(cfg: Settings, *arguments: str) -> None:
    patients = "null" if cfg.patients is None else cfg.patients
    arguments = (*ALL, f"patients={patients}", *arguments)
    status = subprocess.run([sys.executable, "-m", "lits_seg.export", *arguments]).returncode
    if status:  # the command has printed the error
        sys.exit(status)


if __name__ == "__main__":
    main()
