"""The table of training speed: every setting trains, and what is changed alone is changed back."""

import pytest
from hydra import initialize_config_dir

from lits_seg.benchmark import train
from lits_seg.cli import CONF
from lits_seg.models import blocks

NARROW = ("model.encoder_widths=[8,8,16,16]", "model.innermost_width=32", "model.decoder_widths=[16,16,16,16]")


def test_every_setting_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = {name: (*network, *NARROW, "data.workers=0") for name, network in train.NETWORKS.items()}
    monkeypatch.setattr(train, "NETWORKS", narrow)
    kept = [setting for setting in train.SETTINGS if setting.change is not train._compiled]  # minutes of a compiler
    monkeypatch.setattr(train, "SETTINGS", kept)
    given = blocks.channels_last
    with initialize_config_dir(str(CONF), version_base="1.3"):
        text = train.train_speed(size=32, batch=2, rounds=1, steps=1)
    assert blocks.channels_last is given
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(kept)
    for row, setting in zip(rows, kept, strict=True):
        name, ours, unet, ratio, *_ = (cell.strip() for cell in row.strip("|").split("|"))
        assert name == setting.name
        assert float(ours) > 0
        assert float(unet) > 0
        assert ratio.endswith(" x")
    assert rows[0].split("|")[5].strip() == "1.00 x"
    assert "100,000 steps of 16 slices" in text
    assert "benchmark train size=32 batch=2 rounds=1`" in text
