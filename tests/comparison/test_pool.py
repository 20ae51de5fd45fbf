from dataclasses import replace

import numpy as np
import pytest
from helpers.run_folders import HEAVY, LIGHT, case, one_group, run
from hypothesis import given, settings
from hypothesis import strategies as st

from lits_seg.comparison.notes import folds_text, group_notes
from lits_seg.comparison.pool import DICE, pool
from lits_seg.metrics.statistics import bootstrap_interval

JACCARD, FOUND = "lesion/jaccard", "detection/iou>0.5/recall"


# Of 20 lesion voxels `missed` are missed: Dice 2 (20 - missed) / (40 - missed).
def dice(missed: int) -> float:
    return 2 * (20 - missed) / (40 - missed)


def test_folds_are_pooled_over_patients_as_by_hand() -> None:
    group = one_group([run("a", [case("1", 4), case("2", 12)]), run("b", [case("3", 0)], fold=1)])
    (variant,) = group.variants
    values = [dice(4), dice(12), dice(0)]
    assert variant.scores[DICE].value == pytest.approx(np.mean(values))
    assert variant.scores[DICE].interval == pytest.approx(bootstrap_interval(values))
    assert variant.scores["lesion/dice_global"].value == pytest.approx(2 * (60 - 16) / (120 - 16))
    assert variant.scores[FOUND].value == pytest.approx(2 / 3)  # 8 of 20 voxels are an IoU of 0.4
    assert variant.scores[JACCARD].value == pytest.approx((16 + 8 + 20) / 60)


def test_seeds_are_averaged_and_patients_resampled_not_runs() -> None:
    first, second = [case("1", 2), case("2", 10)], [case("1", 6), case("2", 18)]
    group = one_group([run("a", first), run("b", second, seed=1)])
    (variant,) = group.variants
    each = [(dice(2) + dice(6)) / 2, (dice(10) + dice(18)) / 2]
    assert variant.scores[DICE].value == pytest.approx(np.mean(each))
    assert variant.scores[DICE].interval == pytest.approx(bootstrap_interval(each))
    assert variant.scores[FOUND].value == pytest.approx(2 / 4)  # 18 and 14 of 20 voxels; 10 and 2
    assert variant.every("seed") == [0, 1]


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(6)))
def test_order_of_runs_does_not_matter(order: list[int]) -> None:
    runs = [
        run(
            f"{network} {fold} {seed}",
            [case(f"{fold}{i}", 3 * fold + 5 * seed + i) for i in (1, 2)],
            network,
            fold,
            seed,
        )
        for network, seeds in ((LIGHT, (0,)), (HEAVY, (0, 1)))
        for fold in (0, 1)
        for seed in seeds
    ]
    assert one_group([runs[i] for i in order]) == one_group(runs)


def test_differences_are_of_the_same_patients_as_by_hand() -> None:
    light = run("a", [case("1", 4), case("2", 0), case("3", 7)], LIGHT)
    heavy = run("b", [case("3", 7), case("1", 10), case("2", 2)], HEAVY)
    row = one_group([light, heavy]).pairs[LIGHT][DICE]
    assert row.difference == pytest.approx((dice(4) - dice(10) + dice(0) - dice(2)) / 3)
    assert (row.test.wins_a, row.test.wins_b, row.test.ties, row.test.patients) == (2, 0, 1, 3)


def test_missing_fold_is_told_and_compared_on_common_patients() -> None:
    whole = [run("a", [case("1", 4), case("2", 6)]), run("b", [case("3", 0)], fold=1)]
    group = one_group([*whole, run("c", [case("1", 2), case("2", 2)], LIGHT)])
    row = group.pairs[LIGHT][DICE]
    assert row.test.patients == 2
    assert row.b == pytest.approx((dice(4) + dice(6)) / 2)
    (note,) = group_notes(group)
    assert note.startswith(f"{LIGHT} has folds 0 of 2: its means are over 2 of 3 patients")
    assert "use the 2 patients that both have" in note


def test_folds_tested_on_the_same_volumes_from_elsewhere_repeat_as_seeds_do() -> None:
    elsewhere = {"data.test_root": "/data/other"}
    runs = [run(f"{fold}", [case("1", 2 * fold), case("2", 8)], fold=fold, **elsewhere) for fold in (0, 1)]
    (variant,) = one_group(runs).variants
    assert variant.scores[DICE].value == pytest.approx(((dice(0) + dice(2)) / 2 + dice(8)) / 2)


def test_folds_in_files_of_their_own_are_pooled() -> None:
    files = [run(f"{i}", [case(f"{i}", i)], **{"data.split": f"/a/fold{i}.json"}) for i in range(3)]
    whole = run("whole", [case(f"{i}", 5) for i in range(3)], LIGHT, **{"data.split": "all.json"})
    group = one_group([*files, whole])
    variant = next(variant for variant in group.variants if variant.name == HEAVY)
    assert variant.scores[DICE].value == pytest.approx(np.mean([dice(0), dice(1), dice(2)]))
    assert folds_text(variant) == "of 3 splits"
    assert group_notes(group) == []
    assert "split files (split seed 0)" in group.title


def test_named_splits_are_no_folds() -> None:
    runs = [run("a", [case("1")]), run("b", [case("2")], fold=1, **{"data.split": "folds"})]
    groups = pool([*runs, run("c", [case("28", 4)], **{"data.split": "ircadb"})], HEAVY)
    assert sorted(("split ircadb (" in group.title, len(group.patients)) for group in groups) == [(False, 2), (True, 1)]
    assert all(len(group.variants) == 1 for group in groups)


def test_a_split_of_the_training_makes_variants_of_the_same_test_volumes() -> None:
    splits = {name: {"data.test_root": "/data/other", "data.split": name} for name in ("folds", "all")}
    group = one_group([run(name, [case("1")], **changed) for name, changed in splits.items()])
    assert [variant.name for variant in group.variants] == [f"{HEAVY}, split all", f"{HEAVY}, split folds"]


def test_runs_that_do_not_compare_are_in_groups_of_their_own() -> None:
    runs = [run("a", [case("1")]), run("b", [case("1")], **{"data.split_seed": 1})]
    other = run("c", [case("1")])
    for changed in ({"size": 128}, {"folds": 4}, {"data": "lits", "synthetic": False}, {"selected_on_test": True}):
        runs.append(replace(other, name=str(changed), result=replace(other.result, **changed)))
    groups = pool(runs, HEAVY)
    assert [len(group.variants) for group in groups] == [1] * 6
    assert len({group.title for group in groups}) == 6
    assert sum("optimistic" in group.title for group in groups) == 1
    assert sum("(synthetic CT)" in group.title for group in groups) == 5


def test_baseline_that_is_absent_is_replaced_and_told() -> None:
    group = one_group([run("a", [case("1"), case("2")], LIGHT), run("b", [case("1"), case("2")], "unet, bilinear")])
    assert group.baseline.name == "unet, bilinear"
    assert any("The baseline unet, deconv has no runs" in note for note in group_notes(group))
    assert one_group([run("a", [case("1")], LIGHT), run("b", [case("1")])], LIGHT).baseline.name == LIGHT


def test_of_equal_networks_the_one_with_most_patients_stands_in() -> None:
    whole = [run(f"w{fold}", [case(str(fold))], LIGHT, fold=fold) for fold in (0, 1)]
    longer = run("l", [case("0")], LIGHT, **{"trainer.max_epochs": 3})
    for runs in ([*whole, longer], [longer, *whole]):
        assert one_group(runs).baseline.name == "dsc_unet, subpixel, max epochs 2"
