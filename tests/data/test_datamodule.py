import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lits_seg.common.errors import InputError
from lits_seg.data import split_record
from lits_seg.data import store as store_module
from lits_seg.data.augment import ScannerVariety
from lits_seg.data.augment_monai import scanner_variety
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.layouts import find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.volumes import read_case


def make(root: Path, store: Path, **settings: object) -> SliceDataModule:
    defaults = {"preprocess": Preprocess(size=32), "augment": scanner_variety(32), "batch_size": 4, "workers": 0}
    module = SliceDataModule(root, store, **{**defaults, **settings})
    module.prepare_data()
    module.setup()
    return module


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def epoch(module: SliceDataModule, number: int = 0, loader: object = None) -> torch.Tensor:
    loader = loader or module.train_dataloader()
    loader.sampler.set_epoch(number)
    return torch.cat([batch["image"] for batch in loader])


def onto_device(module: SliceDataModule, batch: dict) -> dict:
    """What the trainer does with a batch before the network gets it."""
    return module.on_after_batch_transfer(module.on_before_batch_transfer(batch, 0), 0)


def network_batches(module: SliceDataModule, number: int = 0) -> list[dict]:
    loader = module.train_dataloader()
    loader.sampler.set_epoch(number)
    return [onto_device(module, batch) for batch in loader]


BOTH_WAYS = pytest.mark.parametrize("augment", [scanner_variety(32), ScannerVariety()], ids=["one by one", "batch"])


@BOTH_WAYS
@pytest.mark.parametrize("context", [1, 3])
def test_batches_are_what_the_networks_take(augment: object, context: int, lits: Path, store: Path) -> None:
    module = make(lits, store, augment=augment, context=context)
    batch = network_batches(module)[0]
    assert (batch["image"].shape, batch["image"].dtype) == ((4, context, 32, 32), torch.float32)
    assert (batch["label"].shape, batch["label"].dtype) == ((4, 32, 32), torch.int64)
    batch = onto_device(module, next(iter(module.val_dataloader())))
    assert batch["image"].shape[1:] == (context, 32, 32)
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert batch["truth"].shape[-2:] == (40, 48)


def test_a_slice_reaches_the_network_with_its_neighbours(lits: Path, store: Path) -> None:
    module = make(lits, store, augment=None, context=3)
    case = module.split["test"][0]
    batch = onto_device(module, next(iter(module.test_dataloader())))
    for i, around in ((0, (0, 0, 1)), (2, (1, 2, 3))):
        expected = torch.from_numpy(case.images[list(around)]) / 255
        assert torch.equal(batch["image"][i], expected)


@pytest.mark.parametrize("context", [1, 3])
def test_resident_slices_are_those_of_the_loader(context: int, lits: Path, store: Path) -> None:
    streamed, resident = (
        network_batches(make(lits, store, augment=ScannerVariety(), context=context, device_resident=kept))
        for kept in (False, True)
    )
    for one, other in zip(streamed, resident, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["label"], other["label"])


def test_batch_augmentation_repeats_with_the_seed_and_differs_between_epochs(lits: Path, store: Path) -> None:
    def images(number: int = 0, **settings: object) -> torch.Tensor:
        module = make(lits, store, augment=ScannerVariety(), **settings)
        return torch.cat([batch["image"] for batch in network_batches(module, number)])

    assert torch.equal(images(), images(workers=2))
    assert not torch.equal(images(), images(seed=1))
    assert not torch.equal(images(), images(number=1))


def test_evaluation_is_not_augmented(lits: Path, store: Path) -> None:
    plain, augmented = (make(lits, store, augment=augment) for augment in (None, ScannerVariety()))
    one, other = (onto_device(module, next(iter(module.test_dataloader()))) for module in (plain, augmented))
    assert torch.equal(one["image"], other["image"])


def test_augmentation_repeats_with_the_seed_whatever_the_number_of_workers(lits: Path, store: Path) -> None:
    alone, again, other = (epoch(make(lits, store, seed=seed)) for seed in (0, 0, 1))
    shared = epoch(make(lits, store, workers=2))
    assert torch.equal(alone, again)
    assert torch.equal(alone, shared)
    assert not torch.equal(alone, other)


def test_augmentation_differs_between_epochs_and_samples(lits: Path, store: Path) -> None:
    module = make(lits, store, workers=2, slices_per_epoch=40)
    loader = module.train_dataloader()
    first, second, first_again = (epoch(module, number, loader) for number in (0, 1, 0))
    assert torch.equal(first, first_again)
    assert not torch.equal(first, second)
    slices = loader.dataset
    pictures = [slices[(7, seed)]["image"] for seed in range(12)]
    assert all(not torch.equal(a, b) for i, a in enumerate(pictures) for b in pictures[:i])


def test_labels_through_the_loader_are_labels_and_do_not_depend_on_workers(lits: Path, store: Path) -> None:
    alone, shared = (
        torch.cat([batch["label"] for batch in make(lits, store, workers=workers).train_dataloader()])
        for workers in (0, 2)
    )
    assert torch.equal(alone, shared)
    assert set(alone.unique().tolist()) == {0, 1, 2}


def test_evaluation_batches_of_the_loader_hold_one_patient(lits: Path, store: Path) -> None:
    for loader in (make(lits, store).val_dataloader(), make(lits, store, eval_batch_size=3).test_dataloader()):
        assert all(len(set(batch["case"].tolist())) == 1 for batch in loader)


@pytest.mark.parametrize("part", ["all", "liver", "lesion"])
def test_part_of_the_slices(part: str, lits: Path, store: Path) -> None:
    slices = make(lits, store, slices=part).train_dataloader().dataset
    counts = {"all": [1], "liver": [case.liver_pixels[i] for case, i in slices.places]}
    counts["lesion"] = [case.lesion_pixels[i] for case, i in slices.places]
    assert min(counts[part]) > 0
    assert part == "all" or len(slices) < len(make(lits, store).train_dataloader().dataset)


def test_ranks_share_the_evaluation_and_none_is_idle(lits: Path, store: Path) -> None:
    module = make(lits, store, eval_batch_size=100)
    met = []
    for rank in range(4):
        module.trainer = SimpleNamespace(global_rank=rank, world_size=4)
        batches = list(module.val_dataloader())
        assert batches
        met += [(int(c), int(s)) for batch in batches for c, s in zip(batch["case"], batch["slice"], strict=True)]
    assert len(met) == len(set(met)) == sum(len(case) for case in module.split["val"])


def test_label_counts(lits: Path, store: Path) -> None:
    module = make(lits, store)
    labels = torch.cat([torch.from_numpy(case.labels.copy()).flatten() for case in module.split["train"]])
    assert module.label_counts() == labels.bincount(minlength=3).tolist()


def test_volumes_from_elsewhere_are_all_tested(lits: Path, store: Path, caplog: pytest.LogCaptureFixture) -> None:
    held_out = ", ".join(case.name for case in make(lits, store).split["test"])
    module = make(lits, store, test_root=lits, allow_overlap=True)
    assert len(module.split["test"]) == 8
    assert len(module.split["train"]) < 8
    assert f"held out by the split and not tested, since data.test_root is tested instead: {held_out}" in caplog.text
    assert not module.synthetic


def test_skipped_cases_are_read_once(lits: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, read = shutil.copytree(lits, tmp_path / "root"), []
    (root / "volume-3.nii.gz").write_bytes(b"damaged")
    monkeypatch.setattr(store_module, "read_case", lambda case, watch: read.append(case) or read_case(case, watch))
    rank = make(root, store, on_error="skip")
    assert sorted(case.name for case in read) == ["0", "1", "2", "3", "4", "5", "6", "7"]
    other = SliceDataModule(root, store, rank.preprocess, on_error="skip")
    shutil.copy(root / "volume-4.nii.gz", root / "volume-3.nii.gz")  # another rank decides no other way
    other.setup()
    assert names(other) == names(rank)
    assert len(read) == 8


def test_warnings_are_not_repeated_before_every_stage(
    lits: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    test_root = shutil.copytree(lits, store / "test")
    module = make(lits, store, test_root=test_root, allow_overlap=True, preprocess=Preprocess(size=32, spacing=0.5))
    module.setup("validate")
    module.setup("test")
    assert [caplog.text.count(f"{root}: 8 of 8 CTs are cropped") for root in (lits, test_root)] == [1, 1]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"slices": "kidney"}, "all, liver, lesion"),
        (
            {"lesion_share": 1.5},
            "data.lesion_share: expected a number, greater than 0, less than 1, or null; found 1.5",
        ),
        ({"context": 2}, "1, 3 or 5"),
        ({"folds": 1}, "data.folds: expected a whole number, at least 2; found 1"),
        ({"batch_size": 0}, "data.batch_size: expected a whole number, at least 1; found 0"),
        ({"eval_batch_size": "many"}, "data.eval_batch_size: expected a whole number, at least 1; found many"),
        ({"workers": -1}, "data.workers: expected a whole number, at least 0; found -1"),
        ({"device_resident": True}, "by batches"),
    ],
)
def test_bad_settings_are_named(settings: dict, told: str, lits: Path, store: Path) -> None:
    with pytest.raises(InputError, match=told):
        make(lits, store, **settings)


@pytest.mark.parametrize("settings", [{"split": "none.json"}, {"folds": 99}])
def test_a_split_that_cannot_be_is_named_before_any_volume_is_read(settings: dict, lits: Path, tmp_path: Path) -> None:
    module = SliceDataModule(lits, tmp_path / "store", Preprocess(size=32), **settings)
    with pytest.raises(InputError, match=r"data\."):
        module.prepare_data()
    assert not (tmp_path / "store").exists()


def test_balanced_batches_need_both_kinds_of_slices(lits: Path, store: Path) -> None:
    with pytest.raises(InputError, match="with and without lesion"):
        make(lits, store, slices="lesion", lesion_share=0.5).train_dataloader()


def names(module: SliceDataModule) -> dict[str, list[str]]:
    return {part: [case.name for case in cases] for part, cases in module.split.items()}


@pytest.mark.parametrize("settings", [{}, {"val_share": 0.0}, {"folds": 3, "fold": 1}], ids=str)
def test_a_recorded_split_is_used_whatever_was_added(
    settings: dict, lits: Path, store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = names(make(lits, store, **settings))
    root = shutil.copytree(lits, tmp_path / "root")
    for kind in ("volume", "segmentation"):
        for number in (8, 9):
            shutil.copy(root / f"{kind}-1.nii.gz", root / f"{kind}-{number}.nii.gz")
    (root / "volume-9.nii.gz").write_bytes(b"damaged")
    assert names(make(root, store, **{**settings, "fold": 0}, recorded=recorded)) == recorded
    assert caplog.text.count("not used, since they are not in this run's split: 8, 9") == 1


def test_the_files_of_a_recorded_split_are_searched_once(
    lits: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded, searched = names(make(lits, store)), []
    monkeypatch.setattr(split_record, "find_cases", lambda *given: searched.append(given) or find_cases(*given))
    SliceDataModule(lits, store, Preprocess(size=32), recorded=recorded).prepare_data()
    assert len(searched) == 1


def test_a_recorded_split_has_test_patients_of_their_own_folder(lits: Path, store: Path) -> None:
    recorded = {"train": ["5", "0"], "val": ["3"], "test": ["5", "3"]}
    assert names(make(lits, store, test_root=lits, recorded=recorded)) == recorded


@pytest.mark.hostile
def test_patients_missing_from_a_recorded_split_are_named(lits: Path, store: Path, tmp_path: Path) -> None:
    recorded = names(make(lits, store))
    root = shutil.copytree(lits, tmp_path / "root")
    (root / "volume-3.nii.gz").unlink()
    for kind in ("volume", "segmentation"):
        (root / f"{kind}-6.nii.gz").unlink()
    for on_error in ("stop", "skip"):
        with pytest.raises(InputError, match=r"the 8 patients of split\.json.*none for (3, 6|6, 3)\n.*segmentation-3"):
            make(root, store, recorded=recorded, on_error=on_error)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        ([], "a list of names of patients for each part.*; found the file: "),
        ({"train": ["0"], "val": ["1"]}, "; found test: "),
        ({"train": "0", "val": ["1"], "test": ["2"]}, "; found train: "),
        ({"train": ["0"], "val": [1], "test": ["2"]}, r"; found val\.0: "),
        ({"train": ["0", "0"], "val": ["1"], "test": ["2"]}, "every patient once; found more than once: 0"),
        ({"train": ["0", "1"], "val": ["1"], "test": ["2"]}, "more than once: 1"),
        ({"train": ["0", "2"], "val": ["1"], "test": ["2"]}, "more than once: 2"),
        ({"train": ["0"], "val": ["1", "2"], "test": ["2"]}, "more than once: 2"),
        ({"train": ["0", "1"], "val": ["1"], "test": ["1"]}, "more than once: 1"),
        ({"train": ["0"], "val": ["1", "1"], "test": ["1", "1"]}, "more than once: 1"),
    ],
    ids=str,
)
def test_a_damaged_record_is_named(recorded: object, told: str, lits: Path, store: Path) -> None:
    with pytest.raises(InputError, match=rf"split\.json.*{told}"):
        make(lits, store, recorded=recorded)
