"""``python -m experiments.inference_speed``: measure the cost of a slice, by network and engine."""

from dataclasses import dataclass
from pathlib import Path

from experiments.inference_speed.figure import inference_figure
from experiments.inference_speed.measure import measure
from experiments.inference_speed.text import inference_csv, inference_text
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


@command("inference_speed/settings", Settings, OUTPUTS)
def main(cfg: Settings) -> None:
    """Measure, print the tables, and write tables and figures into ``output``."""
    measured = measure(cfg.size, cfg.batch, cfg.rounds or 5, cfg.networks, list(cfg.overrides))
    folder = Path(cfg.output)
    publish(inference_text(measured), folder / "inference.md")
    write_text(folder / "inference.csv", inference_csv(measured))
    inference_figure(measured).savefig(folder / "inference.png", dpi=110, metadata=MARK)


if __name__ == "__main__":
    main()
