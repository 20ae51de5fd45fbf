"""``python -m experiments.train_speed``: measure how fast networks train, and the effect of settings."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.shared.command import PUBLISHED, command, publish
from experiments.train_speed.measure import NETWORKS, PAIR, SETTINGS, SHIPPED, Trained, TrainSpeed, train_speed
from lits_seg.common.files import write_text
from lits_seg.common.ownership import table_file
from lits_seg.common.settings import BatchSize, Place, Rounds, Size
from lits_seg.common.tables import csv_text, markdown, plural
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
            "macs": _macs(one),
            "slices_per_second": round(one.rate, 3),
        }
        for name, one in shipped.items()
    ]


def train_speed_text(measured: TrainSpeed) -> str:
    """Return the measurements as Markdown."""
    gpu = torch.cuda.is_available()
    threads = plural(torch.get_num_threads(), "thread")
    device = torch.cuda.get_device_name() if gpu else f"{processor()}, no GPU, {threads}"
    header = ["setting", "`dsc_unet`, images/s", "`unet`, images/s", "ratio", "`dsc_unet`, to the first row"]
    header += ["`dsc_unet`, of limit", "`unet`, of limit"]
    if gpu:
        header += ["`dsc_unet`, peak", "`unet`, peak"]
    rates = ", ".join(f"{dtype} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in measured.limits.items())
    one = measured.trained[SHIPPED, PAIR[0]]
    of = "" if one.side == measured.size else f" are crops of {one.side} x {one.side} px from slices"
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
            *_schedule(measured),
            f"{device}, torch {torch.__version__}, {one.precision}; synthetic CT.",
            f"Images{of} of {measured.size} x {measured.size} px, {measured.batch} per step.",
            f"All were measured in turns, {measured.rounds} times; the fastest time counts. A time is the median of",
            f"{plural(measured.steps, 'step')} of `unet`, and of 4 or 16 times as many of lighter networks.",
            "A step includes loading, augmentation, loss, gradient, optimizer and metric.",
            "Limit: three times the multiply-accumulates of a forward pass, at the rate of a large matrix product on",
            f"this machine ({rates}).",
            f"Written by `{_command(measured)}`.",
            "",
        ]
    )


def _schedule(measured: TrainSpeed) -> list[str]:
    """Return the time of the paper's schedule, which has whole slices."""
    shipped = {name: measured.trained[SHIPPED, name] for name in measured.networks}
    if any(one.side != measured.size for one in shipped.values()):
        return []
    times = ", ".join(f"`{name}` {_duration(PAPER_STEPS * PAPER_BATCH / one.rate)}" for name, one in shipped.items())
    return [
        f"The paper's schedule, {PAPER_STEPS:,} steps of {PAPER_BATCH} slices, at the first row's rates: {times}.",
        "",
    ]


def _duration(seconds: float) -> str:
    """Return a time in days, or in minutes if it is shorter than a tenth of a day."""
    return f"{seconds / 86400:.1f} days" if seconds >= 8640 else f"{seconds / 60:.0f} min"


def _command(measured: TrainSpeed) -> str:
    """Return the command that measures the same."""
    words = [f"size={measured.size}", f"batch={measured.batch}", f"rounds={measured.rounds}", f"steps={measured.steps}"]
    lists = {
        "networks": (measured.networks, [*NETWORKS]),
        "settings": ([key for key in measured.settings if key != SHIPPED], [key for key in SETTINGS if key != SHIPPED]),
        "overrides": (measured.overrides, []),
    }
    for key, (chosen, default) in lists.items():
        if set(chosen) != set(default):
            words.append(f"{key}=[{','.join(json.dumps(one) if key == 'overrides' else one for one in chosen)}]")
    return f"python -m experiments.train_speed {shlex.join(words)}"


def _networks(measured: TrainSpeed) -> str:
    shipped = {name: measured.trained[SHIPPED, name] for name in measured.networks}
    header = ["network", "parameters", "GMAC", "images/s", *(f"times as fast as `{name}`" for name in PAIR)]
    rows = []
    for name, one in shipped.items():
        ratios = [f"{one.rate / shipped[other].rate:.1f} x" for other in PAIR]
        counted = [f"{count_parameters(one.module.network):,}", f"{_macs(one) / 1e9:.2f}"]
        rows.append([f"`{name}`", *counted, f"{one.rate:.2f}", *ratios, f"{one.augmentation:.0%}"])
    return markdown([*header, "augmentation, of a step"], rows)


def _row(measured: TrainSpeed, key: str, gpu: bool) -> list[str]:
    both = [measured.trained[key, name] for name in PAIR]
    ours, unet = (one.rate for one in both)
    row = [
        SETTINGS[key].title if key != SHIPPED or not measured.overrides else "with the overrides of the command below",
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
    limit = measured.limits["bfloat16" if "bf16" in str(one.precision) else "float32"]
    return 3 * 2 * _macs(one) * one.rate / limit


def _macs(one: Trained) -> int:
    return count_macs(one.module.network, int(one.cfg.data.context), one.side)


if __name__ == "__main__":
    main()
