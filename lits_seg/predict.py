"""``python -m lits_seg.predict``: write a mask for every CT, on the CT's own grid, with a report."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig

from lits_seg import RESEARCH_USE
from lits_seg.cli import entry, require_number, require_paths
from lits_seg.common.errors import InputError
from lits_seg.data.layouts import find_cts, find_masks
from lits_seg.inference.exported import ExportedModel
from lits_seg.inference.findings import made_by, one_line
from lits_seg.inference.pipeline import Prediction
from lits_seg.inference.rules import Rules
from lits_seg.inference.segmenter import Segmenter


@entry("predict")
def main(cfg: DictConfig) -> None:
    """Predict every CT. Unreadable CTs are reported at the end; the others are predicted."""
    require_paths(cfg, "model", "input", "output", "liver")
    rules: Rules = instantiate(cfg.rules)
    cts = find_cts(cfg.input)
    livers = None if cfg.liver is None else _livers(cfg.liver, list(cts))
    segmenter = _segmenter(cfg)
    facts = made_by(segmenter, rules, cfg.liver)
    predict = Prediction(segmenter, rules, facts, cfg.batch_size, cfg.probability, cfg.page)
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


def _segmenter(cfg: DictConfig) -> Segmenter:
    """Open the exported model or the checkpoints that the user named."""
    require_number(cfg, "threads", or_null=True)
    if (cfg.model is None) == (cfg.ckpt is None):
        raise InputError("ckpt and model", "a checkpoint (ckpt=…) or an exported model (model=…)", _given(cfg))
    if cfg.model is not None:
        fixed = {"tta": "none", "device": "auto", "precision": 32}
        changed = [f"{name}={cfg[name]}" for name, value in fixed.items() if cfg[name] != value]
        if changed:
            raise InputError(cfg.model, "no settings of checkpoints: an exported model is fixed", ", ".join(changed))
        return ExportedModel(cfg.model, cfg.threads)
    checkpoints = [str(path) for path in (cfg.ckpt if isinstance(cfg.ckpt, ListConfig) else [cfg.ckpt])]
    if not checkpoints or len(set(checkpoints)) < len(checkpoints):
        raise InputError("ckpt", "a checkpoint, or several different ones", ", ".join(checkpoints) or "none")
    try:
        # Takes seconds, and needs PyTorch, which a machine for exported models lacks.
        from lits_seg.inference.ensemble import Ensemble
    except ModuleNotFoundError as error:
        needed = f"{error.name} to run a checkpoint (pip install 'lits_seg[train]'), or an exported model (model=…)"
        raise InputError("ckpt", needed, "not installed") from error
    return Ensemble(checkpoints, cfg.tta, cfg.device, cfg.precision, cfg.threads)


def _given(cfg: DictConfig) -> str:
    return ", ".join(f"{name}={cfg[name]}" for name in ("ckpt", "model") if cfg[name] is not None) or "neither"


def _livers(path: str, names: list[str]) -> dict[str, Path]:
    """Find the liver mask of each CT."""
    found = find_masks(path)
    if Path(path).is_file() and len(names) == 1:
        return dict.fromkeys(names, Path(path))
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(path, "a liver mask for each CT, by file name", f"none for {', '.join(missing)}")
    return found


if __name__ == "__main__":
    main()
