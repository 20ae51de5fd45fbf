"""``lits-seg predict``: write a mask on the CT's own grid and a report for every CT."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("predict")

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lits_seg import RESEARCH_USE
from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.settings import BatchSize, Place, Threads
from lits_seg.data.layouts import find_cts, find_masks
from lits_seg.inference.ct_report import made_by, one_line
from lits_seg.inference.exported import ExportedModel
from lits_seg.inference.pipeline import Prediction
from lits_seg.inference.rules import Rules
from lits_seg.inference.segmenter import Segmenter


@dataclass(frozen=True)
class Settings:
    """The settings in ``conf/commands/predict.yaml``."""

    ckpt: list[str] | None
    model: Place | None
    input: Place
    output: Place
    probability: bool
    page: bool
    batch_size: BatchSize
    tta: Literal["none", "flips", "rotations", "all"]
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["32", "bf16"]
    threads: Threads | None
    liver: Place | None
    rules: Rules


@entry("commands/predict", Settings)
def main(cfg: Settings) -> None:
    """Predict every CT; report those that failed at the end."""
    cts = find_cts(cfg.input)
    livers = None if cfg.liver is None else _livers(cfg.liver, list(cts))
    segmenter = _segmenter(cfg)
    facts = made_by(segmenter, cfg.rules, cfg.liver)
    predict = Prediction(segmenter, cfg.rules, facts, cfg.batch_size, cfg.probability, cfg.page)
    output = Path(cfg.output)
    new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    errors = []
    for name, path in cts.items():
        try:
            report = predict(name, path, output, None if livers is None else livers[name])
        except InputError as error:
            errors.append(error)
            continue
        print(one_line(name, report), *(f"warning: {text}" for text in report.warnings), sep="\n", flush=True)
    if len(errors) < len(cts):
        print(f"{len(cts) - len(errors)} of {len(cts)} CTs predicted, written to: {output}\n{RESEARCH_USE}")
    elif new:
        output.rmdir()
    if errors and len(cts) == 1:
        raise errors[0]
    if errors:
        reasons = "\n".join(str(error) for error in errors)
        raise InputError(cfg.input, f"{len(cts)} usable CTs", f"{len(errors)} unusable:\n{reasons}")


def _segmenter(cfg: Settings) -> Segmenter:
    """Load the exported model or the checkpoints in the settings."""
    if (cfg.model is None) == (cfg.ckpt is None):
        raise InputError("ckpt and model", "a checkpoint (ckpt=…) or an exported model (model=…)", _given(cfg))
    if cfg.model is not None:
        fixed = {"tta": "none", "device": "auto", "precision": "32"}
        changed = [f"{name}={getattr(cfg, name)}" for name, value in fixed.items() if getattr(cfg, name) != value]
        if changed:
            raise InputError(cfg.model, "only settings that apply to exported models", ", ".join(changed))
        return ExportedModel(cfg.model, cfg.threads)
    checkpoints = cfg.ckpt or []
    if not checkpoints or len(set(checkpoints)) < len(checkpoints):
        raise InputError("ckpt", "a checkpoint, or several different ones", ", ".join(checkpoints) or "none")
    try:
        # Imported only if needed: the import takes seconds, and `lits_seg[runtime]` does not install PyTorch.
        from lits_seg.inference.ensemble import Ensemble
    except ModuleNotFoundError as error:
        needed = f"{error.name} to run a checkpoint (pip install 'lits_seg[train]'), or an exported model (model=…)"
        raise InputError("ckpt", needed, "not installed") from error
    return Ensemble(checkpoints, cfg.tta, cfg.device, cfg.precision, cfg.threads)


def _given(cfg: Settings) -> str:
    given = {"ckpt": ",".join(cfg.ckpt or ()), "model": cfg.model}
    return ", ".join(f"{name}={value}" for name, value in given.items() if value) or "neither"


def _livers(path: str, names: list[str]) -> dict[str, Path]:
    """Return the liver mask of each CT; a single mask file is used for a single CT of any name.

    Args:
        path: a mask file or a folder with masks.
        names: names of the CTs' masks.
    """
    found = find_masks(path)
    if Path(path).is_file() and len(names) == 1:
        return dict.fromkeys(names, Path(path))
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(path, "a liver mask for each CT, with its mask's name", f"none for {', '.join(missing)}")
    return found
