"""Records of a run's result; read results, average test scores, and tabulate results."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from lits_seg import RESEARCH_USE
from lits_seg.common.errors import InputError
from lits_seg.common.records import from_plain, read_json
from lits_seg.common.tables import DASH, markdown, plural
from lits_seg.metrics import bootstrap_interval, case_scores, summarise
from lits_seg.metrics.case import box_ml
from lits_seg.metrics.scores import CaseScores, VoxelCounts

Number = Annotated[int, Ge(0), Le(2**53)]  # any count of a real run fits a float
HEADER = (
    "network",
    "parameters",
    "GMAC",
    "Dice per case [95 %]",
    "Dice global",
    "Jaccard",
    "precision",
    "training",
)


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """A network's identity and size.

    Args:
        network: name of the class; None in results of earlier versions.
        decoder: name of the decoder, see ``naming.decoder_name``.
        levels: upsampler of each decoder level, deepest first; empty if the decoder cannot be exchanged.
        parameters: number of learnable parameters.
    """

    network: str | None = None
    decoder: str
    levels: tuple[str, ...] = ()
    parameters: Number


@dataclass(frozen=True, kw_only=True)
class NetworkUnderTest(NetworkFacts):
    """A network and its test data.

    Args:
        model: choice in ``conf/model``, or the network's class if there was no choice.
        macs: multiply-accumulates of the network's convolutions for one slice.
        data: choice in ``conf/data``, or the folder of the test volumes.
        size: side of the network's images in pixels.
        selected_on_test: whether the checkpoint was selected on the test patients, which makes scores optimistic.
    """

    model: str
    macs: Number
    data: str
    size: Number
    selected_on_test: bool


@dataclass(frozen=True, kw_only=True)
class RunFacts(NetworkUnderTest):
    """The facts by which dashboards and tables compare runs.

    Args:
        fold: index of the test fold, from 0.
        folds: number of folds.
        seed: seed of weights, samples and dropout.
    """

    fold: Number
    folds: Number
    seed: int


@dataclass(frozen=True)
class MeanScores:
    """Scores of a structure of test patients, without unit, in [0, 1]. A is the reference, B the prediction.

    Args:
        dice: mean over patients of 2|A∩B| / (|A| + |B|).
        jaccard: mean over patients of |A∩B| / |A∪B|.
        paper_symbols: mean over patients of |A∩B| / |B|.
        dice_global: Dice of the pooled voxels of all patients.
        dice_interval: 95 % interval of ``dice`` from resampled patients; None for a single patient.
        patients: number of patients.
    """

    dice: float
    jaccard: float
    paper_symbols: float
    dice_global: float
    dice_interval: tuple[float, float] | None
    patients: Number


@dataclass(frozen=True, kw_only=True)
class NetworkResult(NetworkUnderTest):
    """The result of a tested network.

    Args:
        synthetic: whether the test CTs are synthetic; None if unknown.
        scores: scores of ``structure``.
        structure: ``lesion``, or ``liver`` (with its lesions) if the network segments livers only.
    """

    synthetic: bool | None
    scores: MeanScores
    structure: Literal["lesion", "liver"] = "lesion"


@dataclass(frozen=True)
class Latency:
    """Time for a batch of one slice in 32 bits: the fastest of several passes.

    Args:
        cpu_ms: time on the CPU in ms.
        cpu_threads: number of PyTorch's threads on the CPU.
        gpu_ms: time on the GPU in ms; None without a GPU.
        gpu: name of the GPU; None without a GPU.
    """

    cpu_ms: float
    cpu_threads: Number
    gpu_ms: float | None
    gpu: str | None


@dataclass(frozen=True)
class Baseline:
    """A method without training, scored on the same patients for comparison.

    Args:
        name: name of the method.
        description: the method's rule, with its fitted values.
        scores: scores of the lesions.
    """

    name: str
    description: str
    scores: MeanScores


@dataclass(frozen=True, kw_only=True)
class RunResult(RunFacts, NetworkResult):
    """The result of a finished run, as ``result.json`` contains it.

    Args:
        steps: number of optimizer steps.
        train_seconds: time in training loops in s, including the time before a resume.
        val_dice: Dice per case of the best checkpoint on the validation patients; None: the last weights were kept.
        best_checkpoint: path of the best checkpoint, relative to the run's folder.
        device: device of the training.
        precision: numbers of training and test, as Lightning names them, such as ``bf16-mixed``; None in results of
            earlier versions.
        latency: time for one slice.
        cases: scores of each test patient.
        baseline: scores of a baseline on the same patients; None unless the run was configured with ``baseline``.
    """

    steps: Number
    train_seconds: float
    val_dice: float | None
    best_checkpoint: str
    device: str
    latency: Latency
    cases: tuple[CaseScores, ...]
    baseline: Baseline | None = None
    precision: str | None = None


def read_result(path: Path) -> RunResult:
    """Read a run's ``result.json``, including files of earlier versions.

    Raises:
        InputError: if the file is missing or damaged, or lacks a required field.
    """
    name = "a run's result"
    result = from_plain(RunResult, read_json(path, name), path, name)
    if not result.cases:
        raise InputError(path, "all scores of each test patient (cases)", "no patient")
    return replace(result, cases=tuple(_with_volume(case) for case in result.cases))


def mean_scores(counts: Sequence[VoxelCounts] | np.ndarray) -> MeanScores:
    """Return the mean scores of test patients from the voxel counts of a structure ``(patients, 3)``."""
    dice = case_scores(counts)["dice"].tolist()
    return MeanScores(**summarise(counts), dice_interval=bootstrap_interval(dice), patients=len(dice))


def table(results: Sequence[NetworkResult]) -> str:
    """Return results and baselines as Markdown: a table, with a title, for each set of test data."""
    groups: dict[str, list[NetworkResult]] = {}
    for result in results:
        groups.setdefault(_tested_on(result), []).append(result)
    blocks = []
    for title, group in groups.items():
        rows = [_row(result) for result in sorted(group, key=lambda result: result.parameters)]
        baselines = [result.baseline for result in group if isinstance(result, RunResult) and result.baseline]
        if baselines:
            rows.append((baselines[0].name, DASH, DASH, *_scores(baselines[0].scores), DASH))
        blocks.append(f"{title}:\n\n{markdown(HEADER, rows)}")
    return "\n\n".join([*blocks, RESEARCH_USE])


def _with_volume(case: CaseScores) -> CaseScores:
    # Results of earlier versions lack the volume of a voxel.
    return replace(case, voxel_ml=box_ml(case.spacing)) if math.isnan(case.voxel_ml) else case


def _tested_on(result: NetworkResult) -> str:
    kind = " (synthetic CT)" if result.synthetic else ""
    fold = f", fold {result.fold} of {result.folds}" if isinstance(result, RunResult) else ""
    selection = "; the same patients chose the checkpoint (optimistic)" if result.selected_on_test else ""
    patients = plural(result.scores.patients, "test patient")
    structure = "Livers" if result.structure == "liver" else "Lesions"
    return f"{structure}, {patients} of {result.data}{kind}{fold}, {result.size} px{selection}"


def _row(result: NetworkResult) -> tuple[str, ...]:
    trained = DASH
    if isinstance(result, RunResult):
        trained = f"{result.train_seconds / 60:.1f} min, {result.steps} steps"
    return (
        f"{result.model}, {result.decoder}",
        f"{result.parameters:,}",
        f"{result.macs / 1e9:.2f}",
        *_scores(result.scores),
        trained,
    )


def _scores(scores: MeanScores) -> tuple[str, ...]:
    interval = "[{:.3f}, {:.3f}]".format(*scores.dice_interval) if scores.dice_interval else "(one patient)"
    return (
        f"{scores.dice:.3f} {interval}",
        f"{scores.dice_global:.3f}",
        f"{scores.jaccard:.3f}",
        f"{scores.paper_symbols:.3f}",
    )
