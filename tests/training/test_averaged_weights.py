"""An average of the weights, with statistics of batch norm that fit the average."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader

from lits_seg.training.averaged_weights import AveragedWeights

SAMPLES = [{"image": torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(i)) * (1 + i % 5)} for i in range(40)]


class Network(pl.LightningModule):
    """A convolution that grows during the training, and a normalization."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.Dropout(0.2), nn.Conv2d(4, 1, 1))
        self.seen: list[dict[str, torch.Tensor]] = []  # statistics during each validation

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)

    def on_train_batch_start(self, batch: dict, batch_idx: int) -> None:
        torch.manual_seed(self.global_step)

    def training_step(self, batch: dict, batch_idx: int) -> torch.Tensor:
        return -self(batch["image"]).mean() - self.layers[0].weight.sum()

    def validation_step(self, batch: dict, batch_idx: int) -> None:
        self.seen.append({name: values.clone() for name, values in self.state_dict().items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.2)


def fit(folder: Path, average: EMAWeightAveraging, norm: nn.Module | None = None, epochs: int = 2,
        resume: Path | None = None, check: int = 1) -> tuple[Network, dict]:  # fmt: skip
    """Return the network after a training, and its last checkpoint."""
    network = Network(nn.BatchNorm2d(4) if norm is None else norm)
    saver = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=epochs, callbacks=[saver, average], logger=False, accelerator="cpu", num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, check_val_every_n_epoch=check, limit_val_batches=1,
    )  # fmt: skip
    loader = DataLoader(SAMPLES, 4)
    trainer.fit(network, loader, loader, ckpt_path=resume)
    return network, torch.load(folder / "last.ckpt", weights_only=True)


def by_hand(weights: dict[str, torch.Tensor], batches: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of what the first convolution makes of an epoch's last batches."""
    first = nn.Conv2d(3, 4, 1)
    first.load_state_dict({name: weights[f"layers.0.{name}"] for name in ("weight", "bias")})
    images = torch.stack([sample["image"] for sample in SAMPLES[-4 * batches :]]).view(batches, 4, 3, 8, 8)
    maps = torch.stack([first(batch).detach() for batch in images]).transpose(1, 2).flatten(2)
    return maps.mean(2).mean(0), maps.var(2).mean(0)


@pytest.mark.parametrize("check", [1, 3])  # epochs between validations: without one, the checkpoint alone needs them
def test_statistics_are_those_of_the_averaged_weights(check: int, tmp_path: Path) -> None:
    network, saved = fit(tmp_path, AveragedWeights(0.9, batches=3), check=check)
    for weights in (saved["state_dict"], network.state_dict(), *network.seen[-1:]):
        mean, variance = by_hand(weights, batches=3)
        torch.testing.assert_close(weights["layers.1.running_mean"], mean)
        torch.testing.assert_close(weights["layers.1.running_var"], variance)
    # Lightning's own average of the statistics does not fit: this test can fail.
    _, other = fit(tmp_path, EMAWeightAveraging(decay=0.9), check=check)
    torch.testing.assert_close(other["state_dict"]["layers.0.weight"], saved["state_dict"]["layers.0.weight"])
    wrong = other["state_dict"]["layers.1.running_mean"]
    assert (wrong - mean).abs().max() > 0.1


def test_a_resumed_average_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    _, whole = fit(tmp_path / "whole", AveragedWeights(0.9, batches=20), epochs=3)
    fit(tmp_path / "cut", AveragedWeights(0.9, batches=20), epochs=2)
    _, resumed = fit(tmp_path / "cut", AveragedWeights(0.9, batches=20), epochs=3, resume=tmp_path / "cut/last.ckpt")
    for state in ("state_dict", "current_model_state"):
        for name, values in whole[state].items():
            assert torch.equal(resumed[state][name], values), name


def test_networks_without_batch_norm_are_only_averaged(tmp_path: Path) -> None:
    _, ours = fit(tmp_path, AveragedWeights(0.9), nn.GroupNorm(2, 4))
    _, plain = fit(tmp_path, EMAWeightAveraging(decay=0.9), nn.GroupNorm(2, 4))
    for name, values in plain["state_dict"].items():  # all tensors at once are rounded otherwise than one by one
        torch.testing.assert_close(ours["state_dict"][name], values, rtol=1e-5, atol=1e-7)
