"""``python -m experiments.data_speed``: time the preparation of CT volumes and the loading of slices."""

import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge, Le

from experiments.data_speed.preparing import preparing, write_volumes
from experiments.data_speed.streaming import streaming
from experiments.shared.command import PUBLISHED, command, publish
from lits_seg.common.settings import Place, Size
from lits_seg.common.tables import markdown

CASES = 4


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    output: Place
    size: Size
    slices: Annotated[int, Ge(1), Le(2000)]
    batches: Annotated[int, Ge(4), Le(10_000)]


@command("data_speed/settings", Settings, {"data.md": PUBLISHED})
def main(cfg: Settings) -> None:
    """Measure, print the table and write the table into ``output``."""
    publish(data_speed(cfg.size, cfg.slices, cfg.batches), Path(cfg.output) / "data.md")


def data_speed(size: int, slices: int, batches: int) -> str:
    """Measure preparation, loading and training in one run, and return a Markdown table.

    Args:
        size: side of the network's images, pixels.
        slices: number of slices in each volume.
        batches: number of timed training steps, and of timed batches of the loader.
    """
    with tempfile.TemporaryDirectory() as folder:
        root, store = Path(folder, "volumes"), Path(folder, "store")
        write_volumes(root, CASES, slices)
        rows = [*preparing(root, store, size), *streaming(root, store, size, batches)]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__}"
    return "\n".join(
        [
            "# Speed of data",
            "",
            markdown(["step", "measured", "ratio"], rows, right=True),
            "",
            f"{CASES} synthetic volumes of 512 x 512 x {slices}, gzipped; images of {size} x {size}; {machine}.",
            "Compare ratios, whose times are from the same run. The times hold for this machine and hour only.",
            f"Written by `python -m experiments.data_speed size={size} slices={slices} batches={batches}`.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
