"""Write the commands of trainings by ``experiment=common``, with steps for a time by measured rates."""

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.common.untrusted import read_text

BATCH = 16
FOLDS = 4
LARGEST = 10**6  # bytes of train.csv
SPLITS = "experiments/packaged/splits"
# Of its authors, in place of those of experiment=common, by which it learns lesions much later.
OWN = {
    "vorontsov": (
        *("loss=tandem_dice", "~loss.balance", "optimizer=rmsprop", "optimizer.alpha=0.9"),
        *("optimizer.weight_decay=0.001", "+trainer.gradient_clip_val=10"),
    )
}


@dataclass(frozen=True)
class Rate:
    """The size and the training rate of a network.

    Args:
        parameters: number of learnable parameters.
        macs: multiply-accumulates of a crop.
        slices_per_second: crops that a training sees in a second.
    """

    parameters: int
    macs: int
    slices_per_second: float

    def steps(self, minutes: float, batch: int = BATCH) -> int:
        """Return the steps in a time, at least one.

        Args:
            minutes: the time.
            batch: crops in a step.
        """
        return max(1, int(60 * minutes * self.slices_per_second / batch))

    def minutes(self, steps: int) -> float:
        """Return the minutes of a number of steps."""
        return steps * BATCH / self.slices_per_second / 60


def read_rates(path: Path) -> dict[str, Rate]:
    """Read ``train.csv`` of ``experiments.train_speed``.

    Raises:
        InputError: if the file is missing or another table.
    """
    expected = "train.csv of python -m experiments.train_speed"
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path, expected, LARGEST))))
        rates = {
            row["network"]: Rate(int(row["parameters"]), int(row["macs"]), float(row["slices_per_second"]))
            for row in rows
        }
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(path, expected, f"{type(error).__name__}: {error}") from error
    if not all(0 < rate.slices_per_second < float("inf") for rate in rates.values()):
        raise InputError(path, f"{expected}, with rates above 0", "others")
    return rates


def of_phantom(root: Path | str, fold: int) -> list[str]:
    """Return the overrides of ``train`` for a fold of synthetic patients, without validation.

    Args:
        root: folder of the phantom.
        fold: index of the test fold.
    """
    return ["data=lits", f"data.root={root}", f"data.folds={FOLDS}", f"data.fold={fold}", "data.val_share=null"]


def training(runs: Path | str, run: str, settings: Sequence[str], steps: int) -> str:
    """Return the command of a training, which resumes if it is run again.

    Args:
        runs: folder of the runs.
        run: name of the run.
        settings: overrides of ``train``; of two values for one setting, the last one counts.
        steps: number of training steps.
    """
    unique: Mapping[str, str] = {one.partition("=")[0]: one for one in [*settings, f"trainer.max_steps={steps}"]}
    place = [f"runs={runs}", f"name={run}", "ckpt_path=last"]
    return shlex.join(["lits-seg", "train", "experiment=common", *unique.values(), *place])
