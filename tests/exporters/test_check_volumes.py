"""Volumes for the check of exported files."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import run_command
from helpers.volumes import anatomy, write_case
from omegaconf import OmegaConf

from lits_seg.exporters.check_volumes import find_volumes
from lits_seg.training.checkpoints import load_module


@pytest.fixture
def mix(tmp_path: Path, lits: Path) -> Path:
    """The folder of a run on two data sets, whose patients have the same names."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    save_checkpoint(run / "checkpoints" / "net.ckpt", settings=with_model(out_channels=3))
    (tmp_path / "lits").symlink_to(lits)
    for number in (0, 1, 5):
        write_case(tmp_path / "healthy", str(number), *anatomy(50 + number, lesion=False))
    sources = {"healthy": {"root": "healthy", "share": 0.25, "lesions": "absent", "split": True}}
    config = {"data": {"root": "lits", "store": "slices", "folds": 4, "fold": 0, "sources": sources}}
    (run / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    split = {"train": ["0", "healthy-0", "2", "healthy-5"], "val": ["6"], "test": ["healthy-1", "5", "3"]}
    (run / "split.json").write_text(json.dumps(split))
    return tmp_path


def test_a_run_on_several_data_sets_is_checked_on_its_patients_of_root(
    mix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mix)
    shutil.rmtree("healthy")  # is not needed
    ckpt = "run/checkpoints/net.ckpt"
    settings = {"ckpt": ckpt, "references": None, "store": "slices", "batch_size": 4, "workers": 0}
    volumes = find_volumes(OmegaConf.create(settings), load_module(ckpt))
    for found, names in ((volumes.train, ["0", "2"]), (volumes.test, ["5", "3"])):
        assert [case.image for case in found] == [Path("lits", f"volume-{name}.nii.gz") for name in names]
    assert (volumes.root, volumes.synthetic) == (Path("lits"), False)


@pytest.mark.hostile
def test_a_run_on_several_data_sets_is_exported(mix: Path) -> None:
    few = ("slices=1", "calibration=1", "patients=1", "threads=1", "workers=0")
    out = run_command("export", "ckpt=run/checkpoints/net.ckpt", *few, cwd=mix)
    assert "| lits_seg_fp32.onnx " in out
    assert json.loads((mix / "exported" / "exports.json").read_text())["patients"] == ["5"]
