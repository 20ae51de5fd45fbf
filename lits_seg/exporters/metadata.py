"""What an exported file tells of itself, whoever finds it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lits_seg import __version__
from lits_seg.common.files import sha256
from lits_seg.data.volumes import LABELS
from lits_seg.inference.exported import CONTRACT
from lits_seg.inference.findings import NO_DEVICE
from lits_seg.runs.provenance import versions
from lits_seg.training.checkpoints import describe_network
from lits_seg.training.module import LesionModule


def provenance(ckpt: str | Path) -> dict[str, Any]:
    """What code and which checkpoint an export is from, and what it is for."""
    return {
        "research_use_only": NO_DEVICE,
        "lits_seg": __version__,
        "git_commit": versions()["git_commit"],
        "checkpoint": {"path": str(ckpt), "sha256": sha256(ckpt)},
    }


def describe_export(ckpt: str | Path, segmenter: LesionModule, format: str, precision: str) -> dict[str, Any]:
    """Its contract, use, version, classes, pre-processing, network, and the checkpoint that it is from."""
    return {
        "contract": CONTRACT,
        **provenance(ckpt),
        "format": format,
        "precision": precision,
        "classes": segmenter.classes,
        "context": segmenter.context,
        "labels": LABELS,
        "window_hu": list(segmenter.preprocess.window),
        "preprocess": asdict(segmenter.preprocess),
        **describe_network(segmenter),
    }
