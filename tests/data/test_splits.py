import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lits_seg.common.errors import InputError
from lits_seg.data.checks import CaseCheck
from lits_seg.data.fingerprints import Fingerprint
from lits_seg.data.splits import split_patients
from lits_seg.data.stored_case import StoredCase

CHECK = CaseCheck("LPS", [-1000, 200], 60, [1, 0, 0], 0, [])
VOXELS = Fingerprint("", "", frozenset())


def patients(with_lesion: int, without: int) -> list[StoredCase]:
    return [
        StoredCase(
            *(Path(), str(n), (1, 1, 1), (1, 1, 1), 0.001, (9,), (5 if n < with_lesion else 0,)),
            replace(CHECK, voxels=[1, 0, int(n < with_lesion)]),
            VOXELS,
        )
        for n in range(with_lesion + without)
    ]


@given(st.integers(5, 60), st.integers(0, 20), st.integers(2, 5), st.floats(0, 0.6), st.integers(0, 9))
def test_folds_part_the_patients(with_lesion: int, without: int, folds: int, val_share: float, seed: int) -> None:
    cases = patients(with_lesion + 1, without)
    tested: list[str] = []
    for fold in range(folds):
        split = split_patients(cases, folds=folds, fold=fold, val_share=val_share, seed=seed)
        train, val, test = ({case.name for case in split[part]} for part in ("train", "val", "test"))
        assert train
        assert val
        assert not train & (val | test)
        assert train | val | test == {case.name for case in cases}
        assert val == test if val_share == 0 else not val & test
        assert any(split["val"][i].lesion_pixels[0] for i in range(len(val)))
        ill = sum(case.lesion_pixels[0] > 0 for case in split["test"])
        assert abs(ill - (with_lesion + 1) / folds) < 1
        assert abs(len(test) - len(cases) / folds) < 1
        tested += test
    assert sorted(tested) == sorted(case.name for case in cases)


def test_the_smallest_data_sets_have_patients_in_every_part() -> None:
    for count in range(2, 9):
        for folds in range(2, count + 1):
            for fold in range(folds):
                with contextlib.suppress(InputError):
                    split = split_patients(patients(count, 0), folds=folds, fold=fold, val_share=0.15, seed=0)
                    assert all(split.values()), (count, folds, fold)


def test_split_does_not_depend_on_anything_but_its_seed() -> None:
    cases = patients(10, 3)
    one, two, other = (split_patients(cases, folds=4, fold=1, val_share=0.2, seed=seed)["train"] for seed in (0, 0, 1))
    assert one == two
    assert one != other


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fold": 4}, "data.fold: expected one of 0 to 3"),
        ({"fold": -1}, "data.fold"),
        ({"folds": 1}, "data.folds"),
        ({"val_share": 1.0}, "data.val_share"),
        ({"folds": 9}, "at least 10 patients for 9 folds; found 9"),
    ],
)
def test_bad_settings_are_named(change: dict, told: str) -> None:
    settings = {"folds": 4, "fold": 0, "val_share": 0.1, "seed": 0, **change}
    with pytest.raises(InputError) as error:
        split_patients(patients(9, 0), **settings)
    assert told in str(error.value)


def test_split_does_not_depend_on_the_size_of_images_in_which_lesions_vanish() -> None:
    large = patients(10, 3)
    small = [replace(case, lesion_pixels=(0,)) if case.name in "258" else case for case in large]
    for fold in range(4):
        one, other = (split_patients(cases, folds=4, fold=fold, val_share=0.2, seed=0) for cases in (large, small))
        assert all([a.name for a in one[part]] == [b.name for b in other[part]] for part in one)
