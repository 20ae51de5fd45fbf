"""Rules and temperature are fitted to what is known to be right."""

from dataclasses import replace

import numpy as np
import pytest

from lits_seg.postprocess import Rules
from lits_seg.postprocess.crf import Crf
from lits_seg.postprocess.fitting import (
    CRFS,
    Patient,
    calibration_error,
    fit_rules,
    fit_temperature,
    reliability,
    try_rules,
)


def patient(seed: int) -> Patient:
    """A liver whose lesion the network sees in every slice, with noise of single slices and voxels beside it."""
    generator = np.random.default_rng(seed)
    truth = np.ones((20, 16, 16), np.uint8)
    truth[5:15, 4:9, 4:9] = 2
    probability = np.where(truth == 2, 180, 20).astype(np.uint8)
    probability[generator.integers(0, 20, 12), generator.integers(0, 16, 12), generator.integers(11, 16, 12)] = 150
    labels = np.where(probability > 127, 2, 1).astype(np.uint8)
    return Patient(f"p{seed}", labels, probability, truth, (1.0, 1.0, 2.0), 0.002)


def test_rules_remove_noise_and_keep_lesions() -> None:
    patients = [patient(seed) for seed in range(3)]
    plain = try_rules(Rules(), patients)
    best, trials = fit_rules(patients)
    assert plain.false_lesions > 5
    assert best.false_lesions == 0
    assert best.dice >= max(trial.dice for trial in trials) - 0.005
    assert best.dice > plain.dice
    assert trials[0] == plain
    assert (patients[0].labels == patient(0).labels).all()


def test_a_crop_does_not_change_the_scores() -> None:
    small = patient(0)
    parts = {name: np.pad(getattr(small, name), 5) for name in ("labels", "probability", "truth")}
    large = Patient(small.name, **parts, spacing=small.spacing, voxel_ml=small.voxel_ml)
    rules = Rules(largest_liver=True, threshold=0.5, smooth_mm=3, min_lesion_ml=0.01)
    assert try_rules(rules, [large]) == try_rules(rules, [large.cropped()])
    assert large.cropped().labels.shape == small.labels.shape


def with_hu(seed: int) -> Patient:
    """The HU show the lesion, with noise."""
    plain = patient(seed)
    hu = np.where(plain.truth == 2, 50, 110) + np.random.default_rng(seed).normal(0, 10, plain.truth.shape)
    return replace(plain, hu=hu.astype(np.int16))


def test_a_crf_is_chosen_if_it_helps() -> None:
    best, trials = fit_rules([with_hu(0), with_hu(1)], values={"crf": CRFS})
    assert best.rules.crf is not None
    assert best.false_lesions < trials[1].false_lesions
    assert {trial.rules.crf for trial in trials} == set(CRFS)
    assert {trial.rules.crf for trial in fit_rules([with_hu(0)])[1]} == {None}


def test_a_crop_leaves_a_margin_for_a_crf() -> None:
    small = with_hu(0)
    parts = {name: np.pad(getattr(small, name), 60) for name in ("labels", "probability", "truth", "hu")}
    large = replace(small, **parts)
    rules = Rules(threshold=0.5, crf=Crf(1.0, 1.0, 1.0, 3.0))
    assert try_rules(rules, [large]) == try_rules(rules, [large.cropped()])
    assert large.cropped().labels.shape < large.labels.shape


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_temperature_of_drawn_classes_is_found(temperature: float, classes: int) -> None:
    generator = np.random.default_rng(0)
    true = generator.normal(0, 2, (40_000, classes))
    probability = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    drawn = (generator.random((len(true), 1)) > probability.cumsum(1)).sum(1).clip(max=classes - 1)
    assert fit_temperature(true * temperature, drawn) == pytest.approx(temperature, rel=0.05)


def test_reliability_compares_probability_and_frequency() -> None:
    generator = np.random.default_rng(0)
    probability = generator.random(50_000)
    right = reliability(probability, generator.random(50_000) < probability)
    wrong = reliability(probability, generator.random(50_000) < probability**3)
    assert sum(part.voxels for part in right) == 50_000
    assert calibration_error(right) < 0.02
    assert calibration_error(wrong) > 0.2
    assert reliability(np.array([1.0]), np.array([True]))[0].probability == 1
