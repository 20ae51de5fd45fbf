"""The comparison of an exported file with its checkpoint, on files that differ by a known amount."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.checkpoints import save_checkpoint, with_model

from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.data.layouts import find_cases
from lits_seg.data.volumes import read_case
from lits_seg.exporters.parity import Parity, milliseconds, network_images, parity, slices_of, volume_dice
from lits_seg.inference.segmenter import ModelFacts, RunSettings, Segmenter
from lits_seg.postprocess import Rules
from lits_seg.postprocess.crf import Crf

HU = np.random.default_rng(0).normal(50, 80, (2, 3, 40, 48)).astype(np.float32)


class Same(Segmenter):
    """The checkpoint itself, but for an offset of its logits and some lesion that it adds."""

    def __init__(self, module, offset: float = 0.0, added: int = 0) -> None:
        self.module, self.offset, self.added = module, offset, added

    def logits(self, hu: np.ndarray, pixel_mm: object = None) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            logits = self.module(torch.from_numpy(network_images(self.module, hu)).float() / 255)
            labels = self.module.labels(logits, *hu.shape[2:])[0].numpy()
        labels.flat[: self.added] = 2
        return labels, logits.numpy() + self.offset

    def __call__(self, hu: np.ndarray, around: np.ndarray, pixel_mm: object = None) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def model(self) -> ModelFacts:
        raise NotImplementedError

    def settings(self) -> RunSettings:
        raise NotImplementedError


def test_differences_are_those_of_the_file(tmp_path: Path) -> None:
    module = save_checkpoint(tmp_path / "net.ckpt", settings=with_model(out_channels=3, in_channels=3))
    assert network_images(module, HU).shape == (2, 3, 32, 32)
    same = parity(module, Same(module), HU)
    assert (same.labels, same.dice, same.logits) == (1, 1, 0)
    assert same.largest > 0
    labels = Same(module).logits(HU)[0]
    changed = int((labels.ravel()[:100] != 2).sum())
    other = parity(module, Same(module, offset=0.25, added=100), HU)
    lesion = int((labels == 2).sum())
    assert other.labels == pytest.approx(1 - changed / labels.size)
    assert other.dice == pytest.approx(2 * lesion / (2 * lesion + changed))
    assert other.logits == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize(
    ("found", "precision", "fits"),
    [
        (Parity(1, 0, 2), "fp32", True),
        (Parity(0.9998, 0, 2), "fp32", False),
        (Parity(0.9998, 0, 2), "fp16", True),
        (Parity(1, 0.11, 2), "fp32", False),
        (Parity(1, 0.11, 2), "bf16", True),
        (Parity(1, float("nan"), 2), "int8", False),
    ],
)
def test_each_precision_has_its_limits(found: Parity, precision: str, fits: bool) -> None:
    if fits:
        found.require("a.onnx", precision)
    else:
        with pytest.raises(InputError, match=r"a\.onnx: expected"):
            found.require("a.onnx", precision)


def test_slices_are_spread_over_the_cases_and_keep_their_neighbours(lits: Path) -> None:
    cases = find_cases(lits)[:2]
    hu, pixel_mm = slices_of(cases, 4, 3)
    assert hu.shape == (4, 3, 40, 48)
    assert pixel_mm.tolist() == [[1.5, 1.5]] * 4
    for number, case in enumerate(cases):
        with open_ct(case.image) as ct:
            whole = ct.slices(0, len(ct))
        for part in hu[2 * number : 2 * number + 2]:
            middle = next(i for i in range(len(whole)) if np.array_equal(whole[i], part[1]))
            np.testing.assert_array_equal(part, whole[middle - 1 : middle + 2])


class Labels(Segmenter):
    """Gives the true labels of a case, slice by slice."""

    classes, context = 3, 1

    def __init__(self, truth: np.ndarray, rules: Rules = Rules()) -> None:  # noqa: B008  # immutable
        self.left, self.rules = list(truth), rules

    def __call__(self, hu: np.ndarray, around: np.ndarray, pixel_mm: object = None) -> tuple[np.ndarray, np.ndarray]:
        labels = np.stack([self.left.pop(0) for _ in around])
        return labels, labels

    model = settings = None


def test_dice_is_of_whole_volumes(lits: Path) -> None:
    (case, *_) = find_cases(lits)
    truth = read_case(case)[1].slices
    assert volume_dice(Labels(truth), [case], batch_size=3) == [1]
    half = np.where(np.cumsum(truth == 2).reshape(truth.shape) <= (truth == 2).sum() // 2, truth, truth * 0)
    kept, all_ = int((half == 2).sum()), int((truth == 2).sum())
    assert volume_dice(Labels(half), [case], batch_size=4) == pytest.approx([2 * kept / (kept + all_)])
    assert volume_dice(Labels(truth), [], batch_size=4) == []


def test_dice_is_that_of_the_models_rules(lits: Path) -> None:
    (case, *_) = find_cases(lits)
    truth = read_case(case)[1].slices
    for rules in (Rules(min_lesion_ml=1000), Rules(threshold=0.5)):  # Labels gives a probability of 2 / 255
        assert volume_dice(Labels(truth, rules), [case], batch_size=3) == [0]


def test_a_rule_that_reads_the_ct_has_it(lits: Path) -> None:
    (case, *_) = find_cases(lits)
    image, label = read_case(case)
    truth = label.slices
    # Labels gives a probability of at most 2 / 255.
    rules = Rules(threshold=0.004, crf=Crf(appearance_mm=5.0, iterations=1))
    (dice,) = volume_dice(Labels(truth, rules), [case], batch_size=3)
    expected = truth.copy()
    rules(expected, truth, image.spacing, 1.0, hu=lambda start, stop: image.slices[start:stop])
    lesion = expected == 2
    assert dice == pytest.approx(2 * (lesion & (truth == 2)).sum() / (lesion.sum() + (truth == 2).sum()))


def test_times_are_a_slices() -> None:
    class Counting(Labels):
        def __call__(
            self, hu: np.ndarray, around: np.ndarray, pixel_mm: object = None
        ) -> tuple[np.ndarray, np.ndarray]:
            self.left.append((hu.shape, around.tolist()))
            return hu, hu

    segmenters = {"a": Counting(np.zeros(0)), "b": Counting(np.zeros(0))}
    times = milliseconds(segmenters, HU, rounds=2)
    assert times.keys() == segmenters.keys()
    assert min(times.values()) > 0
    assert segmenters["a"].left == [((6, 40, 48), [[0, 1, 2], [3, 4, 5]])] * 3
