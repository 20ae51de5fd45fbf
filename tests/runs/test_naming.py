import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lits_seg.cli import CONF
from lits_seg.common.errors import InputError
from lits_seg.runs.folder import FINISHED, RESULT
from lits_seg.runs.naming import (
    LONGEST,
    decoder_name,
    job_name,
    require_decoder_applies,
    run_dir,
    shared_by_jobs,
    sweep_name,
)


def unfinished(folder: Path, age: int) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    os.utime(folder / "checkpoints" / "last.ckpt", (1000 - age, 1000 - age))
    return folder


def test_last_is_the_newest_interrupted_run(tmp_path: Path) -> None:
    name = "2026-01-01/10-00-00-000000_dsc_unet_subpixel"
    old, new = unfinished(tmp_path / "a", age=9), unfinished(tmp_path / "b" / "c", age=5)
    (unfinished(tmp_path / "done", age=1) / RESULT).touch()
    (unfinished(tmp_path / "untested", age=1) / FINISHED).touch()
    assert run_dir(str(tmp_path), name, None) == str(tmp_path / name)
    assert run_dir(str(tmp_path), name, "last") == str(new)
    for own in ("demo", "2026/demo"):
        assert run_dir(str(tmp_path), own, "last") == str(tmp_path / own)
    for folder in (old, new):
        (folder / RESULT).touch()
    with pytest.raises(InputError, match="interrupted"):
        run_dir(str(tmp_path), name, "last")


def test_sweep_is_named_by_the_user_else_by_the_experiment() -> None:
    one, several = shared_by_jobs("smoke", ["experiment=smoke"]), shared_by_jobs(None, ["experiment=smoke,paper"])
    assert sweep_name("mine", one) == "mine"
    assert sweep_name(None, one) == "smoke"
    assert sweep_name(None, several) == "sweep"
    for elsewhere in ("../up", "/tmp/up", "a/../../up"):
        with pytest.raises(InputError, match="below runs"):
            sweep_name(elsewhere, several)


def job(*overrides: str, sweep: Sequence[str] = ()) -> str:
    return job_name("unet", "deconv", 2, 7, overrides, shared_by_jobs(None, sweep))


def test_job_is_named_by_what_it_is() -> None:
    assert job("model=unet", "decoder=deconv", "data.fold=2", "seed=7") == "unet_deconv_fold2_seed7"
    assert job("experiment=smoke", sweep=["experiment=smoke", "seed=7,8"]) == "unet_deconv_fold2_seed7"
    assert job("experiment=smoke", sweep=["experiment=smoke,paper"]) == "unet_deconv_fold2_seed7_experiment-smoke"
    assert job("optimizer.lr=0.001") == "unet_deconv_fold2_seed7_lr0.001"
    assert job("trainer=ddp", "trainer.devices=2") == "unet_deconv_fold2_seed7_devices2_trainer-ddp"
    assert job("decoder.levels=[bilinear,bilinear,deconv,subpixel]") == "unet_deconv_fold2_seed7"  # in the decoder
    assert job("+optimizer.fused=true", "~scheduler") == "unet_deconv_fold2_seed7_fusedtrue_scheduler-none"


def test_callbacks_that_change_the_training_are_in_a_jobs_name() -> None:
    names = [job(), job("callbacks=[default,ema]"), job("callbacks=[default,ema]", "callbacks.ema.decay=0.9")]
    assert len(set(names)) == 3


def test_where_a_job_is_and_how_it_is_watched_is_not_in_its_name() -> None:
    watched = ("logger=wandb", "logger.wandb.offline=false", "runs=/elsewhere", "name=x", "sweep=y", "ckpt_path=last")
    assert job(*watched, "store=/fast/disk", "data.workers=8") == job()


def test_a_data_set_is_in_a_jobs_name_unless_all_jobs_have_it() -> None:
    assert job("data.root=/data/LiTS", sweep=["data.root=/data/LiTS", "seed=0,1"]) == job()
    assert job("data.root=/data/my\\ CTs", sweep=["data.root=/data/my CTs"]) == job()
    given = OmegaConf.create(["data.root=${oc.env:DATA}/LiTS", "store=${hydra:runtime.cwd}/store"])
    assert job("data.root=$\\{oc.env\\:DATA\\}/LiTS", sweep=given) == job()  # as Hydra escapes it for jobs
    several = ["data.root=/a/LiTS,/b/LiTS"]
    assert job("data.root=/a/LiTS", sweep=several) == "unet_deconv_fold2_seed7_root-a-LiTS"
    assert job("data.root=/b/LiTS", sweep=several) == "unet_deconv_fold2_seed7_root-b-LiTS"


def test_a_job_that_continues_from_a_checkpoint_is_named_by_it() -> None:
    first, second = (job(f"ckpt_path=runs/{name}/checkpoints/last.ckpt") for name in ("first", "second"))
    assert first == "unet_deconv_fold2_seed7_ckpt_path-runs-first-checkpoints-last.ckpt"
    assert first != second
    assert job("ckpt_path=a.ckpt", sweep=["ckpt_path=a.ckpt"]) == job()  # the same for all jobs
    for by_itself in ("last", "'last'", "null", ""):
        assert job(f"ckpt_path={by_itself}") == job()


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
    assert job(f"data.slices={'x' * 300}").endswith("x-7ba287a0")  # as earlier versions named it


def test_names_stay_different_in_any_alphabet() -> None:
    values = ("/K\u00e4lber", "/K\u00f6lber", "/Ka\u0308lber", "/K-lber", "/K\udcc3lber", "/\u808c", "/\u809d")
    names = [job(f"data.test_root='{value}'") for value in values]
    assert len(set(names)) == len(values)
    assert all(name.isascii() for name in names)
    assert names[3] == "unet_deconv_fold2_seed7_test_root-K-lber"


MIXED = "decoder.levels=[bilinear,bilinear,deconv,subpixel]"


@pytest.mark.parametrize(
    ("overrides", "network"),
    [
        (("model=unet", "decoder=deconv"), "unet_deconv"),
        ((), "dsc_unet_subpixel"),
        ((MIXED,), "dsc_unet_bilinear-bilinear-deconv-subpixel"),
        (("decoder=deconv", MIXED), "dsc_unet_bilinear-bilinear-deconv-subpixel"),
        (("decoder.levels=[deconv,deconv,deconv,deconv]",), "dsc_unet_deconv"),
        (("model=segresnet",), "segresnet_own"),
        (("model=strided_unet",), "strided_unet_own"),
    ],
)
def test_folders_as_hydra_composes_them(overrides: tuple[str, ...], network: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*overrides, "sweep=mine", "seed=3", "logger=wandb"], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        assert cfg.hydra.sweep.dir == "runs/mine"
        assert cfg.hydra.sweep.subdir == f"{network}_fold0_seed3"
        assert cfg.hydra.run.dir.endswith(f"_{network}")
        assert cfg.logger.wandb.name == f"{network}_fold0_seed3"
        assert network.endswith(f"_{cfg.logger.wandb.tags[2]}")
    HydraConfig.instance().cfg = None


def test_decoder_is_named_by_its_levels_and_never_by_the_choice() -> None:
    for file in (CONF / "decoder").glob("*.yaml"):
        assert decoder_name({"upsample": OmegaConf.load(file).levels}) == file.stem
    assert decoder_name({"upsample": ["bilinear", "bilinear", "deconv", "subpixel"]}) != "subpixel"
    assert decoder_name({"upsample": ["bilinear", "deconv"]}) == "bilinear-deconv"
    assert decoder_name({"_target_": "monai.networks.nets.SegResNet"}) == "own"


@pytest.mark.parametrize("override", ["decoder=deconv", "decoder.levels=[deconv]", "+decoder.levels=[deconv]"])
def test_decoder_is_refused_if_the_network_has_its_own(override: str) -> None:
    with pytest.raises(InputError, match=r"SegResNet, which has a fixed decoder: decoder= does not apply"):
        require_decoder_applies({"_target_": "monai.networks.nets.SegResNet"}, ["seed=1", override])
    require_decoder_applies({"upsample": ["deconv"]}, [override])
    require_decoder_applies({"_target_": "monai.networks.nets.SegResNet"}, ["seed=1", "data.decoder_note=x"])
