"""What dashboards find of a run: a real training with every logger, its files read back."""

import json
from pathlib import Path

import pytest
from helpers.commands import SMOKE, run_command, run_process
from helpers.interrupted import interrupted_run
from helpers.wandb_files import config_of, history_of, read_wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from lits_seg import dashboard

FACTS = (
    "model", "decoder", "levels", "data", "fold", "folds", "selected_on_test", "seed", "size", "parameters", "macs",
)  # fmt: skip


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs, one of a sweep, with every logger."""
    folder = tmp_path_factory.mktemp("watched")
    arguments = ("name=watched", "sweep=widths", "logger=all", "decoder=deconv", "data.fold=1", "seed=3")
    run_process("train", *SMOKE, *arguments, cwd=folder)
    (result,) = folder.glob("runs/**/result.json")
    return result.parent


def test_wandb_offline_run_holds_what_dashboards_need(watched: Path) -> None:
    (log,) = watched.glob("wandb/offline-run-*/run-*.wandb")
    records = list(read_wandb(log))
    result = json.loads((watched / "result.json").read_text())
    config = config_of(records)
    for name in FACTS:
        assert config[name] == result[name], name
    history = history_of(records)
    assert len(history["val/dice"]) == 2
    assert {"val/loss", "train/loss_step", "train/loss_epoch", "train/dice_global"} <= history.keys()
    for name in ("dice", "jaccard", "dice_global"):
        assert history[f"test/{name}"] == pytest.approx([result["scores"][name]], abs=1e-6)
    assert set(dashboard.FACTS) <= config.keys()
    shown = {*dashboard.SCORES, *dashboard.CURVES, dashboard.STEP} - {"val/liver/dice"}  # that of networks for livers
    assert shown <= history.keys()
    assert history["test/cases/_type"] == ["table-file"]
    assert history["test/cases/nrows"] == [result["scores"]["patients"]]
    assert history["test/overlays/_type"] == ["images/separated"]
    assert {"truth", "predicted"} <= set(history["test/overlays/all_masks"][0][0])
    picture = history["test/overlays/filenames"][0][0]
    assert (log.parent / "files" / picture).read_bytes().startswith(b"\x89PNG")


def test_wandb_offline_run_is_found_by_sweep_fold_model_and_decoder(watched: Path) -> None:
    (log,) = watched.glob("wandb/offline-run-*/run-*.wandb")
    run = next(record.run for record in read_wandb(log) if record.HasField("run"))
    assert run.project == "lits_seg"
    assert run.display_name == "dsc_unet_deconv_fold1_seed3"
    assert run.notes == "watched"
    assert run.run_group == "widths"
    assert set(run.tags) == {"fold1", "dsc_unet", "deconv"}


def test_tensorboard_compares_facts_and_test_scores(watched: Path) -> None:
    events = EventAccumulator(str(watched / "tensorboard"))
    events.Reload()
    plugin = events.summary_metadata
    start, end = (
        plugin_data_pb2.HParamsPluginData.FromString(plugin[tag].plugin_data.content)
        for tag in (metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)
    )
    result = json.loads((watched / "result.json").read_text())
    facts = start.session_start_info.hparams
    assert set(FACTS) <= facts.keys()
    for name in ("parameters", "macs", "fold", "seed"):
        assert facts[name].number_value == result[name], name
    assert facts["decoder"].string_value == "deconv"
    assert end.session_end_info.status
    compared = plugin_data_pb2.HParamsPluginData.FromString(plugin[metadata.EXPERIMENT_TAG].plugin_data.content)
    names = {metric.name.tag for metric in compared.experiment.metric_infos}
    assert {"test/dice", "test/jaccard", "test/dice_global"} <= names
    for name in ("dice", "jaccard"):
        assert events.Scalars(f"test/{name}")[-1].value == pytest.approx(result["scores"][name], abs=1e-6)


@pytest.mark.hostile
def test_a_run_that_resumes_is_one_wandb_run(tmp_path: Path) -> None:
    arguments = ("logger=wandb", "name=cut", "trainer.max_epochs=2")
    interrupted_run(tmp_path, *arguments, epochs=1)
    run_command("train", *SMOKE, *arguments, "ckpt_path=last", cwd=tmp_path)
    folders = sorted((tmp_path / "runs" / "cut").glob("wandb/offline-run-*"))
    assert len(folders) == 2
    assert len({folder.name.rsplit("-", 1)[-1] for folder in folders}) == 1
