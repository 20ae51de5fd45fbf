"""Every part of a training recipe in ``conf/`` trains networks of every kind."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.networks import NARROW
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from lits_seg.common.files import CONF
from lits_seg.train import train

MODELS = {
    "dsc_unet": ("model=dsc_unet", *NARROW),
    "strided_unet": (
        "model=strided_unet",
        "model.widths=[8,8,16]",
        "model.blocks=[1,1,1]",
        "model.decoder_widths=[8,8]",
    ),
    "unet": ("model=unet", "decoder=maxunpool", *NARROW),
}
GROUPS = {
    group: [path.stem for path in sorted((CONF / group).glob("*.yaml"))]
    for group in ("augment", "loss", "optimizer", "scheduler", "callbacks")
}
LONGEST = max(map(len, GROUPS.values()))
# Each choice of each group is in at least one of these recipes.
RECIPES = [{group: names[i % len(names)] for group, names in GROUPS.items()} for i in range(LONGEST)]
SMALL = {  # settings of some parts for tiny images
    "scanner_crops": ["augment.crop=32"],
    "scanner_lesions": ["augment.crop=32"],
    "scanner_progressive": ["augment.stages=[[0,32],[0.25,48]]"],
    "deep_supervision": ["callbacks.deep_supervision.weights=[0.5]"],
    "distillation": ["callbacks.distillation.teachers=[maps]"],
    "side_outputs": ["model.out_channels=2"],
}
EVERYTHING = (
    *("augment=scanner_lesions", "augment.crop=32", "loss=component_dice_ce", "optimizer=rmsprop", "scheduler=cosine"),
    *("callbacks=[default,ema,deep_supervision,distillation,last_weights]", "minutes=1", "trainer.precision=auto"),
    *(*SMALL["deep_supervision"], *SMALL["distillation"], "+trainer.gradient_clip_val=1", "data.lesion_share=0.5"),
    *("data.balance_patients=true", "data.preprocess.equalize=false", "data.context=3"),
)


@pytest.fixture(scope="module")
def place(lits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the data set and a map of each patient, as a teacher."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "maps").mkdir()
    (folder / "lits").symlink_to(lits)
    for path in lits.glob("segmentation-*"):
        labels = nib.load(path)
        lesion = (np.asarray(labels.dataobj) == 2).astype(np.uint8)
        nib.save(nib.Nifti1Image(lesion, labels.affine), folder / "maps" / path.name)
    return folder


def two_steps(place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> None:
    """Train, validate and test two batches each, as ``train`` does."""
    settings = (
        *("data=lits", "data.root=lits", "data.preprocess.size=64", "data.batch_size=2", "data.workers=0"),
        "data.eval_batch_size=2",  # two batches are no whole patient, so that no pictures are drawn
        *("model.out_channels=3", "trainer=cpu", "+trainer.fast_dev_run=2", f"output_dir={folder}"),
    )
    monkeypatch.chdir(place)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*settings, *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]  # as Hydra does
    assert train(cfg, folder) is None


@pytest.mark.parametrize("model", ["dsc_unet", "strided_unet"])
@pytest.mark.parametrize("parts", RECIPES, ids=lambda parts: ",".join(parts.values()))
def test_every_part_trains(
    parts: dict[str, str], model: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callbacks = dict.fromkeys(["default", parts["callbacks"]])
    chosen = [f"{group}={name}" for group, name in parts.items() if group != "callbacks"]
    small = [setting for name in parts.values() for setting in SMALL.get(name, [])]
    if parts["callbacks"] == "distillation" and parts["augment"].endswith("one_by_one"):
        chosen[0] = "augment=scanner"  # maps are augmented by batches
    two_steps(place, tmp_path, monkeypatch, *MODELS[model], *chosen, f"callbacks=[{','.join(callbacks)}]", *small)


@pytest.mark.hostile
@pytest.mark.parametrize("model", MODELS)
def test_all_parts_train_together(model: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_steps(place, tmp_path, monkeypatch, *MODELS[model], *EVERYTHING)
