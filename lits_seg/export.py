"""``lits-seg export``: export a checkpoint to files that run without PyTorch, verify and compare them."""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("export")

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from lits_seg import RESEARCH_USE
from lits_seg.browser.bundle import PAGE_FILES, write_page
from lits_seg.browser.third_party import require_parts
from lits_seg.cli import entry
from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError
from lits_seg.common.ownership import EXPORTED, Kind, json_file, require_free, require_not_inputs, text_file
from lits_seg.common.settings import BatchSize, Count, CountOrZero, Place, Threads, Workers
from lits_seg.exporters.choices import BROWSER, ENDINGS, WORTH, pairs
from lits_seg.exporters.output_files import move, new_files, size_of
from lits_seg.inference.exported import ExportedModel
from lits_seg.packaged.card import CHECKPOINT, NAME, ONNX, packaged_file

TEXT = text_file("table", WORTH)
JSON = json_file("table", "lits_seg", "pytorch", "files")


@dataclass(frozen=True)
class Settings:
    """The settings in ``conf/commands/export.yaml``."""

    ckpt: Place
    liver_ckpt: Place | None
    model: Place | None
    format: list[str]
    precision: list[str] | None
    output: Place
    name: str
    references: Place | None
    slices: Count
    calibration: Count
    patients: CountOrZero | None
    threads: Threads | None
    store: Place
    batch_size: BatchSize
    workers: Workers


@entry("commands/export", Settings)
def main(cfg: Settings) -> None:
    """Write the files and the table that compares them; pages of an exported model need no PyTorch, and no table."""
    wanted = pairs(cfg.format, cfg.precision)
    if not cfg.name or Path(cfg.name).name != cfg.name:
        raise InputError("name", "the first part of a file name", repr(cfg.name))
    if cfg.model is not None and (cfg.ckpt != NAME or cfg.liver_ckpt is not None):
        raise InputError("ckpt and model", "a checkpoint (ckpt=…) or an exported model (model=…)", "both")
    if any(format in BROWSER for format, _ in wanted):
        require_parts()
    pages = all(format in BROWSER for format, _ in wanted)
    if cfg.model is not None and not pages:
        raise InputError("format", f"{' or '.join(BROWSER)} with model=…", ", ".join(cfg.format))
    if pages and cfg.ckpt == NAME and cfg.liver_ckpt is None:
        _pages(cfg, Path(packaged_file(cfg.model or NAME, ONNX)))
        return
    liver = cfg.liver_ckpt and packaged_file(cfg.liver_ckpt, CHECKPOINT)
    cfg = replace(cfg, ckpt=packaged_file(cfg.ckpt, CHECKPOINT), liver_ckpt=liver)
    output = Path(cfg.output)
    targets = _targets(cfg, wanted) | {output / "exports.md": TEXT, output / "exports.json": JSON}
    require_not_inputs(targets, [Path(path) for path in (cfg.ckpt, cfg.liver_ckpt) if path is not None])
    require_free(targets)
    # Imported only if needed: an exported model becomes a page without PyTorch.
    print(import_module("lits_seg.exporters.checkpoint_files").export_checkpoint(cfg, wanted))


def _pages(cfg: Settings, source: Path) -> None:
    """Write pages of an exported model.

    Args:
        cfg: the settings.
        source: the model.
    """
    metadata = ExportedModel(source, threads=1).metadata
    if metadata.format != "onnx":
        raise InputError(source, "an .onnx file (format=onnx)", f"format {metadata.format}")
    wanted = pairs(cfg.format, cfg.precision or [metadata.precision.replace("fp32", "fp16")])
    targets = _targets(cfg, wanted)
    require_not_inputs(targets, [source])
    require_free(targets)
    output, pages = Path(cfg.output), []
    with new_files(output) as scratch:
        for format, precision in wanted:
            model = _in_precision(source, precision, scratch)
            pages.append(write_page(format, model, scratch / f"{cfg.name}_{precision}{ENDINGS[format]}", source))
        move(pages, output)
    for page in pages:
        print(f"{output / page.name}: {size_of(output / page.name) / 1e6:.1f} MB")
    print(RESEARCH_USE)


def _in_precision(model: Path, precision: str, folder: Path) -> Path:
    """Return the model with weights in a precision, see ``onnx_file.in_precision``."""
    try:
        from lits_seg.exporters.onnx_file import in_precision
    except ModuleNotFoundError as error:
        needed = f"{error.name} to write pages ({install('browser')})"
        raise InputError("format", needed, "not installed") from error
    return in_precision(model, precision, folder)


def _targets(cfg: Settings, wanted: list[tuple[str, str]]) -> dict[Path, Kind]:
    """Return the kind of each file to write."""
    paths = {Path(cfg.output) / f"{cfg.name}_{precision}{ENDINGS[format]}": format for format, precision in wanted}
    targets = {path: EXPORTED for path, format in paths.items() if format not in BROWSER}
    for path, format in paths.items():
        if format in BROWSER:
            targets |= {path / name if name else path: kind for name, kind in PAGE_FILES[format].items()}
    return targets
