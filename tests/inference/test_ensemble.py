from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers.checkpoints import SETTINGS, save_checkpoint, with_model
from helpers.volumes import AFFINES, anatomy, write_case

from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.grid import to_slices
from lits_seg.inference.ensemble import VIEWS, Ensemble
from lits_seg.inference.segmenter import NotFiniteError
from lits_seg.training.checkpoints import load_module

IMAGES = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def probability(path: Path, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return load_module(path)(images.float() / 255).softmax(dim=1)


def test_one_view_of_one_network_is_the_network(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt")
    expected = probability(tmp_path / "a.ckpt", IMAGES)
    labels, lesion = Ensemble([tmp_path / "a.ckpt"], device="cpu").labels(IMAGES, 32, 32)
    np.testing.assert_array_equal(labels, 2 * expected.argmax(dim=1).numpy())
    np.testing.assert_allclose(lesion / 255, expected[:, 1], atol=0.5 / 255 + 1e-6)
    assert 0 < (labels == 2).mean() < 1


def test_several_networks_give_the_mean_probability(tmp_path: Path) -> None:
    paths = [tmp_path / f"{seed}.ckpt" for seed in range(3)]
    for seed, path in enumerate(paths):
        save_checkpoint(path, seed, with_model(out_channels=3))
    expected = torch.stack([probability(path, IMAGES) for path in paths]).mean(dim=0)
    labels, lesion = Ensemble(paths, device="cpu").labels(IMAGES, 32, 32)
    np.testing.assert_array_equal(labels, expected.argmax(dim=1).numpy())
    np.testing.assert_allclose(lesion / 255, expected[:, 2], atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("tta", ["flips", "rotations", "all"])
def test_what_is_seen_from_all_sides_does_not_depend_on_the_side(tta: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt")
    ensemble = Ensemble([tmp_path / "a.ckpt"], tta, device="cpu")
    assert len(VIEWS[tta]) == len(set(VIEWS[tta])) == (8 if tta == "all" else 4)
    for turns, mirrored in VIEWS[tta]:
        seen = torch.rot90(IMAGES.flip(-1) if mirrored else IMAGES, turns, (-2, -1))
        _, lesion = ensemble.labels(seen, 32, 32)
        back = np.rot90(lesion, -turns, (-2, -1))
        back = back[..., ::-1] if mirrored else back
        np.testing.assert_allclose(back.astype(int), ensemble.labels(IMAGES, 32, 32)[1], atol=1)
    one_view = Ensemble([tmp_path / "a.ckpt"], device="cpu").labels(IMAGES, 32, 32)[1]
    assert (one_view != ensemble.labels(IMAGES, 32, 32)[1]).any()


@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_a_ct_in_batches_is_the_ct_at_once(context: int, batch_size: int, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt", settings=with_model(in_channels=context))
    hu = anatomy(0)[0]
    nib.save(nib.Nifti1Image(hu, AFFINES["flipped"]), tmp_path / "ct.nii")
    ensemble = Ensemble([tmp_path / "a.ckpt"], device="cpu")
    with open_ct(tmp_path / "ct.nii") as ct:
        parts = list(ensemble.segment(ct, batch_size))
    assert [part[0] for part in parts] == list(range(0, 10, batch_size))
    slices = to_slices(hu, AFFINES["flipped"])
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), slices)
    images = torch.from_numpy(ensemble.first.preprocess.images(slices))
    around = [[min(max(i + j - context // 2, 0), 9) for j in range(context)] for i in range(10)]
    _, expected = ensemble.labels(images[torch.tensor(around)], *slices.shape[1:])
    np.testing.assert_allclose(np.concatenate([part[3] for part in parts]).astype(int), expected, atol=1)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (with_model(out_channels=3), r"b\.ckpt: expected the same classes as .*a\.ckpt \(2\); found 3"),
        (with_model(in_channels=3), "the same context"),
        ({**SETTINGS, "preprocess": {**SETTINGS["preprocess"], "window": [-50, 150]}}, "the same preprocess"),
    ],
)
def test_networks_that_do_not_belong_together(other: dict, told: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt")
    save_checkpoint(tmp_path / "b.ckpt", settings=other)
    with pytest.raises(InputError, match=told):
        Ensemble([tmp_path / "a.ckpt", tmp_path / "b.ckpt"], device="cpu")


@pytest.mark.parametrize("settings", [{"tta": "some"}, {"precision": "8"}, {"device": "phone"}])
def test_bad_settings_are_named(settings: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{next(iter(settings))}: expected"):
        Ensemble([tmp_path / "a.ckpt"], **settings)


@pytest.mark.hostile
@pytest.mark.parametrize("members", [1, 2])
def test_logits_that_overflow_are_no_labels(members: int, tmp_path: Path) -> None:
    for seed in range(members):
        module = save_checkpoint(tmp_path / f"{seed}.ckpt", seed)
    state = module.state_dict()
    state["network.logits.weight"].fill_(3e38)  # finite, unlike their products
    torch.save({"state_dict": state, "hyper_parameters": dict(module.hparams)}, tmp_path / "0.ckpt")
    ensemble = Ensemble([tmp_path / f"{seed}.ckpt" for seed in range(members)], device="cpu")
    with pytest.raises(NotFiniteError) as raised:
        ensemble.labels(IMAGES, 32, 32)
    assert raised.value.index == 0


def test_prediction_at_a_spacing_gives_the_labels_of_the_test(tmp_path: Path) -> None:
    spacing = {"preprocess": {**SETTINGS["preprocess"], "spacing": 2.0}}
    module = save_checkpoint(tmp_path / "a.ckpt", settings={**with_model(out_channels=3), **spacing})
    for number in range(4):
        affine = AFFINES["permuted"] @ np.diag([1, 0.7, 1 + number / 4, 1])  # pixels that are not square
        write_case(tmp_path / "lits", str(number), *anatomy(number), affine)
    settings = {"preprocess": module.preprocess, "eval_batch_size": 3, "workers": 0, "folds": 2}
    volumes = SliceDataModule(tmp_path / "lits", tmp_path / "store", **settings)
    volumes.prepare_data()
    volumes.setup()
    ensemble = Ensemble([tmp_path / "a.ckpt"], device="cpu")
    batches = [volumes.on_after_batch_transfer(dict(batch), 0) for batch in volumes.test_dataloader()]
    for number, case in enumerate(volumes.split["test"]):
        with open_ct(tmp_path / "lits" / f"volume-{case.name}.nii.gz") as ct:
            predicted = np.concatenate([labels for _, _, labels, _ in ensemble.segment(ct, 4)])
        with torch.inference_mode():
            tested = torch.cat(
                [
                    module.labels(module(batch["image"]), *batch["truth"].shape[1:], pixel_mm=batch["pixel_mm"])[0]
                    for batch in batches
                    if batch["case"][0] == number
                ]
            )
        assert predicted.shape == case.shape
        assert (predicted == tested.numpy()).mean() > 0.999
        assert len(np.unique(predicted)) == 3
