"""A run's own volumes and split are read as plain values: nothing that its files name is called."""

import json
from pathlib import Path

import pytest
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import failed_command, run_command
from omegaconf import OmegaConf

from lits_seg.common.errors import InputError
from lits_seg.evaluation.recorded_data import GENERATOR, recorded_volumes
from lits_seg.training.checkpoints import load_module

EVALUATE = ("evaluate", "ckpt=run/checkpoints/net.ckpt", "accelerator=cpu", "workers=0")
EXPORT = ("export", "ckpt=run/checkpoints/net.ckpt", "slices=1", "calibration=1", "patients=0", "threads=1")
SPLIT = {"train": ["0", "1", "2", "4"], "val": ["6"], "test": ["5", "3"]}
CALLABLES = ("os.system", "subprocess.Popen", "builtins.eval", "shutil.copyfile", "builtins.open")
LOADERS = (
    "lits_seg.sweeps.jobs._run",
    "torch.load",
    "numpy.load",
    "joblib.load",
    "lits_seg.data.preprocess.Preprocess",
)


@pytest.fixture
def folder(tmp_path: Path, lits: Path) -> Path:
    """A run on real volumes, with a split of its own."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    save_checkpoint(tmp_path / "run" / "checkpoints" / "net.ckpt", settings=with_model(out_channels=3))
    write_config(tmp_path)
    (tmp_path / "run" / "split.json").write_text(json.dumps(SPLIT))
    (tmp_path / "lits").symlink_to(lits)
    return tmp_path


def write_config(folder: Path, **data: object) -> None:
    config = {"data": {"root": "lits", "store": "slices", "folds": 4, "fold": 0, **data}}
    (folder / "run" / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))


def test_the_recorded_test_patients_are_scored(folder: Path) -> None:
    run_command(*EVALUATE, cwd=folder)
    evaluation = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    assert sorted(case["case"] for case in evaluation["cases"]) == ["3", "5"]


def test_every_phantom_that_a_run_can_generate_is_read(folder: Path) -> None:
    largest = {"_target_": GENERATOR, "cases": 10_000, "seed": 2**32 - 1, "size": 2048, "slices": 2000, "workers": 1024}
    write_config(folder, generate=largest)
    volumes = recorded_volumes(folder / "run", load_module(folder / "run" / "checkpoints" / "net.ckpt"), 4, 0)
    assert volumes.generate is not None


@pytest.mark.hostile
@pytest.mark.parametrize("target", [*CALLABLES, *LOADERS])
def test_nothing_that_a_configuration_names_is_called(target: str, folder: Path) -> None:
    bait = {"_target_": target, "_args_": [f"touch {folder}/ran"], "command": f"touch {folder}/ran", "shell": True}
    write_config(folder, **bait, generate={**bait, "_partial_": True}, augment=bait, preprocess=bait)
    module = load_module(folder / "run" / "checkpoints" / "net.ckpt")
    volumes = recorded_volumes(folder / "run", module, 4, 0)
    assert volumes.generate is None
    assert (volumes.preprocess, volumes.augment) == (module.preprocess, None)
    for key in ("root", "store", "test_root"):
        write_config(folder, **{key: bait})
        with pytest.raises(InputError, match=rf"config\.yaml: expected a run's configuration of data.*found {key}: "):
            recorded_volumes(folder / "run", module, 4, 0)
    assert not (folder / "ran").exists()


@pytest.mark.hostile
@pytest.mark.parametrize("command", [EVALUATE, EXPORT])
def test_commands_end_with_one_message_and_leave_nothing(command: tuple[str, ...], folder: Path) -> None:
    write_config(folder, root={"_target_": "os.system", "command": f"touch {folder}/ran"})
    before = sorted(folder.rglob("*"))
    assert "run/config.yaml: expected a run's configuration of data" in failed_command(*command, cwd=folder)
    write_config(folder)
    (folder / "run" / "split.json").write_text(json.dumps({**SPLIT, "test": ["3", "gone"]}))
    assert "none for gone" in failed_command(*command, cwd=folder)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.hostile
def test_no_interpolation_of_a_configuration_is_resolved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "lits")
    (folder / "run" / "config.yaml").write_text("data: {root: '${oc.env:SECRET}', store: slices}\n")
    assert "${oc.env:SECRET}" in failed_command(*EVALUATE, cwd=folder)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "content",
    ["", "data: 1", "data: null", "data: [", "[1]", "a: &a [1]\ndata: *a", "data: {root: lits}", "data: {root: 1}"]
    + [f"data: {{root: lits, store: s, {more}}}" for more in ("folds: x", "on_error: x", "fold: 1.5", "val_share: []")]
    + [f"data: {{root: lits, store: s, sources: {{a: {{root: b, share: {share}}}}}}}" for share in ("1.5", "x", "[]")]
    + ["data: {root: lits, store: s, sources: {a: {root: '', share: 0.5}}}"]
    + [
        f"data: {{root: lits, store: s, generate: {{_target_: {GENERATOR}, cases: 1e9}}}}",
        'data: {root: "a\\0b", store: s}',
    ],
)
def test_a_damaged_configuration_is_named(content: str, folder: Path) -> None:
    (folder / "run" / "config.yaml").write_text(content)
    module = load_module(folder / "run" / "checkpoints" / "net.ckpt")
    with pytest.raises(InputError, match=r"run/config\.yaml: expected"):
        recorded_volumes(folder / "run", module, 4, 0)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "split.json: expected the split that every run has recorded"),
        ("", "split.json: expected the split of a run"),
        ('{"train": ["0"]', "split.json: expected the split of a run"),
        ("[" * 5000, "split.json: expected the split of a run"),
        ("[]", "split.json: expected the split of a run"),
        (json.dumps({**SPLIT, "val": None}), "found val: "),
        (json.dumps({**SPLIT, "test": "35"}), "found test: "),
        (json.dumps({**SPLIT, "train": [0, 1]}), "found train.0: "),
        (json.dumps({**SPLIT, "voxels": 5}), "found voxels: "),
        (json.dumps({**SPLIT, "test": ["3", "0"]}), "more than once: 0"),
    ],
)
def test_a_damaged_split_is_named(content: str | None, told: str, folder: Path) -> None:
    (folder / "run" / "split.json").unlink()
    if content is not None:
        (folder / "run" / "split.json").write_text(content)
    module = load_module(folder / "run" / "checkpoints" / "net.ckpt")
    with pytest.raises(InputError, match=told):
        recorded_volumes(folder / "run", module, 4, 0)
