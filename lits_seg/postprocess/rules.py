"""Turn a predicted mask and the lesion's probability into the final mask."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain
from lits_seg.common.settings import Probability, annotations, misfit, require_fits
from lits_seg.metrics.lesions import label_box
from lits_seg.postprocess.components import drop, fill, keep_largest, pieces, remove_far
from lits_seg.postprocess.crf import Crf, ReadHu, read_box, refine, widened

FULL = 255  # a probability of 1 in a map
LEAST = 1 / 8  # slices; a Gaussian with a smaller standard deviation reaches no other slice

Threshold = Annotated[float, Gt(0), Lt(1)]
Smoothing = Annotated[float, Ge(0), Le(20)]  # mm
Distance = Annotated[float, Ge(0), Le(1000)]  # mm
LesionVolume = Annotated[float, Ge(0), Le(10_000)]  # mL


@dataclass(frozen=True)
class Rules:
    """Rules for the labels of a whole CT, applied in the order of the arguments.

    A lesion is a connected component. A removed lesion becomes liver if it touches liver, else background.

    Args:
        largest_liver: keep only the largest connected component of the liver, with its lesions.
        fill_liver: background that the liver encloses becomes liver.
        threshold: a voxel is lesion if the lesion's probability is greater; only within the liver, if the labels
            include one. None: the labels decide.
        smooth_mm: before ``threshold``, average the probability over the slices above and below, with a Gaussian of
            this standard deviation in mm: noise differs between slices, a lesion continues.
        crf: before ``threshold`` and after ``smooth_mm``, refine the probability with a dense CRF, which reads the
            HU; None: no CRF.
        lesions_within_liver_mm: remove lesions that are farther from the liver, in mm; None: keep them.
        min_lesion_ml: remove lesions with a smaller volume, in mL.
        min_probability: remove lesions whose highest probability is lower.
        largest_lesion: keep only the largest lesion.

    Raises:
        InputError: if a value has another type or is out of its range, or if ``smooth_mm`` or ``crf`` is given without
            ``threshold``.
    """

    largest_liver: bool = False
    fill_liver: bool = False
    threshold: Threshold | None = None
    smooth_mm: Smoothing = 0.0
    crf: Crf | None = None
    lesions_within_liver_mm: Distance | None = None
    min_lesion_ml: LesionVolume = 0.0
    min_probability: Probability = 0.0
    largest_lesion: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.crf, Mapping):  # as checkpoints store the rules
            object.__setattr__(self, "crf", Crf(**self.crf))
        if not isinstance(self.crf, Crf | None):
            raise misfit("rules.crf", Crf, self.crf)
        own = {name: kind for name, kind in annotations(Rules) if not name.startswith("crf")}  # ``Crf`` checks its own
        require_fits("rules.", own, vars(self))
        for name in ("smooth_mm", "crf"):
            if getattr(self, name) and self.threshold is None:
                raise InputError(f"rules.{name}", "rules.threshold as well, such as 0.5", "none")

    @property
    def need_probability(self) -> bool:
        """Whether a rule reads the lesion's probability."""
        return self.threshold is not None or self.min_probability > 0

    def plain(self) -> dict[str, Any]:
        """Return the rules that differ from the defaults."""
        return {
            rule.name: as_plain(value) for rule in fields(self) if (value := getattr(self, rule.name)) != rule.default
        }

    def having(self, name: str, value: Any) -> "Rules":
        """Return these rules with another value of one of them.

        Args:
            name: the rule.
            value: its value.
        """
        return replace(self, **{name: value})

    def __call__(
        self,
        labels: np.ndarray,
        probability: np.ndarray,
        spacing: tuple[float, float, float],
        voxel_ml: float,
        has_liver: bool = True,
        hu: ReadHu | None = None,
    ) -> None:
        """Change a mask in place.

        Args:
            labels: LiTS labels ``(S, H, W)``.
            probability: the lesion's probability scaled to 0…255, ``(S, H, W)``; read only if ``need_probability``.
            spacing: voxel size along W, H and S in mm.
            voxel_ml: volume of a voxel in mL.
            has_liver: whether the labels include the liver; if not, rules about the liver do nothing.
            hu: reads slices of the CT; called only for ``crf``.

        Raises:
            InputError: if ``crf`` is given without ``hu``.
        """
        if self.largest_liver and has_liver:
            keep_largest(labels)
        if self.fill_liver and has_liver:
            fill(labels)
        if self.threshold is not None:
            self._apply_threshold(labels, probability, self.threshold, spacing, has_liver, hu)
        if self.lesions_within_liver_mm is not None and has_liver:
            remove_far(labels, spacing, self.lesions_within_liver_mm)
        for part, mask, size, _, box in pieces(labels, 2) if self.min_lesion_ml or self.min_probability else ():
            if size * voxel_ml < self.min_lesion_ml or (
                self.min_probability and probability[box][mask].max() < self.min_probability * FULL
            ):
                drop(part, mask)
        if self.largest_lesion:
            for part, mask, size, largest, _ in pieces(labels, 2):
                if size < largest:
                    drop(part, mask)

    def _apply_threshold(
        self,
        labels: np.ndarray,
        probability: np.ndarray,
        threshold: float,
        spacing: tuple[float, float, float],
        has_liver: bool,
        hu: ReadHu | None,
    ) -> None:
        """Label as lesion what is above the threshold, and the rest of the lesions as liver, or background."""
        limit, rest = threshold * FULL, int(has_liver)
        np.minimum(labels, np.uint8(rest), out=labels)
        box = label_box(labels, 1) if has_liver else tuple(slice(0, size) for size in labels.shape)
        if box is None:
            return
        deviation = self.smooth_mm / spacing[2]
        map_ = probability[box]
        if self.crf is not None:
            # Voxels that are far from all likely voxels only lose probability.
            near = label_box(map_, min(limit, FULL / 2))
            if near is None:
                return
            near = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, near, strict=True))
            box = widened(near, self.crf.reach_mm + 4 * self.smooth_mm, spacing, labels.shape)
            map_ = probability[box].astype(np.float32)
            for columns in map_.swapaxes(0, 1) if deviation > LEAST else ():  # row by row, to save memory
                columns[:] = _smooth(columns, deviation)
            map_ = refine(map_ / FULL, read_box(hu, box), spacing, self.crf) * FULL
            deviation = 0.0  # the map is an average already
        part = labels[box]
        # An average is never above the highest value, so that most columns through the slices need none.
        likely = map_.max(axis=0) > limit
        for row, places in enumerate(map(np.flatnonzero, likely)):
            columns = map_[:, row, places].astype(np.float32)
            if deviation > LEAST and len(places):
                columns = _smooth(columns, deviation)
            lesion = columns > limit
            hit = lesion.any(axis=0)
            before = part[:, row, places[hit]]
            part[:, row, places[hit]] = np.where(lesion[:, hit] & (before >= rest), 2, before)


@dataclass(frozen=True)
class Changes:
    """Rules that differ from a network's own; None: as the network has the rule, see ``Rules``.

    ``own``: start from the network's own rules; False: start from no rules.
    """

    own: bool = True
    largest_liver: bool | None = None
    fill_liver: bool | None = None
    threshold: Threshold | None = None
    smooth_mm: Smoothing | None = None
    crf: Crf | None = None
    lesions_within_liver_mm: Distance | None = None
    min_lesion_ml: LesionVolume | None = None
    min_probability: Probability | None = None
    largest_lesion: bool | None = None

    def of(self, network: Rules) -> Rules:
        """Return the rules of a network with these changes."""
        given = {rule.name: value for rule in fields(Rules) if (value := getattr(self, rule.name)) is not None}
        return replace(network if self.own else Rules(), **given)


def _smooth(columns: np.ndarray, deviation: float) -> np.ndarray:
    """Average along the first axis with a Gaussian up to 4 standard deviations; the first and last value continue.

    The result equals that of ``scipy.ndimage.gaussian_filter1d``, which takes half a second to import.

    Args:
        columns: ``(S, N)`` float32.
        deviation: standard deviation in slices.
    """
    radius = int(4 * deviation + 0.5)
    weights = np.exp(-0.5 / deviation**2 * np.arange(-radius, 1) ** 2)
    weights /= 2 * weights.sum() - 1
    padded = np.pad(columns.astype(np.float64), ((radius, radius), (0, 0)), mode="edge")
    count = len(columns)
    smooth = padded[radius : radius + count] * weights[radius]
    for near, far, weight in zip(range(radius), range(2 * radius, radius, -1), weights, strict=False):
        smooth += (padded[near : near + count] + padded[far : far + count]) * weight
    return smooth.astype(np.float32)
