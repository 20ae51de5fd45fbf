"""``python -m experiments.inference_speed``: measure the cost of a slice and a whole CT, by network and engine."""

from pathlib import Path

from omegaconf import DictConfig

from experiments.inference_speed.figure import dice_figure, inference_figure
from experiments.inference_speed.measure import measure, thread_counts
from experiments.inference_speed.text import inference_csv, inference_text
from experiments.inference_speed.whole_ct import ct_costs, ct_section
from experiments.shared.command import PUBLISHED, command, publish
from lits_seg.common.files import write_text
from lits_seg.common.ownership import MARK, PICTURE, table_file

OUTPUTS = {
    "inference.md": PUBLISHED,
    "inference.csv": table_file("network,parameters,macs,"),
    **dict.fromkeys(("inference.png", "dice.png"), PICTURE),
}


@command("inference_speed/settings", OUTPUTS)
def main(cfg: DictConfig) -> None:
    """Measure, print the tables, and write tables and figures into ``output``."""
    measured = measure(cfg.size, cfg.batch, cfg.rounds or 5, cfg.networks, list(cfg.overrides))
    whole_ct = ""
    if cfg.ct:
        costs = ct_costs(cfg.ct, cfg.size, thread_counts(), cfg.rounds or 2, cfg.ckpt)
        whole_ct = ct_section(cfg.ct, costs, cfg.ckpt)
    folder = Path(cfg.output)
    publish(inference_text(measured, whole_ct), folder / "inference.md")
    write_text(folder / "inference.csv", inference_csv(measured))
    inference_figure(measured).savefig(folder / "inference.png", dpi=110, metadata=MARK)
    if cfg.dice is not None:
        dice_figure(measured, Path(cfg.dice)).savefig(folder / "dice.png", dpi=110, metadata=MARK)


if __name__ == "__main__":
    main()
