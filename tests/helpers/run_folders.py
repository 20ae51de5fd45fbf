"""Run folders as training leaves them, with real scores of small made-up masks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image

from lits_seg.common.tables import json_text
from lits_seg.comparison.folders import Run
from lits_seg.comparison.pool import Group, pool
from lits_seg.metrics.case import score_case
from lits_seg.runs.result import summary

LIGHT, HEAVY = "dsc_unet, subpixel", "unet, deconv"
SPACING = (1.5, 1.5, 3.0)
PARAMETERS = {"dsc_unet": 2_246_365, "unet": 31_030_658}


def case(name: str, missed: int = 0, wrong: int = 0) -> dict[str, Any]:
    """A patient with a lesion of 20 voxels, of which a prediction misses some and takes others for lesion."""
    reference = np.ones((2, 8, 10), np.uint8)
    reference[0, 2:4] = 2
    predicted = reference.copy()
    predicted[0, 2:4].flat[:missed] = 1
    predicted[1, 7].flat[:wrong] = 2
    return {"case": name, "spacing": SPACING, **score_case(predicted, reference, SPACING)}


def config(**settings: Any) -> dict[str, Any]:
    """A resolved config; ``settings`` by dotted key."""
    plain = OmegaConf.create(
        {
            "seed": 0,
            "name": "any",
            "runs": "runs",
            "output_dir": "/somewhere/runs/any",
            "store": "data/slices",
            "model": {"_target_": "lits_seg.models.UNet", "dropout": 0.0},
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
    return OmegaConf.to_container(plain)


def run(name: str, cases: list, network: str = HEAVY, fold: int = 0, seed: int = 0, **changed: object) -> Run:
    """A finished run as ``find_runs`` reads it; ``changed``: of its config."""
    model, decoder = network.split(", ")
    result = {
        **{"model": model, "decoder": decoder, "fold": fold, "seed": seed, "cases": cases, "folds": 2},
        **{"data": "phantom", "synthetic": True, "size": 64, "selected_on_test": False, "device": "cpu"},
        **{"parameters": 100 if model == "unet" else 10, "latency": {"cpu_threads": 2, "gpu": None}},
    }
    plain = config(**{"data.fold": fold, "seed": seed, **changed})
    return Run(name, Path(name), result, plain, {})


def one_group(runs: list[Run], baseline: str = HEAVY) -> Group:
    """All of them, where they belong together."""
    (group,) = pool(runs, baseline)
    return group


def write_run(
    folder: Path,
    cases: list[dict[str, Any]],
    network: str = "unet, deconv",
    fold: int = 0,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
    **result: Any,
) -> None:
    """A finished run. ``settings``: of its config; ``result``: what differs in its result."""
    model, decoder = network.split(", ")
    folder.mkdir(parents=True)
    plain = config(**{"data.fold": fold, "seed": seed, "data.seed": seed, **(settings or {})})
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(plain)))
    made_with = {"lits-seg": "0.1.0", "torch": "2.13.0", "python": "3.11", "git_commit": "a" * 40, "git_dirty": False}
    (folder / "versions.json").write_text(json.dumps({**made_with, **(versions or {})}))
    counts = torch.tensor([one["voxels"]["lesion"] for one in cases])
    facts = {
        "model": model,
        "decoder": decoder,
        "levels": plain["decoder"]["levels"],
        "data": "phantom",
        "fold": fold,
        "folds": plain["data"]["folds"],
        "selected_on_test": False,
        "seed": seed,
        "size": 128,
        "parameters": PARAMETERS.get(model, 1000),
        "macs": 1_170_000_000,
        "synthetic": True,
        "steps": 100,
        "train_seconds": 90.0,
        "val_dice": 0.5,
        "best_checkpoint": "checkpoints/best.ckpt",
        "scores": summary(counts),
        "device": "cpu",
        "latency": {"cpu_ms": 12.5, "cpu_threads": 2, "gpu_ms": None, "gpu": None},
        "cases": cases,
    }
    (folder / "result.json").write_text(json_text({**facts, **result}))
    (folder / "metrics" / "version_0").mkdir(parents=True)
    (folder / "metrics" / "version_0" / "metrics.csv").write_text(
        f"epoch,step,val/dice,val/loss\n0,50,0.{2 + fold},0.9\n1,100,0.{4 + fold},0.5\n"
    )
    (folder / "overlays").mkdir()
    for one in cases:
        Image.new("RGB", (60, 20), "gray").save(folder / "overlays" / f"{one['case']}.png")
