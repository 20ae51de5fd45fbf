"""List the systems of the paper's Table I and of its related work: how each is trained, and what was reported."""

from dataclasses import dataclass

from experiments.shared.trainings import OWN

ISBI = "ISBI 2017 test set, 70 CT (Bilic et al., 2023)"
DRIU = ("model.out_channels=2", "data.context=3", "data.label_context=3")
LESION = ("model.out_channels=2", "data.slices=liver", "loss_region=predicted_liver", "liver_margin=0")
LIVER = ("model.out_channels=2", "foreground=liver")
# The detector's windows on images of 256 px: half of the original's at 512 px, from whole slices.
WINDOWS = ("model.cell=25", "model.around=8", "model.margin=12", "model.liver_pixels=156", "model.lesion_pixels=12")
WHOLE = ("augment.crop=null", "data.slices=liver", "loss=weighted_ce")
DETECTOR = ("model=detector", *WINDOWS, "model.out_channels=2", "data.context=3", *WHOLE)
CRF = ("rules.threshold=0.5", "rules.crf={appearance_mm: 4}")  # the defaults for the rest; not tuned
# Backward passes take twice as long as forward passes. A network whose weights are fixed has only the latter.
AFTER_LIVER = 4 / 3
# By multiply-accumulates, 64 windows of 41 px take a tenth of 16 crops of 128 px in DRIU. Loading adds as much.
OF_WINDOWS = 0.2


@dataclass(frozen=True)
class Stage:
    """A training by ``experiment=common``.

    Args:
        network: a key of ``train_speed.measure.NETWORKS``, whose overrides and rate apply.
        overrides: further overrides.
        name: name of a stage before the last; empty for the last, whose run is that of the system.
        cost: time of a step, relative to that of the network alone.
    """

    network: str
    overrides: tuple[str, ...] = ()
    name: str = ""
    cost: float = 1.0


@dataclass(frozen=True)
class System:
    """A row of the table.

    Args:
        stages: its trainings; each sees the checkpoint of the one before as ``liver_ckpt``.
        paper: its score in the paper's Table I; empty if it has no row there.
        original: what its authors or a benchmark reported, with the source; empty if nothing on lesions of the liver.
        after: a system whose last network it shares, with other ``rules``; it has no training of its own.
        rules: overrides of ``lits-seg evaluate``.
        missing: why it is not built.
    """

    stages: tuple[Stage, ...] = ()
    paper: str = ""
    original: str = ""
    after: str = ""
    rules: tuple[str, ...] = ()
    missing: str = ""


def _one(network: str, paper: str = "", original: str = "") -> System:
    return System((Stage(network),), paper, original)


BELLVER = (Stage("driu", (*DRIU, *LIVER), "liver"), Stage("driu", (*DRIU, *LESION), cost=AFTER_LIVER))
DETECTED = (
    BELLVER[0],
    Stage("driu", (*DRIU, *LESION), "lesion", AFTER_LIVER),
    Stage("driu", DETECTOR, cost=OF_WINDOWS),
)
CHRIST = (Stage("unet", LIVER, "liver"), Stage("unet", (*LESION, "liver_enlarge=true"), cost=AFTER_LIVER))

BASE = "dsc_unet"  # the paper's network, which the others are compared with
SYSTEMS: dict[str, System] = {
    BASE: _one(BASE, "0.587 (two definitions, neither of them Dice)"),
    "bellver_baseline": _one("driu", "0.41", f"0.411, {ISBI}"),
    "bellver_cascade": System(BELLVER, "0.54"),
    "bellver_detector": System(DETECTED, "0.57"),
    "bellver_crf": System(paper="0.59", original="0.59, MICCAI 2017 challenge", after="bellver_detector", rules=CRF),
    "vorontsov": _one("vorontsov", "0.66", f"0.645, {ISBI}; mean of three networks at 512 px"),
    "vorontsov_own": System((Stage("vorontsov", OWN["vorontsov"]),)),
    "christ": System(CHRIST),
    "christ_crf": System(original=f"0.529, {ISBI}", after="christ", rules=CRF),
    "han": _one("han", "", f"0.674, {ISBI}; with a liver network at 480 px"),
    "denseunet_161": _one("denseunet_161", "", "0.70, LiTS test set, from memory; begun from ImageNet"),
    "h_denseunet": System(
        original="0.722, LiTS test set, from memory",
        missing="not built: its 3-D part needs slabs of slices in training, prediction and export, and a GPU",
    ),
    "unet_3d": System(missing="not built: it needs slabs of slices in training, prediction and export"),
    "drozdzal_2016": _one("drozdzal_2016"),
    "drozdzal_2018": _one("drozdzal_2018", "", "0.71, CTs of their own, from memory"),
    **{name: _one(name) for name in ("unet", "unet_bn", "fcn8s", "segnet", "ternausnet", "mobilenet_v1", "smp_unet")},
    **{name: _one(name) for name in ("strided_unet", "strided_resunet", "basic_unet", "nnunet_2d")},
}
