"""Swapped labels are told; patients with much lesion are not taken for them."""

from pathlib import Path

import numpy as np
import pytest
from helpers.commands import run_command
from helpers.volumes import anatomy, write_case

from lits_seg.data.burden import burden, swapped

SWAP = np.array([0, 2, 1], np.uint8)


def heavy(share: float) -> np.ndarray:
    """A liver, of which a part up to a plane is lesion: the lesion reaches the surface."""
    labels = anatomy(0, lesion=False)[1]
    liver = np.argwhere(labels)
    labels[tuple(liver[: int(share * len(liver))].T)] = 2
    return labels


def told(*labels: np.ndarray) -> bool:
    return bool(swapped([burden(part) for part in labels]))


def ordinary(count: int) -> list[np.ndarray]:
    return [anatomy(seed)[1] for seed in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_swapped_labels(count: int) -> None:
    assert not told(*ordinary(count))
    assert told(*(SWAP[labels] for labels in ordinary(count)))
    without_lesion = anatomy(0, lesion=False)[1]
    assert told(*(SWAP[labels] for labels in ordinary(count)), *[without_lesion] * 9)  # these tell nothing


@pytest.mark.parametrize("share", [0.55, 0.7, 0.9, 0.98])
def test_much_lesion_in_single_patients_is_plausible(share: float) -> None:
    assert not told(heavy(share))
    assert not told(heavy(share), heavy(share))
    assert not told(heavy(share), heavy(share), heavy(share), *ordinary(3))
    assert told(heavy(share), heavy(share), heavy(share), *ordinary(2))


def test_a_set_without_lesions_or_without_cases_is_plausible() -> None:
    assert not told()
    assert not told(anatomy(0, lesion=False)[1], np.zeros((2, 3, 4), np.uint8))


@pytest.mark.hostile
def test_commands_tell_swapped_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(5):
        hu, labels = anatomy(seed)
        write_case(tmp_path / "swapped", str(seed), hu, SWAP[labels])
        write_case(tmp_path / "sound", str(seed), hu, labels)
    warning = "more lesion (label 2) than liver (label 1) in 5 of 5 cases"
    settings = ("data.preprocess.size=32", f"store={tmp_path}/store")
    assert f"warning: swapped: {warning}" in run_command("prepare", "data.root=swapped", *settings, cwd=tmp_path)
    assert warning in (tmp_path / "data" / "check" / "check.html").read_text()
    assert warning not in run_command("prepare", "data.root=sound", *settings, cwd=tmp_path)
    caplog.clear()
    run_command("evaluate", "predictions=sound", "references=sound", cwd=tmp_path)
    assert warning not in caplog.text
    run_command("evaluate", "predictions=sound", "references=swapped", cwd=tmp_path)
    assert caplog.text.count(f"swapped: {warning}") == 1
