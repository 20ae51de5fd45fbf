import json
import os
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lits_seg.cli import CONF
from lits_seg.common.errors import InputError
from lits_seg.runs.folder import FILES, MODULE, claimed, describe_run
from lits_seg.runs.provenance import versions


def test_launches_in_the_same_second_have_their_own_folders() -> None:
    folders = set()
    for _ in range(3):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", return_hydra_config=True)
            HydraConfig.instance().set_config(cfg)
            folders.add(cfg.hydra.run.dir)
    HydraConfig.instance().cfg = None
    assert len(folders) == 3


def test_folder_of_another_run_is_not_overwritten(tmp_path: Path) -> None:
    config = OmegaConf.create({"seed": 0, "name": "a", "data": {"fold": 1}})
    describe_run(tmp_path, config)
    before = (tmp_path / "config.yaml").read_text()
    describe_run(tmp_path, OmegaConf.merge(config, {"name": "b"}))
    with pytest.raises(InputError, match=r"data\.fold was 1, now 2"):
        describe_run(tmp_path, OmegaConf.merge(config, {"data": {"fold": 2}}))
    assert (tmp_path / "config.yaml").read_text() == before
    assert json.loads((tmp_path / "versions.json").read_text())["torch"] == versions()["torch"]


def test_run_with_other_callbacks_is_another_run_wherever_they_write(tmp_path: Path) -> None:
    config = OmegaConf.create(
        {"callbacks": {"best": {"monitor": "val/dice", "dirpath": "a"}, "split": {"folder": "a"}}}
    )
    describe_run(tmp_path, config)
    moved = {"best": {"dirpath": "b"}, "split": {"folder": "b"}, "curves": {"folder": "b"}, "timer": {"minutes": 1}}
    describe_run(tmp_path, OmegaConf.merge(config, {"callbacks": moved}))
    for other in ({"ema": {"decay": 0.9}}, {"best": {"monitor": "val/loss"}}):
        with pytest.raises(InputError, match=rf"callbacks\.{next(iter(other))}.* was"):
            describe_run(tmp_path, OmegaConf.merge(config, {"callbacks": other}))


def test_run_that_continues_from_another_checkpoint_is_another_run(tmp_path: Path) -> None:
    config = OmegaConf.create({"seed": 0, "ckpt_path": "runs/a/checkpoints/last.ckpt"})
    describe_run(tmp_path, config)
    own = str(tmp_path / "checkpoints" / "best.ckpt")
    for same in (config.ckpt_path, os.path.abspath(config.ckpt_path), "last", None, own):
        describe_run(tmp_path, OmegaConf.merge(config, {"ckpt_path": same}))
    with pytest.raises(InputError, match=r"ckpt_path was runs/a/checkpoints/last\.ckpt, now runs/b/"):
        describe_run(tmp_path, OmegaConf.merge(config, {"ckpt_path": "runs/b/checkpoints/last.ckpt"}))


@pytest.mark.parametrize("first", ["last", None])
def test_run_may_be_resumed_from_a_copy_of_its_checkpoint(first: str | None, tmp_path: Path) -> None:
    config = OmegaConf.create({"seed": 0, "ckpt_path": first})
    describe_run(tmp_path, config)
    describe_run(tmp_path, OmegaConf.merge(config, {"ckpt_path": "copies/last.ckpt"}))


RUN = OmegaConf.create({"seed": 0, "module": {"_target_": MODULE}, "data": {"fold": 1}})
OTHER = OmegaConf.merge(RUN, {"data": {"fold": 2}})


def end(folder: Path, config: DictConfig = RUN, error: type[BaseException] | None = RuntimeError) -> None:
    with claimed(folder, config):
        (folder / "split.json").write_text("{}")
        if error is not None:
            raise error


@pytest.mark.hostile
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, InputError("a", "b", "c")])
def test_run_that_ends_without_a_checkpoint_leaves_no_claim(error: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "metrics").mkdir()
    with pytest.raises(type(error) if isinstance(error, BaseException) else error):
        end(tmp_path, error=error)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "metrics"}
    end(tmp_path, OTHER, error=None)
    assert (tmp_path / "config.yaml").exists()


@pytest.mark.hostile
def test_claim_of_a_command_that_was_killed_before_its_first_checkpoint_is_void(tmp_path: Path) -> None:
    describe_run(tmp_path, RUN)  # and then SIGKILL
    end(tmp_path, OTHER, error=None)
    with pytest.raises(InputError, match="fold was 2, now 1"):
        describe_run(tmp_path, RUN)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "trained", ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "hpc_ckpt_1.ckpt", "result.json"]
)
def test_run_with_a_checkpoint_keeps_its_claim(trained: str, tmp_path: Path) -> None:
    end(tmp_path, error=None)
    (tmp_path / trained).parent.mkdir(exist_ok=True)
    (tmp_path / trained).write_text("weights")
    with pytest.raises(RuntimeError):
        end(tmp_path)
    with pytest.raises(InputError, match=r"config\.yaml: expected .*; found data\.fold was 1, now 2"):
        end(tmp_path, OTHER)
    assert {path.name for path in tmp_path.iterdir()} >= {"config.yaml", "versions.json", "split.json"}


@pytest.mark.hostile
@pytest.mark.parametrize("name", [*FILES, "checkpoints/best.ckpt", "checkpoints/mine.ckpt"])
def test_foreign_files_are_never_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine: 1\n")
    with pytest.raises(InputError, match=r"config\.yaml"):
        end(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == "mine: 1\n"
