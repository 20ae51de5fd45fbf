"""Find the volumes for calibration and verification of exported files."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from lits_seg.data.layouts import Case, find_cases, is_phantom
from lits_seg.data.sources import own_names
from lits_seg.data.split_record import recorded_cases
from lits_seg.evaluation.checkpoint_scores import checkpoint_volumes
from lits_seg.phantom.write import write_phantom
from lits_seg.training.module import LesionModule


@dataclass(frozen=True)
class Volumes:
    """Volumes for an export.

    Args:
        train: volumes for calibration.
        test: volumes for parity, time and Dice.
        root: folder of the test volumes, or their source.
        synthetic: whether the test volumes are synthetic.
    """

    train: list[Case]
    test: list[Case]
    root: Path
    synthetic: bool


def phantom_volumes(folder: Path) -> Volumes:
    """Write and return synthetic volumes, for a network whose patients are not at hand, see ``lits_seg.phantom``."""
    write_phantom(folder, cases=4, slices=20, workers=1)
    cases = find_cases(folder)
    return Volumes(cases[2:], cases[:2], Path("lits_seg.phantom"), synthetic=True)


def find_volumes(cfg: DictConfig, module: LesionModule) -> Volumes:
    """Find the volumes in ``cfg.references``, or else the training and test patients of the checkpoint's run.

    Args:
        cfg: settings with ``references`` and ``ckpt``.
        module: the checkpoint's network.

    Returns:
        The volumes. If ``cfg.references`` is set, calibration and test use the same volumes.

    Raises:
        InputError: if there are no volumes, or if patients of the run are missing.
    """
    datamodule = checkpoint_volumes(cfg, module)
    root = datamodule.test_root or datamodule.root
    if datamodule.generate is not None:
        datamodule.generate(datamodule.root)
    recorded = datamodule.recorded
    if recorded is None:
        cases = find_cases(root)
        return Volumes(cases, cases, root, is_phantom(root))
    train, test = (
        recorded_cases(folder, own_names(recorded.names(part), "", datamodule.sources))[0]  # not those of data.sources
        for folder, part in ((datamodule.root, "train"), (root, "test"))
    )
    return Volumes(train, test, root, is_phantom(root))
