"""``python -m lits_seg.benchmark [inference|layers|parameters|data|masks|train]``."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from lits_seg.benchmark.ct import ct_costs, ct_section
from lits_seg.benchmark.data import data_speed
from lits_seg.benchmark.inference import measure, thread_counts
from lits_seg.benchmark.inference_figure import dice_figure, inference_figure
from lits_seg.benchmark.inference_text import inference_csv, inference_text
from lits_seg.benchmark.masks import mask_speed
from lits_seg.benchmark.parameters import parameter_audit
from lits_seg.benchmark.train import train_speed
from lits_seg.cli import entry
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text

WHAT = ("inference", "layers", "parameters", "data", "masks", "train")


@entry("benchmark")
def main(cfg: DictConfig) -> None:
    """Measures, prints the table and writes it below ``output``."""
    if cfg.what not in WHAT:
        raise InputError("what to measure", f"one of {', '.join(WHAT)}", cfg.what)
    if cfg.what == "inference":
        measured = measure(cfg.size, cfg.batch, cfg.rounds, cfg.networks)
        costs = ct_costs(cfg.ct, cfg.size, thread_counts(), cfg.rounds or 2, cfg.ckpt) if cfg.ct else []
        whole_ct = ct_section(cfg.ct, costs, cfg.ckpt) if cfg.ct else ""
        name, text = "inference_speed", inference_text(measured, whole_ct)
    elif cfg.what == "layers":
        from lits_seg.benchmark.layers import layer_times  # needs the engines, which the others can do without

        name, text = "inference_speed", layer_times(cfg.size)
    elif cfg.what == "parameters":
        name, text = "parameter_audit", parameter_audit(cfg.size)
    elif cfg.what == "masks":
        name, text = "mask_speed", mask_speed(cfg.size)
    elif cfg.what == "train":
        name, text = "train_speed", train_speed(cfg.size, cfg.batch, cfg.rounds or 2, cfg.steps)
    else:
        name, text = "data_speed", data_speed(cfg.size, cfg.slices, cfg.batches)
    folder = Path(cfg.output) / name
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{cfg.what}.md", text)
    if cfg.what == "inference":
        write_text(folder / "inference.csv", inference_csv(measured))
        inference_figure(measured).savefig(folder / "inference.png", dpi=110)
        if cfg.dice is not None:
            dice_figure(measured, Path(cfg.dice)).savefig(folder / "dice.png", dpi=110)
    print(text)


if __name__ == "__main__":
    if len(sys.argv) > 1 and "=" not in sys.argv[1] and not sys.argv[1].startswith("-"):
        sys.argv[1] = f"what={sys.argv[1]}"
    main()
