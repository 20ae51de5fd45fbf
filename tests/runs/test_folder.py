import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from lits_seg.cli import CONF
from lits_seg.common.errors import InputError
from lits_seg.runs.folder import describe_run
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
