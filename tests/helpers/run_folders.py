"""Run folders as training leaves them, with real scores of small made-up masks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from lits_seg.common.files import CONF
from lits_seg.common.records import as_plain
from lits_seg.common.tables import json_text
from lits_seg.comparison.finished_runs import Run
from lits_seg.comparison.pool import Group, pool
from lits_seg.metrics.case import score_case
from lits_seg.metrics.scores import CaseScores
from lits_seg.runs.naming import decoder_levels, decoder_name
from lits_seg.runs.result import Latency, RunResult, mean_scores

LIGHT, HEAVY = "dsc_unet, subpixel", "unet, deconv"
SPACING = (1.5, 1.5, 3.0)
PARAMETERS = {"dsc_unet": 2_246_365, "unet": 31_030_658}


def case(name: str, missed: int = 0, wrong: int = 0, mapped: bool = False) -> CaseScores:
    """A patient with a lesion of 20 voxels, of which a prediction misses some and takes others for lesion.

    ``mapped``: with a probability map, 0.75 in the predicted lesions and 0.25 in the missed voxels.
    """
    reference = np.ones((2, 8, 10), np.uint8)
    reference[0, 2:4] = 2
    predicted = reference.copy()
    predicted[0, 2:4].flat[:missed] = 1
    predicted[1, 7].flat[:wrong] = 2
    probability = (127 * (predicted == 2) + 64 * (reference == 2)).astype(np.uint8) if mapped else None
    return score_case(predicted, reference, SPACING, name, None, probability)


def config(**settings: Any) -> dict[str, Any]:
    """A resolved config; ``settings`` by dotted key."""
    plain = OmegaConf.create(
        {
            "seed": 0,
            "name": "any",
            "runs": "runs",
            "output_dir": "/somewhere/runs/any",
            "store": "data/slices",
            "model": {"_target_": "lits_seg.models.UNet", "dropout": 0.0, "upsample": "${decoder.levels}"},
            "decoder": {"levels": ["deconv"] * 4},
            "data": {
                "root": "data/phantom",
                "test_root": None,
                "generate": None,
                "split_seed": 0,
                "fold": 0,
                "folds": 2,
                "seed": 0,
                "batch_size": 16,
            },
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001},
            "module": {"optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001}, "seed": 0},
            "trainer": {"max_epochs": 2, "accelerator": "cpu"},
            "scheduler": None,
        }
    )
    for key, value in settings.items():
        OmegaConf.update(plain, key, value)
    return OmegaConf.to_container(plain, resolve=True)


def preset(decoder: str) -> list[str]:
    """The levels of a decoder in ``conf/decoder``."""
    return list(OmegaConf.load(CONF / "decoder" / f"{decoder}.yaml").levels)


def result(cases: list[CaseScores], **changed: Any) -> RunResult:
    """A result; ``changed``: the fields that differ."""
    facts = {
        "network": "UNet",
        "model": "unet",
        "decoder": "deconv",
        "levels": ("deconv",) * 4,
        "data": "phantom",
        "fold": 0,
        "folds": 2,
        "selected_on_test": False,
        "seed": 0,
        "size": 128,
        "parameters": 1000,
        "macs": 1_170_000_000,
        "synthetic": True,
        "steps": 100,
        "train_seconds": 90.0,
        "val_dice": 0.5,
        "best_checkpoint": "checkpoints/best.ckpt",
        "scores": mean_scores([one.voxels.lesion for one in cases] or [(0, 0, 0)]),
        "device": "cpu",
        "latency": Latency(cpu_ms=12.5, cpu_threads=2, gpu_ms=None, gpu=None),
        "cases": tuple(cases),
    }
    return RunResult(**{**facts, **changed})


def run(
    name: str, cases: list[CaseScores], network: str = HEAVY, fold: int = 0, seed: int = 0, **changed: object
) -> Run:
    """A finished run as ``find_runs`` reads it; ``changed``: of its config."""
    model, decoder = network.split(", ")
    plain = config(**{"data.fold": fold, "seed": seed, "decoder.levels": preset(decoder), **changed})
    found = result(
        cases,
        model=model,
        decoder=decoder_name(plain["model"]),
        levels=decoder_levels(plain["model"]),
        fold=fold,
        seed=seed,
        size=64,
        parameters=100 if model == "unet" else 10,
    )
    return Run(name, Path(name), found, plain, {})


def one_group(runs: list[Run], baseline: str = HEAVY) -> Group:
    """All of them, where they belong together."""
    (group,) = pool(runs, baseline)
    return group


def write_run(
    folder: Path,
    cases: list[CaseScores],
    network: str = HEAVY,
    fold: int = 0,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
    **changed: Any,
) -> None:
    """A finished run. ``settings``: of its config; ``changed``: the fields that differ in its result."""
    model, decoder = network.split(", ")
    folder.mkdir(parents=True)
    levels = preset(decoder)
    plain = config(**{"data.fold": fold, "seed": seed, "data.seed": seed, "decoder.levels": levels, **(settings or {})})
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(plain)))
    made_with = {"lits-seg": "0.1.0", "torch": "2.13.0", "python": "3.11", "git_commit": "a" * 40, "git_dirty": False}
    (folder / "versions.json").write_text(json.dumps({**made_with, **(versions or {})}))
    facts = {
        "model": model,
        "decoder": decoder,
        "levels": tuple(levels),
        "fold": fold,
        "seed": seed,
        "parameters": PARAMETERS.get(model, 1000),
    }
    found = result(cases, **{**facts, **changed})
    (folder / "result.json").write_text(json_text(as_plain(found)))
    (folder / "metrics" / "version_0").mkdir(parents=True)
    (folder / "metrics" / "version_0" / "metrics.csv").write_text(
        f"epoch,step,val/dice,val/loss\n0,50,0.{2 + fold},0.9\n1,100,0.{4 + fold},0.5\n"
    )
    (folder / "overlays").mkdir()
    for one in cases:
        Image.new("RGB", (60, 20), "gray").save(folder / "overlays" / f"{one.case}.png")
