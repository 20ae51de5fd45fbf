"""Several data sets in one training."""

import shutil
import unicodedata
from pathlib import Path

import pytest
import torch
from helpers.checkpoints import with_model
from helpers.volumes import anatomy, write_case
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from lits_seg.cli import CONF
from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.data.layouts import PHANTOM
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.sampling import LIVER_OR_LESION
from lits_seg.data.sources import Source
from lits_seg.data.split_record import SplitRecord
from lits_seg.training.module import LesionModule


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients with liver labels alone; their names are also names of patients of ``lits``."""
    root = tmp_path_factory.mktemp("healthy")
    for number in range(3):
        write_case(root, str(number), *anatomy(100 + number, lesion=False))
    return root


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def mixed(lits: Path, store: Path, source: Source, **settings: object) -> SliceDataModule:
    defaults = {"preprocess": Preprocess(size=32), "batch_size": 4, "workers": 0, "slices_per_epoch": 200}
    module = SliceDataModule(lits, store, sources={"healthy": source}, **{**defaults, **settings})
    module.prepare_data()
    module.setup()
    return module


def drawn(module: SliceDataModule) -> list[str]:
    """The data set of each slice of an epoch."""
    loader = module.train_dataloader()
    return [loader.dataset.places[index][0].source for index, _ in loader.sampler]


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_each_data_set_has_its_share_of_the_slices(
    share: float, balance: bool, lits: Path, store: Path, healthy: Path
) -> None:
    module = mixed(lits, store, Source(str(healthy), share, lesions="absent"), balance_patients=balance)
    assert drawn(module).count("healthy") == pytest.approx(200 * share, abs=1)


def test_lesion_slices_come_from_those_that_have_lesions(lits: Path, store: Path, healthy: Path) -> None:
    module = mixed(lits, store, Source(str(healthy), 0.5), lesion_share=0.5)
    loader = module.train_dataloader()
    lesions = [loader.dataset.has_lesion[index] for index, _ in loader.sampler]
    assert sum(lesions) == 100
    assert drawn(module).count("healthy") == pytest.approx(50, abs=1)  # half of the slices without lesion


@pytest.mark.parametrize("split", [False, True])
def test_patients_of_all_data_sets_have_names_of_their_own(split: bool, lits: Path, store: Path, healthy: Path) -> None:
    module = mixed(lits, store, Source(str(healthy), 0.5, split=split), folds=2, val_share=0.0)
    names = {part: [case.name for case in cases] for part, cases in module.split.items()}
    assert len(set(names["train"] + names["test"])) == 11
    assert any(name.startswith("healthy-") for name in names["test"]) == split
    again = mixed(lits, store, Source(str(healthy), 0.5, split=split), recorded=names, val_share=0.0)
    assert {part: [case.name for case in cases] for part, cases in again.split.items()} == names


def test_the_loss_ignores_livers_whose_lesions_are_unknown(lits: Path, store: Path, healthy: Path) -> None:
    module = mixed(lits, store, Source(str(healthy), 0.99, lesions="unknown"))
    batch = next(iter(module.train_dataloader()))
    batch = module.on_after_batch_transfer(module.on_before_batch_transfer(batch, 0), 0)
    unknown = batch["label"] == LIVER_OR_LESION
    assert unknown.any()
    network = LesionModule(**with_model(out_channels=3))
    network.log = lambda *_, **__: None
    logits = torch.zeros(4, 3, 32, 32, requires_grad=True)
    network.network.forward = lambda images: logits
    network.loss.set_counts([1, 1, 1])
    network.training_step(batch, 0).backward()
    where = unknown[:, None].expand_as(logits)
    assert not logits.grad[where].any()
    assert logits.grad[~where].any()


@pytest.mark.parametrize(
    ("source", "settings", "named"),
    [
        ({"share": 0.0}, {}, "data.sources: share: expected a number, greater than 0, less than 1; found 0.0"),
        ({"lesions": "some"}, {}, "data.sources: lesions: expected one of known, absent, unknown"),
        ({"root": "lits"}, {}, "data.sources: expected each folder once"),
    ],
)
def test_wrong_sources_are_named(
    source: dict, settings: dict, named: str, lits: Path, store: Path, healthy: Path
) -> None:
    if "root" in source:
        source = {"root": str(lits)}
    with pytest.raises(InputError, match=named):
        mixed(lits, store, Source(**{"root": str(healthy), "share": 0.5, **source}), **settings)


def test_shares_that_leave_nothing_are_refused(lits: Path, store: Path, healthy: Path) -> None:
    sources = {"a": Source(str(healthy), 0.5), "b": Source(str(healthy / "b"), 0.5)}
    with pytest.raises(InputError, match=r"data\.sources: expected shares with a sum below 1"):
        SliceDataModule(lits, store, Preprocess(size=32), sources=sources)


def test_a_split_has_composed_names_of_data_sets_too(lits: Path, store: Path, healthy: Path) -> None:
    sources = {unicodedata.normalize("NFD", "Müller"): Source(str(healthy), 0.5)}
    module = SliceDataModule(lits, store, Preprocess(size=32), val_share=0.0, workers=0, sources=sources)
    module.prepare_data()
    module.setup()
    record = SplitRecord.of(module.split)
    assert record.train[-3:] == ["Müller-0", "Müller-1", "Müller-2"]
    again = SliceDataModule(lits, store, Preprocess(size=32), workers=0, sources=sources, recorded=as_plain(record))
    again.prepare_data()
    again.setup()
    assert SplitRecord.of(again.split) == record


def test_names_that_differ_in_composed_letters_only_are_refused(lits: Path, store: Path, healthy: Path) -> None:
    names = [unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD")]
    sources = {name: Source(str(healthy / name), 0.3) for name in names}
    with pytest.raises(InputError, match=r"^data\.sources: expected names that differ not .*; found Müller twice$"):
        SliceDataModule(lits, store, Preprocess(size=32), sources=sources)


@pytest.mark.parametrize("patients", ["data.root", "data.test_root", "data.sources"])
def test_names_that_do_not_show_their_data_set_are_named(
    patients: str, lits: Path, store: Path, healthy: Path, tmp_path: Path
) -> None:
    write_case(tmp_path, "pat-3", *anatomy(0))
    sources = {"pat": Source(str(healthy), 0.3)}
    if patients == "data.sources":
        sources["pat-3"] = Source(str(tmp_path), 0.3)
    root, test_root = (tmp_path if patients == place else lits for place in ("data.root", "data.test_root"))
    module = SliceDataModule(root, store, Preprocess(size=32), sources=sources, test_root=test_root, allow_overlap=True)
    with pytest.raises(InputError, match=r"do not begin with pat-.*; found pat-3"):
        module.prepare_data()


def test_lesions_of_patients_that_have_none_and_a_patient_in_two_roots_are_named(
    lits: Path, store: Path, tmp_path: Path
) -> None:
    write_case(tmp_path, "7", *anatomy(200))
    with pytest.raises(InputError, match=r"labels without lesions \(data.sources.healthy.lesions=absent\); found .*7"):
        mixed(lits, store, Source(str(tmp_path), 0.5, lesions="absent"))
    copies = tmp_path / "copies"
    write_case(copies, "9", *anatomy(0))
    with pytest.raises(InputError, match=r"healthy-9"):
        mixed(lits, store, Source(str(copies), 0.5), fold=next(f for f in range(4) if "0" in of_fold(lits, store, f)))


def of_fold(lits: Path, store: Path, fold: int) -> list[str]:
    module = SliceDataModule(lits, store, Preprocess(size=32), fold=fold)
    module.prepare_data()
    module.setup()
    return [case.name for case in module.split["test"]]


def test_the_configuration_makes_the_data_sets(lits: Path, store: Path, healthy: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = [f"data.root={lits}", f"data.sources.phantom.root={healthy}", "data.preprocess.size=32"]
        cfg = compose("train", ["data=mix", "augment=none", f"store={store}", "data.workers=0", *settings])
    module = instantiate(cfg.data)
    module.prepare_data()
    module.setup()
    assert sum(case.name.startswith("phantom-") for case in module.split["train"]) == 3


@pytest.mark.parametrize("split", [False, True])
def test_synthetic_patients_of_another_data_set_make_the_test_synthetic(
    split: bool, lits: Path, store: Path, healthy: Path, tmp_path: Path
) -> None:
    phantom = Path(shutil.copytree(healthy, tmp_path / "phantom"))
    (phantom / PHANTOM).write_text("{}")
    assert mixed(lits, store, Source(str(phantom), 0.5, split=split), folds=2, val_share=0.0).synthetic == split


def test_too_few_patients_of_another_data_set_name_it(lits: Path, store: Path, healthy: Path) -> None:
    with pytest.raises(
        InputError, match=r"^data\.sources\.healthy\.root: expected at least 5 patients for 4 folds; found 3"
    ):
        mixed(lits, store, Source(str(healthy), 0.5, split=True))
