import os
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st

from lits_seg.cli import CONF
from lits_seg.common.errors import InputError
from lits_seg.runs.folder import RESULT
from lits_seg.runs.naming import LONGEST, job_name, run_dir, sweep_name


def unfinished(folder: Path, age: int) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    os.utime(folder / "checkpoints" / "last.ckpt", (1000 - age, 1000 - age))
    return folder


def test_last_is_the_newest_run_that_was_cut_off(tmp_path: Path) -> None:
    name = "2026-01-01/10-00-00-000000_dsc_unet_subpixel"
    old, new = unfinished(tmp_path / "a", age=9), unfinished(tmp_path / "b" / "c", age=5)
    (unfinished(tmp_path / "done", age=1) / RESULT).touch()
    assert run_dir(str(tmp_path), name, None) == str(tmp_path / name)
    assert run_dir(str(tmp_path), name, "last") == str(new)
    assert run_dir(str(tmp_path), "demo", "last") == str(tmp_path / "demo")
    for folder in (old, new):
        (folder / RESULT).touch()
    with pytest.raises(InputError, match="cut off"):
        run_dir(str(tmp_path), name, "last")


def test_sweep_is_named_by_the_user_else_by_the_experiment() -> None:
    assert sweep_name("mine", "smoke") == "mine"
    assert sweep_name(None, "smoke") == "smoke"
    assert sweep_name(None, None) == "sweep"
    for elsewhere in ("../up", "/tmp/up", "a/../../up"):
        with pytest.raises(InputError, match="below runs"):
            sweep_name(elsewhere, None)


def job(*overrides: str) -> str:
    return job_name("unet", "deconv", 2, 7, overrides)


def test_job_is_named_by_what_it_is() -> None:
    assert job("model=unet", "decoder=deconv", "data.fold=2", "seed=7", "experiment=smoke") == "unet_deconv_fold2_seed7"
    assert job("optimizer.lr=0.001") == "unet_deconv_fold2_seed7_lr0.001"
    assert job("trainer=ddp", "trainer.devices=2") == "unet_deconv_fold2_seed7_devices2_trainer-ddp"
    assert job("decoder.levels=[bilinear,bilinear,deconv,subpixel]").endswith(
        "levels-bilinear-bilinear-deconv-subpixel"
    )
    assert job("+optimizer.fused=true", "~scheduler") == "unet_deconv_fold2_seed7_fusedtrue_scheduler-none"


def test_where_a_job_is_and_how_it_is_watched_is_not_in_its_name() -> None:
    watched = ("logger=wandb", "logger.wandb.offline=false", "runs=/elsewhere", "name=x", "sweep=y", "ckpt_path=last")
    assert job(*watched, "store=/fast/disk", "data.root=/data", "data.workers=8") == job()


@given(st.lists(st.tuples(st.sampled_from(["optimizer.lr", "model.dropout", "data.slices"]), st.text(max_size=80))))
def test_names_are_folders_whatever_the_values(overrides: list[tuple[str, str]]) -> None:
    name = job(*(f"{key}={value}" for key, value in overrides))
    assert "/" not in name
    assert not name.startswith(("-", "."))
    assert len(name.encode()) <= 255
    assert name.startswith("unet_deconv_fold2_seed7")


def test_long_names_stay_different() -> None:
    one, other = (job(f"data.slices={'x' * 300}{end}") for end in "ab")
    assert one != other
    assert len(one) == len(other) == LONGEST


def test_folder_of_a_job_as_hydra_composes_it() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["model=unet", "decoder=deconv", "sweep=mine", "seed=3"], return_hydra_config=True)
        assert cfg.hydra.sweep.dir == "runs/mine"
        assert cfg.hydra.sweep.subdir == "unet_deconv_fold0_seed3"
