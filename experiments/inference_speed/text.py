"""Write the measured cost of a slice as Markdown and CSV."""

import math
from collections.abc import Callable, Sequence
from importlib import metadata

import torch

from experiments.inference_speed.measure import LIMITED, Measured, Timing, thread_counts
from experiments.shared.engines import ENGINES, Engine
from experiments.shared.networks import BASELINE, OURS, typed
from lits_seg import RESEARCH_USE
from lits_seg.common.tables import csv_text, markdown, number
from lits_seg.models.cost import processor

ONNX_RUNTIME = next(engine for engine in ENGINES if engine.name == "ONNX Runtime")
PLAIN = ENGINES[0]  # PyTorch with contiguous maps, as users commonly run a UNet


def inference_text(measured: Measured) -> str:
    """Return the tables in Markdown.

    Args:
        measured: cost of a slice by network and engine.
    """
    threads = " / ".join(str(count) for count in thread_counts())
    sections = [
        ("", _costs(measured), _cost_legend(measured, threads)),
        ("## ONNX Runtime, fp32", _targets(measured), [f"Milliseconds and speed with {threads} threads."]),
        *(
            (
                f"## How many times as fast as `{BASELINE}`, {thread_text(count)}",
                _speeds(measured, count),
                _SPEED_LEGEND,
            )
            for count in thread_counts()
        ),
        ("## The machine's limit", _shares(measured), _limit_legend(measured, threads)),
    ]
    lines = ["# Inference", ""]
    for title, table, legend in sections:
        lines += [*([title, ""] if title else []), table, "", *legend, ""]
    if measured.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in measured.notes), ""]
    return "\n".join([*lines, _written_by(measured), RESEARCH_USE, ""])


def inference_csv(measured: Measured) -> str:
    """Return the same values as CSV: a row for each network, engine and number of threads, undefined values empty."""
    costs = {cost.network: cost for cost in measured.costs}
    rows = []
    for timing in measured.timings:
        cost = costs[timing.network]
        rows.append(
            {
                "network": timing.network,
                "parameters": cost.parameters,
                "macs": cost.macs,
                "onnx_bytes": cost.file_bytes,
                "onnxruntime_peak_bytes": cost.peak_bytes,
                "training_step_seconds_per_slice": cost.step_seconds,
                "training_step_to_unet": _step_ratio(measured, timing.network),
                "engine": timing.engine.name,
                "threads": timing.threads,
                "milliseconds_per_slice": 1000 * timing.seconds,
                "times_as_fast_as_unet_in_pytorch": ratio(measured, timing, PLAIN),
                "times_as_fast_as_unet_in_this_engine": ratio(measured, timing, timing.engine),
                "times_as_fast_as_dsc_unet_in_this_engine": ratio(measured, timing, timing.engine, OURS),
                "share_of_limit": _share(measured, timing),
                "relative_rms_difference_from_pytorch": timing.difference,
            }
        )
    return csv_text([{key: "" if value != value else value for key, value in row.items()} for row in rows])


def find(measured: Measured, network: str, engine: Engine, threads: int) -> Timing | None:
    """Return the timing of a network in an engine; None if not measured.

    Args:
        measured: the timings of a run.
        network: name of the network.
        engine: the engine.
        threads: number of threads.
    """
    wanted = (network, engine, threads)
    return next((one for one in measured.timings if (one.network, one.engine, one.threads) == wanted), None)


def ratio(measured: Measured, timing: Timing, engine: Engine, baseline: str = BASELINE) -> float:
    """Return the speed of a network relative to another with as many threads; NaN if the other was not timed.

    Args:
        measured: the timings of a run.
        timing: timing of the network.
        engine: the engine of the other network.
        baseline: name of the other network.
    """
    other = find(measured, baseline, engine, timing.threads)
    return other.seconds / timing.seconds if other else math.nan


def thread_text(count: int) -> str:
    """Return a number of threads as text, such as "one thread" or "2 threads"."""
    return "one thread" if count == 1 else f"{count} threads"


def _costs(measured: Measured) -> str:
    header = ["network", "parameters", "GMAC", *(f"{engine.name}, ms" for engine in ENGINES)]
    header += ["ONNX file, MB", "peak memory, MB", "training step, of the UNet's"]
    rows = []
    for cost in measured.costs:
        cells = [
            _by_threads(measured, cost.network, engine, lambda one: f"{1000 * one.seconds:.1f}") for engine in ENGINES
        ]
        sizes = [number(cost.file_bytes / 1e6, 1), number(cost.peak_bytes / 1e6, 0)]
        step = number(_step_ratio(measured, cost.network), 2)
        rows.append([f"`{cost.network}`", f"{cost.parameters:,}", f"{cost.macs / 1e9:.2f}", *cells, *sizes, step])
    return markdown(header, rows)


def _targets(measured: Measured) -> str:
    header = ["network", "parameters", "GMAC", "ms", f"times as fast as `{OURS}`", f"times as fast as `{BASELINE}`"]
    rows = []
    for cost in measured.costs:
        shown: list[Callable[[Timing], str]] = [
            lambda one: f"{1000 * one.seconds:.1f}",
            lambda one: _times(ratio(measured, one, ONNX_RUNTIME, OURS)),
            lambda one: _times(ratio(measured, one, ONNX_RUNTIME)),
        ]
        cells = [_by_threads(measured, cost.network, ONNX_RUNTIME, show) for show in shown]
        rows.append([f"`{cost.network}`", f"{cost.parameters:,}", f"{cost.macs / 1e9:.2f}", *cells])
    return markdown(header, rows)


def _cost_legend(measured: Measured, threads: str) -> list[str]:
    return [
        f"Milliseconds per slice of {measured.size} x {measured.size}, with {threads} threads. Peak memory: of loading",
        "the network into ONNX Runtime and running the network once, beyond the memory after the runtime's start.",
        f"Training step: forward, backward and optimizer on {measured.batch} slices, as in `python -m lits_seg.train`.",
        "This package's networks are shipped channels-last; others usually run contiguous, PyTorch's default.",
        "All engines run networks as `lits-seg export` writes them: norms and skips are folded, and",
        "`dsc_unet` does not concatenate, except for int8.",
    ]


def _speeds(measured: Measured, threads: int) -> str:
    def cell(timing: Timing) -> str:
        return " / ".join(_times(ratio(measured, timing, engine)) for engine in (PLAIN, timing.engine))

    rows = []
    for cost in measured.costs:
        found = [find(measured, cost.network, engine, threads) for engine in ENGINES]
        rows.append([f"`{cost.network}`", *(cell(timing) if timing else number(None) for timing in found)])
    return markdown(["network", *(engine.name for engine in ENGINES)], rows)


_SPEED_LEGEND = [
    f"First number: relative to `{BASELINE}` in PyTorch, contiguous. Second: relative to `{BASELINE}` in that engine.",
]


def _shares(measured: Measured) -> str:
    rows, engines = [], [engine for engine in ENGINES if engine.precision in LIMITED]
    for cost in measured.costs:
        cells = [
            _by_threads(measured, cost.network, one, lambda timing: f"{_share(measured, timing):.0%}")
            for one in engines
        ]
        rows.append([f"`{cost.network}`", *cells])
    return markdown(["network", *(engine.name for engine in engines)], rows)


def _limit_legend(measured: Measured, threads: str) -> list[str]:
    rates = {
        precision: " / ".join(f"{measured.limits[precision, count] / 1e9:.0f}" for count in thread_counts())
        for precision in LIMITED
    }
    return [
        "Share of the limit: time of the multiply-accumulates in a large matrix product of PyTorch, in the engine's",
        "precision and with as many threads, divided by the measured time. Rates of the product in GFLOP/s with "
        f"{threads} threads: {', '.join(f'{precision} {rate}' for precision, rate in rates.items())}.",
        "More than 100 % is possible: Winograd's algorithm computes a 3 x 3 convolution with fewer multiplications.",
    ]


def _share(measured: Measured, timing: Timing) -> float:
    macs = next(cost.macs for cost in measured.costs if cost.network == timing.network)
    return 2 * macs / timing.seconds / measured.limits.get((timing.engine.precision, timing.threads), math.nan)


def _step_ratio(measured: Measured, network: str) -> float:
    steps = {cost.network: cost.step_seconds for cost in measured.costs}
    return steps[network] / steps.get(BASELINE, math.nan)


def _by_threads(measured: Measured, network: str, engine: Engine, show: Callable[[Timing], str]) -> str:
    found = [find(measured, network, engine, threads) for threads in thread_counts()]
    return " / ".join(show(timing) for timing in found if timing) or number(None)


def _times(value: float) -> str:
    return number(value, 1) if math.isnan(value) else f"{value:.1f} x"


def _written_by(measured: Measured) -> str:
    versions = [f"torch {torch.__version__}", *_versions(["onnxruntime", "openvino", "monai"])]
    chosen = typed(cost.network for cost in measured.costs)
    return "\n".join(
        [
            f"{processor()}; {', '.join(versions)}. Untrained networks, on synthetic CT.",
            f"All were measured in turns, {measured.rounds} times; the fastest time counts. Each engine's logits were",
            "first compared with PyTorch's. The times hold for this machine and hour only; compare ratios.",
            f"Written by `python -m experiments.inference_speed size={measured.size} batch={measured.batch}"
            f" rounds={measured.rounds} {chosen}`.",
        ]
    )


def _versions(packages: Sequence[str]) -> list[str]:
    found = []
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return found
