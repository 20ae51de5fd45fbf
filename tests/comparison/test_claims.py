from dataclasses import replace

import pytest
from helpers.run_folders import HEAVY, LIGHT, case, one_group, run

from lits_seg.comparison.claims import CONFIRMED, NOT_CONFIRMED, UNDECIDED, claims, verdict
from lits_seg.comparison.finished_runs import Run

PATIENTS = [f"{i}" for i in range(6)]


def trained(
    name: str, network: str, missed: int, seconds: float, parameters: int, fold: int = 0, **facts: object
) -> Run:
    one = run(name, [case(f"{fold}-{patient}", missed + int(patient)) for patient in PATIENTS], network, fold)
    changed = {"train_seconds": seconds, "parameters": parameters, "steps": 100, **facts}
    return replace(one, result=replace(one.result, **changed))


def verdicts(*runs: Run, margin: float = 0.02) -> dict[str, tuple[str, str]]:
    ((title, found),) = claims(one_group(list(runs)), margin)
    assert title == f"{LIGHT} against {HEAVY}"
    return {claim.claim: (claim.measured, claim.verdict) for claim in found}


def test_claims_that_hold() -> None:
    found = verdicts(
        trained("a", LIGHT, 2, 10, 2_246_365), trained("b", LIGHT, 2, 10, 2_246_365, fold=1),
        trained("c", HEAVY, 8, 30, 31_030_658), trained("d", HEAVY, 8, 22, 31_030_658, fold=1),
    )  # fmt: skip
    assert found["13.8 × fewer parameters"] == ("13.81 ×", CONFIRMED)
    assert found["2 × faster to train"] == ("2.60 × [2.20 to 3.00, 2 pairs]", CONFIRMED)
    measured, held = found["Dice no worse"]
    assert held == CONFIRMED
    assert measured.startswith("+0.")
    assert measured.endswith("over 12 patients")


def test_claims_that_do_not_hold_or_cannot_be_told() -> None:
    found = verdicts(
        trained("a", LIGHT, 8, 10, 5_000_000), trained("b", LIGHT, 8, 10, 5_000_000, fold=1),
        trained("c", HEAVY, 2, 30, 31_030_658), trained("d", HEAVY, 2, 19, 31_030_658, fold=1),
    )  # fmt: skip
    assert [one for _, one in found.values()] == [NOT_CONFIRMED, UNDECIDED, NOT_CONFIRMED]


def test_a_baseline_that_finds_nothing_proves_nothing() -> None:
    found = verdicts(trained("a", LIGHT, 20, 10, 100), trained("b", HEAVY, 20, 10, 1000))
    assert found["Dice no worse"][1] == UNDECIDED


def test_times_of_other_devices_or_steps_are_not_compared() -> None:
    light = trained("a", LIGHT, 2, 10, 100)
    for other in ({"device": "a GPU"}, {"steps": 200}):
        found = verdicts(light, trained("c", HEAVY, 2, 30, 1000, **other))
        assert found["2 × faster to train"] == ("no matching pair of runs", UNDECIDED)


def test_no_claims_without_both_networks() -> None:
    assert claims(one_group([trained("a", LIGHT, 2, 10, 100)]), 0.02) == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.02, 0.1, CONFIRMED), (-0.03, 0.1, UNDECIDED), (-0.03, -0.02, UNDECIDED), (-0.2, -0.03, NOT_CONFIRMED)],
)
def test_verdict_by_where_the_interval_lies(low: float, high: float, expected: str) -> None:
    assert verdict(low, high, -0.02) == expected
