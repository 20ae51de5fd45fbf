"""Measure time, memory, file size and training step of a slice by network and engine, in turns in one run."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from math import inf, isnan, nan
from pathlib import Path

import torch
from torch import Tensor

from experiments.shared.engines import ENGINES, Engine, NotHereError, require_agreement
from experiments.shared.machine import matmul_rate, out_of_memory, peak_memory, torch_threads
from experiments.shared.networks import Network, choose, make, synthetic_slices
from lits_seg.common.timing import fastest
from lits_seg.training.malloc import keep_freed_memory
from lits_seg.training.module import LesionModule

LIMITED = ("float32", "bfloat16")  # precisions in which the machine's limit is measured, by PyTorch


@dataclass
class Cost:
    """The cost of a network in any engine. NaN without an ONNX file, or if ONNX Runtime cannot run the file."""

    network: str
    parameters: int
    macs: int
    file_bytes: float
    peak_bytes: float
    step_seconds: float  # of a training step per slice, the fastest; NaN if the memory is too small


@dataclass
class Timing:
    """One network in one engine with a number of threads."""

    network: str
    engine: Engine
    threads: int
    difference: float = float("nan")  # of the logits from PyTorch's, see engines.difference
    seconds: float = float("inf")  # per slice, the fastest


@dataclass
class Measured:
    """All measurements of a run. ``limits``: operations per second of a matrix product, by precision and threads."""

    size: int
    batch: int
    rounds: int
    timings: list[Timing]
    notes: list[str]
    costs: list[Cost] = field(default_factory=list)
    limits: dict[tuple[str, int], float] = field(default_factory=dict)


def measure(
    size: int,
    batch: int,
    rounds: int,
    names: Sequence[str] | str | None,
    overrides: Sequence[str] = (),
    engines: Sequence[Engine] = ENGINES,
) -> Measured:
    """Measure networks in every engine that runs here, on the CPU.

    Args:
        size: side of the images, pixels.
        batch: slices in a training step.
        rounds: number of visits to each network in each engine, in turns.
        names: some of ``networks.NETWORKS``; None: all.
        overrides: further overrides of the networks' configurations.
        engines: the engines to measure.

    Raises:
        InputError: for an unknown network, or a size that a network does not accept.
        RuntimeError: if an engine's logits are too far from PyTorch's.
    """
    chosen, notes = choose(names)
    images = synthetic_slices(size, batch)
    timings = [Timing(name, engine, count) for name in chosen for engine in engines for count in thread_counts()]
    measured = Measured(size, batch, rounds, timings, notes)
    file = any(engine.from_file for engine in engines)
    with tempfile.TemporaryDirectory() as folder:
        networks = {name: make(name, images, Path(folder), overrides, file) for name in chosen}
        seconds = dict.fromkeys(chosen, inf)
        for _ in range(rounds):
            _measure_limits(measured)
            _visit(measured, networks)
            keep_freed_memory()  # as training does
            for name, network in networks.items():
                seconds[name] = min(seconds[name], _step_seconds(network, images, measured.notes))
            keep_freed_memory(False)
        measured.costs = [_cost(network, measured.timings, seconds[name]) for name, network in networks.items()]
    return measured


def thread_counts() -> list[int]:
    """Return the measured numbers of threads: one, and the number of cores."""
    return sorted({1, os.cpu_count() or 1})


def _measure_limits(measured: Measured) -> None:
    for threads in thread_counts():
        with torch_threads(threads):
            for dtype in LIMITED:
                rate = matmul_rate(getattr(torch, dtype))
                measured.limits[dtype, threads] = max(measured.limits.get((dtype, threads), 0.0), rate)


def _visit(measured: Measured, networks: Mapping[str, Network]) -> None:
    """Time each network in each engine once and keep the fastest times; drop what an engine cannot run, with a note.

    Networks are prepared again for each visit, because all prepared networks together would not fit into memory.
    """
    for timing in list(measured.timings):
        network, engine = networks[timing.network], timing.engine
        try:
            run = engine.prepare(network, timing.threads)
            if isnan(timing.difference):
                timing.difference, note = require_agreement(network, engine, run())
                measured.notes += [note] if note and timing.threads == 1 else []
            timing.seconds = min(timing.seconds, fastest(run))
        except NotHereError as error:
            measured.timings.remove(timing)
            note = f"`{network.name}` in {engine.name}: {error}"
            if note not in measured.notes:
                measured.notes.append(note)


def _cost(network: Network, timings: Sequence[Timing], step_seconds: float) -> Cost:
    _, channels, size, _ = network.image.shape
    runs = any(timing.network == network.name and timing.engine.name == "ONNX Runtime" for timing in timings)
    return Cost(
        network.name,
        network.parameters,
        network.macs,
        float("nan") if network.reason else float(network.onnx.stat().st_size),
        float(_peak_memory(network.onnx, channels, size)) if runs else float("nan"),
        step_seconds if step_seconds < inf else nan,
    )


def _peak_memory(onnx: Path, channels: int, size: int) -> int:
    """Measure the peak memory of ONNX Runtime for a slice, in bytes beyond the memory after its start."""
    return peak_memory(
        "import numpy, onnxruntime",
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider']);"
        "session.run(None, {'image': numpy.zeros([int(n) for n in sys.argv[2:]], numpy.float32)})",
        *(str(onnx), "1", str(channels), str(size), str(size)),
    )


def _step_seconds(network: Network, images: Tensor, notes: list[str]) -> float:
    """Time a training step, in s per slice; infinity, with a note, if it needs more memory than there is.

    Each visit makes the step again, because all networks together with their moments would not fit into memory.
    """
    try:
        return fastest(_training_step(network.module, images), passes=1) / len(images)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        note = f"`{network.name}` is not trained: too little memory for a step of {len(images)} slices"
        notes.extend([note] if note not in notes else [])
        return inf


def _training_step(module: LesionModule, images: Tensor) -> Callable[[], None]:
    """Return a training step with forward, loss, backward and optimizer, as ``lits_seg.train`` configures them."""
    module = deepcopy(module).train()
    module.loss.set_counts([9, 1, 1][: module.classes])
    optimizer = module.configure_optimizers()["optimizer"]
    images = images.repeat(1, module.context, 1, 1)
    labels = torch.randint(module.classes, (len(images), *images.shape[-2:]))

    def step() -> None:
        optimizer.zero_grad()
        outputs = module(images)
        losses = [module.loss(one, labels) for one in (outputs if isinstance(outputs, tuple) else (outputs,))]
        torch.stack(losses).sum().backward()
        optimizer.step()

    return step
