"""Recipes that cannot be trained: one error that names the file or the setting, before the first step."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.checkpoints import SETTINGS, save_checkpoint
from helpers.commands import SMOKE, failed_command, run_command
from helpers.volumes import AFFINES, anatomy, write_case

pytestmark = pytest.mark.hostile
RUN = Path("runs") / "wrong"
HEALTHY = "_target_: lits_seg.data.sources.Source, root: healthy"
STRIDED = {"_target_": "lits_seg.models.StridedUNet", "out_channels": 2, "widths": [4, 8], "blocks": [1, 1],
           "decoder_widths": [4]}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with synthetic patients, healthy patients, a checkpoint and maps on another grid."""
    folder = tmp_path_factory.mktemp("wrong")
    run_command("prepare", "data=smoke", cwd=folder)
    for number in range(2):
        write_case(folder / "healthy", str(number), *anatomy(number, lesion=False))
    save_checkpoint(folder / "strided.ckpt", settings={**SETTINGS, "model": STRIDED})
    (folder / "teacher").mkdir()
    for number in range(8):
        image = nib.Nifti1Image(np.zeros((64, 64, 11), np.uint8), AFFINES["LPS"])
        image.to_filename(folder / "teacher" / f"segmentation-{number}.nii.gz")
    shutil.copytree(folder / "data" / "smoke", folder / "copies")
    for path in sorted((folder / "data" / "smoke").glob("segmentation-*")):
        labels = nib.load(path)
        lesions = np.where(np.asarray(labels.dataobj) == 2, 2, 0).astype(np.uint8)
        write_case(folder / "lesions", path.name[13:-7].removesuffix(".nii"), scan(path), lesions, labels.affine)
    return folder


def scan(labels: Path) -> np.ndarray:
    (path,) = labels.parent.glob(f"{labels.name.split('.')[0].replace('segmentation', 'volume')}.nii*")
    return np.asarray(nib.load(path).dataobj)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["init_from=strided.ckpt"],
            [
                "strided.ckpt: expected a checkpoint with layers of this network (lits_seg.models.DSCUNet)",
                "StridedUNet",
            ],
        ),
        (
            ["callbacks=[default,distillation]", "callbacks.distillation.teachers=[teacher]"],
            ["teacher/segmentation-", ": expected the grid of data/smoke/volume-", "64×64", "found 64×64×11 voxels"],
        ),
        (
            ["callbacks=[default,distillation]", "callbacks.distillation.teachers=[healthy]"],
            ["healthy: expected a map of every training patient", "found none for"],
        ),
        (["minutes=0"], ["minutes: expected a number, greater than 0", "found 0"]),
        (
            [f"data.sources={{a: {{{HEALTHY}, share: 0.5}}, b: {{{HEALTHY}/b, share: 0.5}}}}"],
            ["data.sources: expected shares with a sum below 1", "found 1"],
        ),
        (
            [f"data.sources={{healthy: {{{HEALTHY}, share: 0.5, lesions: absent}}}}", "data.slices=lesion"],
            ["data.sources: expected training slices of every data set", "(data.slices=lesion); found none of healthy"],
        ),
        (
            ["data.sources={more: {_target_: lits_seg.data.sources.Source, root: copies, share: 0.5}}"],
            ["expected each CT in one part of the split", "more-"],
        ),
        (
            [
                "data.allow_overlap=true",
                "data.sources={more: {_target_: lits_seg.data.sources.Source, root: copies, "
                "share: 0.5, lesions: unknown, split: true}}",
            ],
            ["data.sources: split: expected false for data sets with lesions=unknown", "found true for more-"],
        ),
        (
            ["data=lits", "data.root=lesions", "data.preprocess.size=64", "data.workers=0", "augment=scanner_lesions"],
            ["lesions: expected labels of livers (augment.lesions draws lesions into livers); found no pixel of liver"],
        ),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_one_error(arguments: list[str], told: list[str], place: Path) -> None:
    shown = failed_command("train", *SMOKE, *arguments, "name=wrong", cwd=place)
    assert shown.startswith("error: ")
    for text in told:
        assert text in shown
    assert not list((place / RUN).glob("checkpoints/*"))
    assert not (place / RUN / "result.json").exists()
