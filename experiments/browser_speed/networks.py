"""``python -m experiments.browser_speed.networks``: time a slice of each network in WebAssembly and in native code."""

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.answer.rows import NETWORKS as ANSWERED
from experiments.answer.rows import OF_DECODERS
from experiments.browser_speed.turns import NATIVE, WEB, call, served, write_page
from experiments.shared.chromium import open_chromium
from experiments.shared.command import PUBLISHED, command, publish
from experiments.shared.engines import difference, onnx_session
from experiments.shared.networks import SETTLING, SHORT, Network, choose, make, synthetic_slices, typed
from lits_seg import RESEARCH_USE
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.ownership import table_file
from lits_seg.common.settings import Place, Rounds, Size
from lits_seg.common.tables import csv_text, markdown
from lits_seg.common.timing import seconds
from lits_seg.models.cost import processor

THREADS = 1
LONG = {short: name for name, short in SHORT.items()}


@dataclass(frozen=True)
class Settings:
    """The settings in ``networks.yaml``."""

    output: Place
    size: Size
    networks: list[str] | None
    rounds: Rounds


@dataclass(frozen=True)
class Timing:
    """A network in both engines.

    Args:
        network: a key of ``networks.NETWORKS``.
        parameters: number of parameters.
        macs: multiply-accumulates of a slice.
        milliseconds: time of a slice by engine, the fastest of several turns.
        difference: of WebAssembly's logits from PyTorch's, see ``engines.difference``.
    """

    network: str
    parameters: int
    macs: int
    milliseconds: dict[str, float]
    difference: float


@command(
    "browser_speed/networks",
    Settings,
    {"networks.md": PUBLISHED, "networks.csv": table_file("network,parameters,macs,engine,")},
)
def main(cfg: Settings) -> None:
    """Measure, print the table, and write the table into ``output``."""
    answered = [LONG.get(name, name) for name in dict.fromkeys((*ANSWERED, *OF_DECODERS))]
    chosen, notes = choose(cfg.networks or answered)
    timings = network_times(cfg.size, chosen, cfg.rounds, notes)
    if not timings:
        raise InputError("networks", "at least one that can be timed here", "; ".join(notes))
    publish(_text(timings, notes, cfg), Path(cfg.output) / "networks.md")
    write_text(Path(cfg.output) / "networks.csv", csv_text(_rows(timings)))


def network_times(size: int, networks: Sequence[str], rounds: int, notes: list[str]) -> list[Timing]:
    """Time networks in a fresh Chromium and in native ONNX Runtime, in turns.

    Args:
        size: side of the images, pixels.
        networks: keys of ``networks.NETWORKS``.
        rounds: number of timed turns.
        notes: list to which a note on each network without an ONNX file is added.
    """
    images = synthetic_slices(size, SETTLING)
    timings = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_page(folder, "networks.js")
        with served(folder) as address:
            for name in networks:
                network = make(name, images, folder)
                if network.reason:
                    notes.append(f"`{name}` is left out: {network.reason}")
                else:
                    timings.append(_timing(network, rounds, address, folder))
                    network.onnx.unlink()
    return timings


def _timing(network: Network, rounds: int, address: str, folder: Path) -> Timing:
    image = network.image.numpy()
    image.tofile(folder / "image.bin")
    session = onnx_session(network.onnx, THREADS)
    with open_chromium() as driver:
        driver.get(address)
        start = {"network": network.onnx.name, "pixels": "image.bin", "shape": list(image.shape)}
        call(driver, THREADS, task="start", **start)
        logits = np.frombuffer(base64.b64decode(call(driver, THREADS, task="logits")), np.float32)
        turns = [
            {
                WEB: call(driver, THREADS, task="time"),
                NATIVE: 1000 * seconds(lambda: session.run(None, {"image": image})),
            }
            for _ in range(1 + rounds)
        ][1:]  # the first warms up
    return Timing(
        network.name,
        network.parameters,
        network.macs,
        {engine: min(turn[engine] for turn in turns) for engine in (WEB, NATIVE)},
        difference(network, logits.reshape(network.logits.shape)),
    )


def _rows(timings: Sequence[Timing]) -> list[dict[str, Any]]:
    """Return rows with the columns of ``inference.csv`` that ``experiments.answer`` reads."""
    return [
        {
            "network": one.network,
            "parameters": one.parameters,
            "macs": one.macs,
            "engine": engine,
            "threads": THREADS,
            "milliseconds_per_slice": milliseconds,
            "relative_rms_difference_from_pytorch": one.difference if engine == WEB else "",
        }
        for one in timings
        for engine, milliseconds in one.milliseconds.items()
    ]


def _text(timings: Sequence[Timing], notes: Sequence[str], cfg: Settings) -> str:
    header = ["network", "parameters", "GMAC", "WebAssembly, ms", "native, ms", "ratio"]
    rows = [
        [
            f"`{one.network}`",
            f"{one.parameters:,}",
            f"{one.macs / 1e9:.2f}",
            *(f"{one.milliseconds[engine]:.1f}" for engine in (WEB, NATIVE)),
            f"{one.milliseconds[WEB] / one.milliseconds[NATIVE]:.1f} x",
        ]
        for one in sorted(timings, key=lambda one: one.milliseconds[WEB])
    ]
    return "\n".join(
        [
            "# Networks in the browser",
            "",
            markdown(header, rows, right=True),
            "",
            *(f"{note}.\n" for note in notes),
            f"Milliseconds of the network alone for a slice of {cfg.size} x {cfg.size} px, 32 bits, one thread: ONNX",
            "Runtime as WebAssembly in Chromium, and native. Both take turns; the fastest of several passes counts.",
            f"Logits differ from PyTorch's by at most {max(one.difference for one in timings):.0e} (root mean square,",
            "relative). Untrained networks, synthetic CT.",
            "",
            f"{processor()}. Written by `python -m experiments.browser_speed.networks size={cfg.size}",
            f"rounds={cfg.rounds} {typed(one.network for one in timings)}`. {RESEARCH_USE}",
            "",
        ]
    )


if __name__ == "__main__":
    main()
