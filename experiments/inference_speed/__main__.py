"""``python -m experiments.inference_speed``: measure the cost of a slice and a whole CT, by network and engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le

from experiments.inference_speed.figure import inference_figure
from experiments.inference_speed.measure import measure, thread_counts
from experiments.inference_speed.text import inference_csv, inference_text
from experiments.inference_speed.whole_ct import ct_costs, ct_section
from experiments.shared.command import PUBLISHED, command, publish
from lits_seg.common.files import write_text
from lits_seg.common.ownership import MARK, PICTURE, table_file
from lits_seg.common.settings import BatchSize, Place, Rounds, Size

OUTPUTS = {
    "inference.md": PUBLISHED,
    "inference.csv": table_file("network,parameters,macs,"),
    "inference.png": PICTURE,
}


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    output: Place
    size: Size
    networks: list[str] | None
    overrides: list[str]
    batch: BatchSize
    rounds: Rounds | None
    ct: Annotated[int, Ge(0), Le(2000)]
    ckpt: Place | None


@command("inference_speed/settings", Settings, OUTPUTS)
def main(cfg: Settings) -> None:
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


if __name__ == "__main__":
    main()
