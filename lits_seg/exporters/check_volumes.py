"""Find the volumes for calibration and verification of exported files."""

import json
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from lits_seg.data.layouts import Case, find_cases
from lits_seg.evaluation.checkpoint_scores import checkpoint_volumes
from lits_seg.runs.folder import SPLIT
from lits_seg.training.module import LesionModule


@dataclass(frozen=True)
class Volumes:
    """Volumes for an export.

    Args:
        train: volumes for calibration.
        test: volumes for parity, time and Dice.
        root: folder of the test volumes.
        synthetic: whether the test volumes are synthetic.
    """

    train: list[Case]
    test: list[Case]
    root: Path
    synthetic: bool


def find_volumes(cfg: DictConfig, module: LesionModule) -> Volumes:
    """Find the volumes in ``cfg.references``, or else the training and test patients of the checkpoint's run.

    Args:
        cfg: settings with ``references`` and ``ckpt``.
        module: the checkpoint's network.

    Returns:
        The volumes. If there is no run, or ``cfg.references`` is set, calibration and test use the same volumes.

    Raises:
        InputError: if there are no volumes.
    """
    datamodule = checkpoint_volumes(cfg, module)
    root = datamodule.test_root or datamodule.root
    if datamodule.generate is not None:
        datamodule.generate(datamodule.root)
    split = Path(cfg.ckpt).absolute().parent.parent / SPLIT
    if cfg.references is not None or not split.exists():
        cases = find_cases(root)
        return Volumes(cases, cases, root, datamodule.synthetic)
    names = json.loads(split.read_text())
    train, test = ({case.name: case for case in find_cases(where)} for where in (datamodule.root, root))
    return Volumes(
        [train[name] for name in names["train"] if name in train],
        [test[name] for name in names["test"] if name in test],
        root,
        datamodule.synthetic,
    )
