"""Learning from other networks' probabilities: from checkpoints, and from maps that were stored."""

import json
import shutil
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers.checkpoints import SETTINGS, save_checkpoint, with_model
from helpers.volumes import anatomy, write_case

from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain
from lits_seg.data.augment import RotateZoomBend, ScannerVariety
from lits_seg.data.augment_monai import rotate_zoom_bend
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.drawn_lesions import DrawnLesions
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.sources import Source
from lits_seg.data.split_record import SplitRecord
from lits_seg.packaged.card import CHECKPOINT, FOLDER
from lits_seg.training.distillation import Distillation
from lits_seg.training.module import LesionModule

IMAGES = torch.rand(2, 1, 32, 32)


def student(teacher: Path, **settings: float) -> LesionModule:
    torch.manual_seed(1)
    module = LesionModule(**SETTINGS)
    Distillation([str(teacher)], **settings).setup(SimpleNamespace(datamodule=None), module, "fit")
    return module


def test_the_loss_is_zero_for_the_teachers_own_logits_and_positive_for_others(tmp_path: Path) -> None:
    teacher = save_checkpoint(tmp_path / "a.ckpt")
    module = student(tmp_path / "a.ckpt", weight=1.0, temperature=1.0)
    (loss,) = module.auxiliary_losses
    logits = teacher(IMAGES).detach()
    assert float(loss({"image": IMAGES}, logits)) == pytest.approx(0, abs=1e-6)
    shifted = logits + torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)
    given, own = logits.softmax(1), shifted.softmax(1)
    by_hand = (given * (given.log() - own.log())).sum(1).mean()
    assert float(loss({"image": IMAGES}, shifted)) == pytest.approx(float(by_hand), rel=1e-4)


def test_the_teacher_is_neither_trained_nor_saved(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt")
    module = student(tmp_path / "a.ckpt")
    assert module.state_dict().keys() == LesionModule(**SETTINGS).state_dict().keys()
    loss = module.auxiliary_losses[0]({"image": IMAGES}, module(IMAGES))
    loss.backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in module.network.parameters())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (with_model(out_channels=3), "classes 2"),
        ({**SETTINGS, "foreground": "liver"}, r"structures \('lesion',\)"),
        (with_model(in_channels=3), "context 1"),
        ({**SETTINGS, "preprocess": {**SETTINGS["preprocess"], "size": 64}}, "size=32"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(settings: dict, named: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt", settings=settings)
    with pytest.raises(InputError, match=rf"a.ckpt: expected a teacher with .*{named}"):
        student(tmp_path / "a.ckpt")


@pytest.mark.hostile
def test_a_teacher_that_has_seen_test_patients_is_refused(lits: Path, tmp_path: Path) -> None:
    data = SliceDataModule(lits, tmp_path / "store", Preprocess(size=32), workers=0, folds=2)
    data.prepare_data()
    data.setup()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    teacher = tmp_path / "run" / "checkpoints" / "best.ckpt"
    save_checkpoint(teacher)
    for train, test in (("train", "test"), ("test", "train")):
        record = SplitRecord.of({**data.split, "train": data.split[train], "test": data.split[test]})
        (tmp_path / "run" / "split.json").write_text(json.dumps(as_plain(record)))
        taught_by = Distillation([str(teacher)])
        if train == "train":
            taught_by.setup(SimpleNamespace(datamodule=data), LesionModule(**SETTINGS), "fit")
            assert data.inherited == {f"{part} of teacher 1": record.voxels[part] for part in ("train", "val")}
            continue
        with pytest.raises(InputError, match="neither trained nor selected"):
            taught_by.setup(SimpleNamespace(datamodule=data), LesionModule(**SETTINGS), "fit")


def test_maps_of_lesions_teach_no_network_of_livers(tmp_path: Path) -> None:
    module = LesionModule(**{**SETTINGS, "foreground": "liver"})
    with pytest.raises(InputError, match=r"distillation\.teachers: expected .*foreground=liver; found maps of lesions"):
        Distillation([str(tmp_path)]).setup(SimpleNamespace(datamodule=SimpleNamespace(augment=None)), module, "fit")


@pytest.fixture(scope="module")
def maps(lits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a prediction: a map of each patient on the CT's grid, which shows the CT from -100 to 200 HU."""
    folder = tmp_path_factory.mktemp("predicted")
    (folder / "probability").mkdir()
    for number in range(8):
        ct = nib.load(lits / f"volume-{number}.nii.gz")
        grey = np.rint((np.clip(ct.get_fdata(), -100, 200) + 100) * (255 / 300)).astype(np.uint8)
        write_map(folder / "probability" / f"segmentation-{number}.nii.gz", grey, ct.affine)
    return folder


def write_map(path: Path, values: np.ndarray, affine: np.ndarray, slope: float = 1 / 255) -> None:
    image = nib.Nifti1Image(values, affine)
    image.header.set_slope_inter(slope, 0)
    image.to_filename(path)


def taught(lits: Path, store: Path, maps: Path, **settings: object) -> tuple[SliceDataModule, LesionModule]:
    """Return volumes and a student of three classes whose teacher are maps."""
    plain = Preprocess(size=32, equalize=False)
    data = SliceDataModule(lits, store, **{"preprocess": plain, "workers": 0, "batch_size": 8, "folds": 2, **settings})
    data.prepare_data()
    data.setup()
    data.trainer = SimpleNamespace(global_rank=0, world_size=1, lightning_module=SimpleNamespace(progress=lambda: 0))
    module = LesionModule(**with_model(out_channels=3))
    Distillation([str(maps)], weight=1.0, temperature=1.0).setup(SimpleNamespace(datamodule=data), module, "fit")
    return data, module


def first_batch(data: SliceDataModule) -> dict[str, torch.Tensor]:
    return data.on_after_batch_transfer(data.on_before_batch_transfer(next(iter(data.train_dataloader())), 0), 0)


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("augment", [None, RotateZoomBend(), RotateZoomBend(crop=16)])
def test_maps_move_as_the_slices_do(
    augment: RotateZoomBend | None, resident: bool, lits: Path, maps: Path, tmp_path: Path
) -> None:
    data, _ = taught(lits, tmp_path, maps, augment=augment, device_resident=resident)
    batch = first_batch(data)
    assert batch["maps"].std() > 0.1
    torch.testing.assert_close(batch["maps"], batch["image"], rtol=0, atol=1.1 / 255)


def test_grey_values_of_maps_stay_and_drawn_lesions_are_unknown(lits: Path, maps: Path, tmp_path: Path) -> None:
    plain, _ = taught(lits, tmp_path, maps, augment=RotateZoomBend(crop=24))
    lesions = DrawnLesions(probability=1.0, radius=(0.1, 0.2))
    variety = ScannerVariety(crop=24, bend_magnitude=(0.0, 0.02), intensity_probability=1.0, lesions=lesions)
    varied, module = taught(lits, tmp_path, maps, augment=variety)
    before, after = first_batch(plain), first_batch(varied)
    unknown = (before["label"] != after["label"])[:, None]
    assert unknown.any()
    assert torch.equal(after["maps"].isnan(), unknown)
    assert torch.equal(after["maps"][~unknown], before["maps"][~unknown])
    logits = torch.zeros(8, 3, 24, 24, requires_grad=True)
    module.auxiliary_losses[0](after, logits).backward()
    assert torch.equal(logits.grad[:, 2:] != 0, ~unknown)


def test_the_loss_of_maps_is_that_of_a_network_with_these_probabilities(lits: Path, maps: Path, tmp_path: Path) -> None:
    _, module = taught(lits, tmp_path, maps)
    (loss,) = module.auxiliary_losses
    logits, given = torch.randn(2, 3, 8, 8), torch.rand(2, 1, 8, 8) * 0.9 + 0.05
    own = logits.softmax(1)[:, 2:]
    by_hand = given * (given / own).log() + (1 - given) * ((1 - given) / (1 - own)).log()
    assert float(loss({"maps": given}, logits)) == pytest.approx(float(by_hand.mean()), rel=1e-4)
    same = torch.cat([torch.zeros(2, 1, 8, 8), torch.full((2, 1, 8, 8), -100.0), given.logit()], 1)
    assert float(loss({"maps": given}, same)) == pytest.approx(0, abs=1e-6)


def test_data_sets_without_maps_learn_from_labels_alone(lits: Path, maps: Path, tmp_path: Path) -> None:
    write_case(tmp_path / "more", "0", *anatomy(50))
    sources = {"more": Source(str(tmp_path / "more"), 0.5)}
    data, module = taught(lits, tmp_path, maps, sources=sources)
    batch = first_batch(data)
    unknown = batch["maps"].isnan().flatten(1)
    assert 0 < unknown.all(1).sum() < 8
    assert torch.equal(unknown.all(1), unknown.any(1))
    assert module.auxiliary_losses[0](batch, torch.zeros(8, 3, 32, 32)).isfinite()


def test_maps_of_a_data_set_are_found_by_composed_and_decomposed_names(lits: Path, maps: Path, tmp_path: Path) -> None:
    name, decomposed = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    write_case(tmp_path / "more", "0", *anatomy(50))
    shutil.copytree(maps, tmp_path / "maps")
    own = tmp_path / "maps" / "probability" / decomposed
    own.mkdir()
    ct = nib.load(tmp_path / "more" / "volume-0.nii.gz")
    write_map(own / "segmentation-0.nii.gz", np.zeros(ct.shape, np.uint8), ct.affine)
    data, _ = taught(lits, tmp_path / "store", tmp_path / "maps", sources={name: Source(str(tmp_path / "more"), 0.5)})
    assert [len(case.maps) for case in data.split["train"] if case.source == name] == [1]


@pytest.mark.hostile
def test_maps_that_do_not_fit_are_named_before_the_training(lits: Path, maps: Path, tmp_path: Path) -> None:
    ct = nib.load(lits / "volume-0.nii.gz")
    inside = tmp_path / "probability"
    shutil.copytree(maps / "probability", inside)
    path = inside / "segmentation-0.nii.gz"
    sound = path.read_bytes()
    zeros = np.zeros(ct.shape, np.uint8)
    moved = ct.affine.copy()
    moved[0, 3] += 40
    half = np.diag([2, 2, 1, 1.0])
    fold = next(
        f for f in range(2) if "0" in [case.name for case in taught(lits, tmp_path, maps, fold=f)[0].split["train"]]
    )
    for values, affine, slope, told in (
        (
            zeros,
            moved,
            1 / 255,
            rf"{path}: expected the grid of .*volume-0.nii.gz \(48×40×10 voxels.*; found 48×40×10.* mm",
        ),
        (zeros[::2, ::2], ct.affine @ half, 1 / 255, "found 24×20×10 voxels"),
        (zeros + 2, ct.affine, 1.0, f"{path}: expected probabilities between 0 and 1; found values from 2 to 2"),
        (zeros.astype(np.float32) * np.nan, ct.affine, 1.0, f"{path}: expected finite"),
    ):
        write_map(path, values, affine, slope)
        with pytest.raises(InputError, match=told):
            taught(lits, tmp_path / "store", tmp_path, fold=fold)
    path.write_bytes(sound[:200])
    with pytest.raises(InputError, match=str(path)):
        taught(lits, tmp_path / "store", tmp_path, fold=fold)
    path.unlink()
    with pytest.raises(InputError, match=r"expected a map of every training patient .*; found none for 0$"):
        taught(lits, tmp_path / "store", tmp_path, fold=fold)
    one_by_one = rotate_zoom_bend(size=32)
    with pytest.raises(InputError, match=r"distillation\.teachers: expected checkpoints, or augmentation by"):
        taught(lits, tmp_path / "store", maps, augment=one_by_one)
    path.write_bytes(sound)
    data, _ = taught(lits, tmp_path / "store", tmp_path, fold=fold)
    (stored, *_) = data.split["train"][0].maps
    stored.write_bytes(b"damaged")  # is written anew
    data, _ = taught(lits, tmp_path / "store", tmp_path, fold=fold)
    assert first_batch(data)["maps"].isfinite().all()


def test_the_packaged_network_may_teach() -> None:
    assert Distillation(["packaged"]).checkpoints == [str(FOLDER / CHECKPOINT)]


@pytest.mark.parametrize("wrong", [{"weight": 0.0}, {"temperature": -1.0}, {"teachers": []}])
def test_wrong_settings_are_named(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"callbacks.distillation.{next(iter(wrong))}: expected"):
        Distillation(**{"teachers": ["a.ckpt"], **wrong})
