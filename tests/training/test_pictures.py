"""Pictures of a run: what is drawn, in which place and colour."""

from pathlib import Path

import numpy as np

from lits_seg.training.pictures import SIDE, curves, history, overlays, panels, tinted

HEADER = "epoch,step,train/loss_epoch,val/dice\n"


def log(run: Path, version: int, rows: str, header: str = HEADER) -> None:
    path = run / "metrics" / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + rows)


def test_a_resumed_run_has_one_history(tmp_path: Path) -> None:
    # The time of the last file is the first, as in a copy.
    log(tmp_path, 10, "1,20,,0.4\n2,30,0.5,\n")
    log(tmp_path, 9, "0,10,0.9,\n0,10,,0.2\n1,20,,0.3\n")
    expected = {
        "epoch": {10: 0, 20: 1, 30: 2},
        "train/loss_epoch": {10: 0.9, 30: 0.5},
        "val/dice": {10: 0.2, 20: 0.4},
    }
    assert history(tmp_path) == expected


def test_curves_show_what_was_logged(tmp_path: Path) -> None:
    log(tmp_path, 0, "1,20,,0.4\n0,10,0.9,0.2\n")
    dice, loss = curves(history(tmp_path), "val/dice").axes
    (line,) = dice.lines
    assert line.get_xydata().tolist() == [[10, 0.2], [20, 0.4]]
    (line,) = loss.lines
    assert line.get_xydata().tolist() == [[10, 0.9]]
    log(tmp_path, 0, "1,20,,0.4\n", HEADER.replace("val/dice", "val/liver/dice"))
    dice, _ = curves(history(tmp_path), "val/liver/dice").axes
    (line,) = dice.lines
    assert line.get_xydata().tolist() == [[20, 0.4]]


def test_labels_tint_the_image_in_their_colour() -> None:
    image, labels = np.full((1, 3), 100, np.uint8), np.array([[0, 1, 2]])
    background, liver, lesion = tinted(image, labels)[0].tolist()
    assert background == [100, 100, 100]
    assert liver == [65, 131, 135]  # 65 % of the image, 35 % of cyan
    assert lesion == [145, 79, 79]


def test_panels_are_image_truth_and_prediction() -> None:
    image, truth, predicted = np.full((32, 24), 0.5, np.float32), np.zeros((32, 24), int), np.full((32, 24), 2)
    shown = panels(image, truth, predicted)
    assert shown.shape == (32, 3 * 24, 3)
    left, middle, right = np.split(shown, 3, axis=1)
    np.testing.assert_array_equal(left, middle)
    assert (right[..., 0] > left[..., 0]).all()
    assert max(panels(np.zeros((700, 512), np.float32), *np.zeros((2, 700, 512), int)).shape) <= 3 * SIDE


def test_overlays_outline_lesions_in_rows() -> None:
    labels = np.zeros((16, 16), int)
    labels[4:8, 4:8] = 2
    row = {"image": np.zeros((16, 16), np.float32), "truth": labels, "predicted": labels * 0, "title": "a, Dice 0.00"}
    figure = overlays([row, row])
    assert len(figure.axes) == 6
    image, truth, prediction = figure.axes[:3]
    assert image.get_title() == "a, Dice 0.00"
    assert [len(axes.collections) for axes in (image, truth, prediction)] == [0, 2, 0]  # liver with lesion, lesion
