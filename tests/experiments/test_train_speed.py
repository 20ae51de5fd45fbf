"""The table of training speed: every setting trains."""

from pathlib import Path

import pytest
from helpers.experiments import NARROW, failed_experiment, overrides, run_experiment

from experiments.train_speed.measure import SETTINGS

SMALL = ("size=32", "batch=2", "rounds=1", "steps=1", "output=out")


@pytest.mark.slow  # a training for each setting
def test_every_setting_trains(tmp_path: Path) -> None:
    kept = [key for key in SETTINGS if key != "compile"]  # minutes of a compiler
    arguments = (
        *SMALL,
        "networks=[unet_bn]",
        f"settings=[{','.join(kept)}]",
        overrides(*NARROW, "data.workers=0", "trainer.precision=auto"),
    )
    text = run_experiment("train_speed.__main__", *arguments, cwd=tmp_path)
    assert (tmp_path / "out/train.md").read_text() in text
    networks, _, table = text.partition("## Settings")
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in networks.splitlines() if line[:3] == "| `"
    ]
    assert [row[0] for row in cells] == ["`dsc_unet`", "`unet`", "`unet_bn`"]
    assert (cells[0][4], cells[1][5]) == ("1.0 x", "1.0 x")
    assert all(float(row[3]) > 0 and 0 < int(row[6].rstrip("%")) < 100 for row in cells)
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(kept)
    for row, key in zip(rows, kept, strict=True):
        name, ours, unet, ratio, *_ = (cell.strip() for cell in row.strip("|").split("|"))
        assert name == ("with the overrides of the command below" if key == "shipped" else SETTINGS[key].title)
        assert float(ours) > 0
        assert float(unet) > 0
        assert ratio.endswith(" x")
    assert rows[0].split("|")[5].strip() == "1.00 x"
    assert "100,000 steps of 16 slices" in text  # without crops
    assert "experiments.train_speed size=32 batch=2 rounds=1 steps=1 'networks=[dsc_unet,unet,unet_bn]' 'set" in text


def test_another_setting_is_one_clear_error(tmp_path: Path) -> None:
    shown = failed_experiment("train_speed.__main__", *SMALL, "settings=[fp8]", cwd=tmp_path)
    assert shown.startswith("error: settings: expected some of shipped, bf16, ")
    assert shown.endswith("found fp8")
    shown = failed_experiment("train_speed.__main__", *SMALL, "networks=[resnet]", cwd=tmp_path)
    assert shown.startswith("error: networks: expected some of dsc_unet, unet, ")
