"""``python -m experiments.train_speed``: measure how fast networks train, and the effect of settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from experiments.shared.command import PUBLISHED, command, publish
from experiments.train_speed.measure import PAIR, SETTINGS, SHIPPED, Trained, TrainSpeed, train_speed
from lits_seg.common.files import write_text
from lits_seg.common.ownership import table_file
from lits_seg.common.settings import BatchSize, Place, Rounds, Size
from lits_seg.common.tables import csv_text, markdown
from lits_seg.models.cost import count_macs, count_parameters, processor

PAPER_STEPS = 100_000
PAPER_BATCH = 16


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    output: Place
    size: Size
    batch: BatchSize | None
    rounds: Rounds
    steps: Rounds | None
    networks: list[str] | None
    settings: list[str] | None
    overrides: list[str]


@command("train_speed/settings", Settings, {"train.md": PUBLISHED, "train.csv": table_file("network,parameters,")})
def main(cfg: Settings) -> None:
    """Measure, print the tables, and write them into ``output``."""
    measured = train_speed(cfg.size, cfg.batch, cfg.rounds, cfg.steps, cfg.networks, cfg.settings, list(cfg.overrides))
    publish(train_speed_text(measured), Path(cfg.output) / "train.md")
    write_text(Path(cfg.output) / "train.csv", csv_text(train_speed_rows(measured)))


def train_speed_rows(measured: TrainSpeed) -> list[dict[str, Any]]:
    """Return a row of numbers for each network as shipped."""
    shipped = {name: measured.trained[SHIPPED, name] for name in measured.networks}
    return [
        {
            "network": name,
            "parameters": count_parameters(one.module.network),
            "macs": _macs(one, measured),
            "slices_per_second": round(one.rate, 3),
        }
        for name, one in shipped.items()
    ]


def train_speed_text(measured: TrainSpeed) -> str:
    """Return the measurements as Markdown."""
    gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if gpu else f"{processor()}, no GPU"
    header = ["setting", "`dsc_unet`, slices/s", "`unet`, slices/s", "ratio", "`dsc_unet`, to shipped"]
    header += ["`dsc_unet`, of limit", "`unet`, of limit"]
    if gpu:
        header += ["`dsc_unet`, peak", "`unet`, peak"]
    shipped = {name: measured.trained[SHIPPED, name] for name in measured.networks}
    rates = ", ".join(f"{dtype} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in measured.limits.items())
    days = ", ".join(
        f"`{name}` {PAPER_STEPS * PAPER_BATCH / one.rate / 86400:.1f} days" for name, one in shipped.items()
    )
    size, batch, rounds = measured.size, measured.batch, measured.rounds
    return "\n".join(
        [
            "# Training speed",
            "",
            _networks(measured),
            "",
            *(f"{note}.\n" for note in measured.notes),
            "## Settings",
            "",
            markdown(header, [_row(measured, key, gpu) for key in measured.settings]),
            "",
            f"The paper's schedule, {PAPER_STEPS:,} steps of {PAPER_BATCH} slices, at the rates as shipped: {days}.",
            "",
            f"{device}, torch {torch.__version__}; synthetic CT; images of {size} x {size}, {batch} per step.",
            f"All were measured in turns, {rounds} times; the fastest time counts. A step includes loading,",
            "augmentation, loss, gradient, optimizer and metric. Limit: three times the multiply-accumulates of a",
            f"forward pass, at the rate of a large matrix product on this machine ({rates}).",
            f"Written by `python -m experiments.train_speed size={size} batch={batch} rounds={rounds}`.",
            "",
        ]
    )


def _networks(measured: TrainSpeed) -> str:
    shipped = {name: measured.trained[SHIPPED, name] for name in measured.networks}
    header = ["network", "parameters", "GMAC", "slices/s", *(f"times as fast as `{name}`" for name in PAIR)]
    rows = []
    for name, one in shipped.items():
        macs = _macs(one, measured)
        ratios = [f"{one.rate / shipped[other].rate:.1f} x" for other in PAIR]
        counted = [f"{count_parameters(one.module.network):,}", f"{macs / 1e9:.2f}"]
        rows.append([f"`{name}`", *counted, f"{one.rate:.2f}", *ratios, f"{one.augmentation:.0%}"])
    return markdown([*header, "augmentation, of a step"], rows)


def _row(measured: TrainSpeed, key: str, gpu: bool) -> list[str]:
    both = [measured.trained[key, name] for name in PAIR]
    ours, unet = (one.rate for one in both)
    row = [
        SETTINGS[key].title,
        f"{ours:.2f}",
        f"{unet:.2f}",
        f"{ours / unet:.1f} x",
        f"{ours / measured.trained[SHIPPED, 'dsc_unet'].rate:.2f} x",
        *(f"{_share(one, measured):.0%}" for one in both),
    ]
    if gpu:
        row += [f"{one.peak / 1e9:.1f} GB" for one in both]
    return row


def _share(one: Trained, measured: TrainSpeed) -> float:
    """Return the measured rate as a share of the limit: the rate if training were a single matrix product."""
    limit = measured.limits["bfloat16" if "bf16" in str(one.cfg.trainer.precision) else "float32"]
    return 3 * 2 * _macs(one, measured) * one.rate / limit


def _macs(one: Trained, measured: TrainSpeed) -> int:
    """Return the multiply-accumulates of an image: of a crop, if the augmentation crops."""
    side = OmegaConf.select(one.cfg, "data.augment.crop") or measured.size
    return count_macs(one.module.network, int(one.cfg.data.context), side)


if __name__ == "__main__":
    main()
