"""``lits-seg predict``: write a mask for every CT, on the CT's own grid, with a report."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("predict")

from dataclasses import dataclass
from pathlib import Path

from lits_seg import RESEARCH_USE
from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.settings import Count, Place
from lits_seg.data.layouts import find_cts, find_masks
from lits_seg.inference.exported import ExportedModel
from lits_seg.inference.findings import made_by, one_line
from lits_seg.inference.pipeline import Prediction
from lits_seg.inference.rules import Rules
from lits_seg.inference.segmenter import Segmenter


@dataclass(frozen=True)
class Settings:
    """The settings of ``conf/commands/predict.yaml``."""

    ckpt: list[str] | None
    model: Place | None
    input: Place
    output: Place
    probability: bool
    page: bool
    batch_size: Count
    tta: str
    device: str
    precision: str
    threads: Count | None
    liver: Place | None
    rules: Rules


@entry("commands/predict", Settings)
def main(cfg: Settings) -> None:
    """Predict every CT; name those that cannot be read at the end."""
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
        print(f"{len(cts) - len(errors)} of {len(cts)} CTs predicted, into: {output}\n{RESEARCH_USE}")
    elif new:
        output.rmdir()
    if errors and len(cts) == 1:
        raise errors[0]
    if errors:
        reasons = "\n".join(str(error) for error in errors)
        raise InputError(cfg.input, f"{len(cts)} usable CTs", f"{len(errors)} that cannot be predicted:\n{reasons}")


def _segmenter(cfg: Settings) -> Segmenter:
    """Load the exported model or the checkpoints that the user named."""
    if (cfg.model is None) == (cfg.ckpt is None):
        raise InputError("ckpt and model", "a checkpoint (ckpt=…) or an exported model (model=…)", _given(cfg))
    if cfg.model is not None:
        fixed = {"tta": "none", "device": "auto", "precision": "32"}
        changed = [f"{name}={getattr(cfg, name)}" for name, value in fixed.items() if getattr(cfg, name) != value]
        if changed:
            raise InputError(cfg.model, "no settings of checkpoints: an exported model is fixed", ", ".join(changed))
        return ExportedModel(cfg.model, cfg.threads)
    checkpoints = cfg.ckpt or []
    if not checkpoints or len(set(checkpoints)) < len(checkpoints):
        raise InputError("ckpt", "a checkpoint, or several different ones", ", ".join(checkpoints) or "none")
    try:
        # Takes seconds, and lacks its packages if only exported models are run.
        from lits_seg.inference.ensemble import Ensemble
    except ModuleNotFoundError as error:
        needed = f"{error.name} to run a checkpoint (pip install 'lits_seg[train]'), or an exported model (model=…)"
        raise InputError("ckpt", needed, "not installed") from error
    return Ensemble(checkpoints, cfg.tta, cfg.device, cfg.precision, cfg.threads)


def _given(cfg: Settings) -> str:
    given = {"ckpt": ",".join(cfg.ckpt or ()), "model": cfg.model}
    return ", ".join(f"{name}={value}" for name, value in given.items() if value) or "neither"


def _livers(path: str, names: list[str]) -> dict[str, Path]:
    """Return the liver mask of each CT."""
    found = find_masks(path)
    if Path(path).is_file() and len(names) == 1:
        return dict.fromkeys(names, Path(path))
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(path, "a liver mask for each CT, by file name", f"none for {', '.join(missing)}")
    return found
