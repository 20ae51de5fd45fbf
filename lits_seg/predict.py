"""``lits-seg predict``: write a mask on the CT's own grid and a report for every CT."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("predict")

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lits_seg import RESEARCH_USE
from lits_seg.cli import as_input_error, entry
from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError
from lits_seg.common.ownership import require_not_inputs
from lits_seg.common.settings import BatchSize, Place, Threads
from lits_seg.data.layouts import find_cts, find_masks
from lits_seg.inference.ct_report import CtReport, made_by, one_line
from lits_seg.inference.exported import ExportedModel
from lits_seg.inference.pipeline import Prediction, outputs
from lits_seg.inference.segmenter import Segmenter
from lits_seg.packaged import card as packaged
from lits_seg.postprocess import Changes

AT_ONCE = 4  # batches on as many threads, whose memory does not grow with the number of cores


@dataclass(frozen=True)
class Settings:
    """The settings in ``conf/commands/predict.yaml``."""

    ckpt: list[str] | None
    liver_ckpt: Place | None
    model: Place | None
    input: Place
    output: Place
    probability: bool
    page: bool
    seg: bool
    batch_size: BatchSize
    tta: Literal["none", "flips", "rotations", "all"]
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["32", "bf16"]
    threads: Threads | None
    liver: Place | None
    rules: Changes


@entry("commands/predict", Settings)
def main(cfg: Settings) -> None:
    """Predict every CT; report those that failed at the end."""
    cfg = _with_paths(cfg)
    cts = find_cts(cfg.input)
    errors: list[InputError] = []
    livers = {} if cfg.liver is None else _livers(cfg.liver, list(cts), errors)
    products = {"probability": cfg.probability, "page": cfg.page, "seg": cfg.seg}
    output, networks = Path(cfg.output), (*(cfg.ckpt or ()), cfg.liver_ckpt, cfg.model)
    models = [Path(path) for path in networks if path is not None]
    targets = (target for name, path in cts.items() for target in outputs(name, path, output, **products))
    require_not_inputs([output, *targets], [*cts.values(), *livers.values(), *models])
    segmenter = _segmenter(cfg)
    if cfg.rules.lesions_within_liver_mm is not None and not segmenter.finds_liver and cfg.liver is None:
        expected = "a network that finds the liver, or liver masks (liver=MASKS)"
        raise InputError("rules.lesions_within_liver_mm", expected, "a network that finds no liver")
    rules = cfg.rules.of(segmenter.rules)
    facts = made_by(segmenter, rules, cfg.liver)
    if all(map(packaged.is_packaged, models)):
        about = packaged.read_card().facts()
        print(*(f"{title}: {text}" for title, text in about.items()), sep="\n", flush=True)
        facts = replace(facts, model=replace(facts.model, card=about))
    predict = Prediction(segmenter, rules, facts, cfg.batch_size, **products)
    new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    wanted = {name: path for name, path in cts.items() if cfg.liver is None or name in livers}
    done = 0
    for name, result in _results(predict, wanted, output, livers):
        if isinstance(result, InputError):
            errors.append(result)
            continue
        done += 1
        print(one_line(name, result), *(f"warning: {text}" for text in result.warnings), sep="\n", flush=True)
    if done:
        print(f"{done} of {len(cts)} CTs predicted, written to: {output}\n{RESEARCH_USE}")
    elif new:
        output.rmdir()
    if errors and len(cts) == 1:
        raise errors[0]
    if errors:
        reasons = "\n".join(" ".join(str(error).split("\n")) for error in errors)
        raise InputError(cfg.input, f"{len(cts)} usable CTs", f"{len(cts) - done} unusable:\n{reasons}")


def _results(
    predict: Prediction, cts: Mapping[str, Path], output: Path, livers: Mapping[str, Path]
) -> Iterator[tuple[str, CtReport | InputError]]:
    """Predict CTs in order; yield the name of each with its report, or with the reason why there is none."""

    def result(name: str) -> CtReport | InputError:
        try:
            return predict(name, cts[name], output, livers.get(name))
        except Exception as error:  # whatever is wrong with one CT, the others are predicted
            return as_input_error(cts[name], error)

    pool = predict.segmenter.pool
    if pool is None or len(cts) == 1:
        yield from ((name, result(name)) for name in cts)
        return
    # While one CT is read, or its mask is measured and written, the network segments another.
    with ThreadPoolExecutor(2) as pairs:
        try:
            yield from zip(cts, pairs.map(result, cts), strict=True)
        except BaseException:  # such as Ctrl-C: the CTs at work end at their next batch
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _with_paths(cfg: Settings) -> Settings:
    """Return the settings with the path of the packaged network if they name it, or no network at all."""
    if cfg.model is not None and cfg.ckpt is not None:
        found = f"ckpt={','.join(cfg.ckpt)}, model={cfg.model}"
        raise InputError("ckpt and model", "a checkpoint (ckpt=…) or an exported model (model=…)", found)
    if cfg.ckpt is not None:
        ckpt = [packaged.packaged_file(path, packaged.CHECKPOINT) for path in cfg.ckpt]
        liver = cfg.liver_ckpt and packaged.packaged_file(cfg.liver_ckpt, packaged.CHECKPOINT)
        return replace(cfg, ckpt=ckpt, liver_ckpt=liver)
    return replace(cfg, model=packaged.packaged_file(cfg.model or packaged.NAME, packaged.ONNX))


def _segmenter(cfg: Settings) -> Segmenter:
    """Load the exported model or the checkpoints in the settings."""
    if cfg.model is not None:
        fixed = {"tta": "none", "device": "auto", "precision": "32", "liver_ckpt": None}
        changed = [f"{name}={getattr(cfg, name)}" for name, value in fixed.items() if getattr(cfg, name) != value]
        if changed:
            same = " (ckpt=packaged runs the same network in PyTorch)" if packaged.is_packaged(cfg.model) else ""
            raise InputError(cfg.model, "only settings that apply to exported models", ", ".join(changed) + same)
        return ExportedModel(_model_file(cfg.model), cfg.threads, AT_ONCE)
    checkpoints = cfg.ckpt or []
    if not checkpoints or len(set(checkpoints)) < len(checkpoints):
        raise InputError("ckpt", "a checkpoint, or several different ones", ", ".join(checkpoints) or "none")
    try:
        # Imported only if needed: the import takes seconds, and the extra `runtime` does not install PyTorch.
        from lits_seg.inference.ensemble import Ensemble
    except ModuleNotFoundError as error:
        needed = f"{error.name} to run a checkpoint ({install('train')}), or an exported model (model=…)"
        raise InputError("ckpt", needed, "not installed") from error
    return Ensemble(checkpoints, cfg.tta, cfg.device, cfg.precision, cfg.threads, cfg.liver_ckpt)


def _model_file(path: str) -> Path:
    """Return the exported model, which may be the only one in a folder, such as the output of ``export``."""
    if not Path(path).is_dir():
        return Path(path)
    found = [file for file in sorted(Path(path).iterdir()) if file.name.endswith((".onnx", ".openvino.zip"))]
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise InputError(path, "an exported model, or a folder with a single one (.onnx, .openvino.zip)", names)
    return found[0]


def _livers(path: str, names: list[str], errors: list[InputError]) -> dict[str, Path]:
    """Return the liver mask of each CT; a single mask file is used for a single CT of any name.

    Args:
        path: a mask file or a folder with masks.
        names: names of the CTs' masks.
        errors: list to which an error is added if CTs have no liver mask.

    Raises:
        InputError: if no CT has a liver mask.
    """
    found = find_masks(path)
    if Path(path).is_file() and len(names) == 1:
        return dict.fromkeys(names, Path(path))
    missing = [name for name in names if name not in found]
    if missing:
        expected = "a liver mask for each CT, with its mask's name"
        errors.append(InputError(path, expected, f"none for {', '.join(missing)}"))
    if len(missing) == len(names):
        raise errors[-1]
    return {name: found[name] for name in names if name in found}
