"""Which slices are drawn, in which order, with which seed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lits_seg.common.errors import InputError
from lits_seg.data.augment_monai import rotate_zoom_bend
from lits_seg.data.layouts import find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.sampling import EvaluationSlices, ResidentSlices, SeededSampler, TrainingSlices
from lits_seg.data.store import store_cases
from lits_seg.data.stored_case import StoredCase


@pytest.fixture(scope="module")
def cases(lits: Path, tmp_path_factory: pytest.TempPathFactory) -> list[StoredCase]:
    return store_cases(find_cases(lits), Preprocess(size=32), tmp_path_factory.mktemp("store"))


def test_ranks_draw_different_slices_and_seeds() -> None:
    samplers = [SeededSampler([True, False] * 20, None, None, 0, rank, 2) for rank in (0, 1)]
    one, two = (list(sampler) for sampler in samplers)
    assert len(one) == len(two) == 20
    assert sorted(index for index, _ in one + two) == list(range(40))
    assert len({seed for _, seed in one + two}) == 40


@given(share=st.floats(0.05, 0.95), batch=st.integers(1, 20), world=st.integers(1, 3))
def test_every_batch_of_every_rank_holds_the_share_of_lesion_slices(share: float, batch: int, world: int) -> None:
    has_lesion = [True] * 7 + [False] * 13
    for rank in range(world):
        drawn = [has_lesion[i] for i, _ in SeededSampler(has_lesion, 240, share, 0, rank, world)]
        for start in range(0, len(drawn) - batch + 1, batch):
            assert abs(sum(drawn[start : start + batch]) - share * batch) <= 1.01


def test_balanced_epochs_meet_all_slices_alike_often() -> None:
    has_lesion = [True] * 5 + [False] * 15
    drawn = [index for index, _ in SeededSampler(has_lesion, 40, 0.5, 0, 0, 1)]
    assert len(drawn) == 40
    times = torch.bincount(torch.tensor(drawn), minlength=20)
    assert times[:5].tolist() == [4] * 5
    assert set(times[5:].tolist()) == {1, 2}


@pytest.mark.parametrize("size", [1, 3, 16])
def test_evaluation_meets_every_slice_once_and_one_patient_a_batch(size: int, cases: list[StoredCase]) -> None:
    slices = EvaluationSlices(cases[:3])
    batches = slices.batches(size)
    assert sorted(index for batch in batches for index in batch) == list(range(len(slices)))
    assert all(len({slices[index]["case"] for index in batch}) == 1 for batch in batches)
    places = [(slices[i]["case"], slices[i]["slice"]) for i in range(len(slices))]
    assert places == [(number, i) for number, case in enumerate(cases[:3]) for i in range(len(case))]


def test_each_rank_draws_the_next_epoch_anew_and_the_same_again() -> None:
    sampler = SeededSampler([True, False] * 20, None, None, seed=3, rank=0, world=1)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert sorted(index for index, _ in sampler) == list(range(40))


@pytest.mark.parametrize("groups", [None, [0] * 40])
def test_a_single_data_set_is_drawn_as_before_there_were_several(groups: list[int] | None) -> None:
    sampler = SeededSampler([True, False] * 20, 60, None, 3, 0, 1, groups=groups, shares=(1.0,))
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([3, 0]).generate_state(1)[0]))
    rounds = [torch.randperm(40, generator=generator) for _ in range(2)]
    indices, seeds = torch.cat(rounds)[:60], torch.randint(2**31, (60,), generator=generator)
    assert list(sampler) == list(zip(indices.tolist(), seeds.tolist(), strict=True))


def test_an_epoch_may_be_shorter_than_the_list_of_patients() -> None:
    sampler = SeededSampler([True] * 40, 5, None, 0, 0, 1, patients=list(range(40)))
    assert len({index for index, _ in sampler}) == 5


def test_a_share_needs_both_kinds_of_slices() -> None:
    with pytest.raises(InputError, match=r"data\.lesion_share: .*; found 4 of 4"):
        SeededSampler([True] * 4, None, 0.5, 0, 0, 1)
    assert len(SeededSampler([True] * 4, None, None, 0, 0, 1)) == 4


@pytest.mark.parametrize("part", ["liver", "lesion"])
def test_slices_are_chosen_by_anatomy(part: str, cases: list[StoredCase]) -> None:
    slices = TrainingSlices(cases, part, augment=None)
    shown = {(case.name, i) for case, i in slices.places}
    lowest = {"liver": 1, "lesion": 2}[part]
    assert shown == {(case.name, i) for case in cases for i in range(len(case)) if (case.labels[i] >= lowest).any()}
    assert 0 < len(slices) < sum(map(len, cases))
    assert slices.has_lesion == [(case.labels[i] == 2).any() for case, i in slices.places]


def test_augmentation_one_by_one_keeps_the_labels_of_all_slices(cases: list[StoredCase]) -> None:
    still = rotate_zoom_bend(32, probability=0.0)
    plain, moved = (TrainingSlices(cases, "lesion", way, context=3, label_context=3) for way in (None, still))
    assert torch.equal(moved[0, 0]["label"], plain[0, 0]["label"])
    assert moved[0, 0]["label"].any()


def test_labels_of_the_middle_slices(cases: list[StoredCase]) -> None:
    one, three = (TrainingSlices(cases, "all", None, context=5, label_context=count) for count in (1, 3))
    resident = ResidentSlices(cases, 5, torch.device("cpu"), label_context=3)
    middle = [one[index, 0]["label"] for index in range(len(one))]
    for index in range(len(three)):
        sample = three[index, 0]
        assert sample["label"].shape == (3, 32, 32)
        assert torch.equal(sample["label"][1], middle[index])
        assert torch.equal(resident(torch.tensor([index]))[1][0], sample["label"])
        if 0 < one.places[index][1] < len(one.places[index][0]) - 1:
            assert torch.equal(sample["label"], torch.stack(middle[index - 1 : index + 2]))


@pytest.mark.parametrize("context", [1, 3, 5])
def test_resident_slices_are_the_stored_ones_with_their_neighbours(context: int, cases: list[StoredCase]) -> None:
    resident = ResidentSlices(cases, context, torch.device("cpu"))
    stored = TrainingSlices(cases, "all", augment=None, context=context)
    images, labels = resident(torch.arange(len(stored)))
    for index in range(len(stored)):
        sample = stored[(index, 0)]
        assert torch.equal(images[index], sample["image"])
        assert torch.equal(labels[index], sample["label"])
