"""Learning rates of single layers."""

from pathlib import Path

import pytest
import torch
from helpers.checkpoints import with_model
from helpers.commands import SMOKE, failed_command, run_command
from helpers.interrupted import interrupted_run
from helpers.networks import NARROW_OWN

from experiments.shared.checkpoints import untrained
from lits_seg.common.errors import InputError
from lits_seg.training.module import LesionModule
from lits_seg.training.rates import factors


def test_factors_of_several_parts_of_a_name_are_multiplied() -> None:
    network = torch.nn.ModuleDict({"fuse": torch.nn.Conv2d(1, 1, 1), "trunk": torch.nn.Conv2d(1, 1, 1)})
    assert factors(network, {"bias": 2.0, "fuse": 0.25}) == [0.25, 0.5, 1.0, 2.0]
    with pytest.raises(InputError, match=r"rates: expected parts .* such as bias or trunk\.bias; found side"):
        factors(network, {"side": 2.0})


def test_the_layers_of_driu_have_the_rates_of_its_authors() -> None:
    narrow = (*NARROW_OWN["driu"], "data.preprocess.size=64")
    module = untrained(["experiment=bellver_liver", *narrow])
    names = [name for name, _ in module.network.named_parameters()]
    groups = module.new_optimizer().param_groups
    rates = {name: group["lr"] / 0.0079 for name, group in zip(names, groups, strict=True)}
    expected = {
        "trunk.0.0.weight": 1,
        "maps.1.bias": 2,
        "sides.0.weight": 0.1,
        "sides.0.bias": 0.2,
        "fuse.0.bias": 0.02,
    }
    assert {name: rates[name] for name in expected} == pytest.approx(expected)


@pytest.mark.slow
def test_a_training_with_rates_resumes(tmp_path: Path) -> None:
    settings = (
        "trainer.max_epochs=2",
        "rates={bias: 0.5}",
        "optimizer=sgd",
        "scheduler=poly",
        "scheduler.end=0.1",
        "name=rates",
    )
    interrupted_run(tmp_path, *settings, epochs=1)
    run_command("train", *SMOKE, *settings, "ckpt_path=last", cwd=tmp_path)
    checkpoint = torch.load(tmp_path / "runs/rates/checkpoints/last.ckpt", weights_only=True)
    rates = [group["lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]]
    assert {round(rate / max(rates), 6) for rate in rates} == {1.0, 0.5}
    assert checkpoint["epoch"] == 1


def test_a_scheduler_with_one_rate_for_all_is_refused() -> None:
    cycle = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.1, "total_steps": 9}
    module = LesionModule(**{**with_model(), "scheduler": cycle, "rates": {"bias": 2.0}})
    module.trainer = type("Trainer", (), {"estimated_stepping_batches": 9})()
    with pytest.raises(InputError, match=r"scheduler: expected one that keeps the rates of the layers"):
        module.configure_optimizers()


@pytest.mark.hostile
@pytest.mark.parametrize("given", ["2", "{bias: 0}", "{bias: x}", "[bias]", "{nothing: 2}"])
def test_wrong_rates_are_named(given: str, tmp_path: Path) -> None:
    assert failed_command("train", *SMOKE, f"rates={given}", cwd=tmp_path).startswith("error: rates")
