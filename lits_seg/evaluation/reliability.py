"""Draw the reliability diagram of a calibration."""

from pathlib import Path

import matplotlib.pyplot as plt

from lits_seg.common.ownership import MARK
from lits_seg.postprocess.fitting import Calibration


def draw(calibration: Calibration, path: Path) -> None:
    """Draw how often the lesion's probability is right, before and after the temperature.

    Args:
        calibration: what was fitted.
        path: PNG file to write.
    """
    figure, axes = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfect")
    for name, bins, error in (
        ("before", calibration.before, calibration.error_before),
        (f"temperature {calibration.temperature:.2f}", calibration.after, calibration.error_after),
    ):
        points = [(part.probability, part.lesion) for part in bins]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=f"{name}: error {error:.3f}")
    axes.set(xlabel="lesion's probability", ylabel="share of lesion in the reference", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(f"Voxels of {len(calibration.patients)} livers", fontsize=10)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110, metadata=MARK)
    plt.close(figure)
