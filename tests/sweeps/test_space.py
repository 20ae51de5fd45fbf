"""Hydra's override grammar as a search space."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from lits_seg.common.errors import InputError
from lits_seg.sweeps.space import Distribution, distributions, examples, job


def space(*arguments: str) -> dict[str, Distribution]:
    return distributions(OverridesParser.create().parse_overrides(list(arguments)))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("interval(0,0.3)", FloatDistribution(0, 0.3)),
        ("tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("int(interval(1,8))", IntDistribution(1, 8)),
        ("tag(log, int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("range(2,9,3)", IntDistribution(2, 8, step=3)),
        ("range(9,2,-3)", IntDistribution(3, 9, step=3)),
        ("range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("choice(bilinear,subpixel)", CategoricalDistribution(["bilinear", "subpixel"])),
        ("8,16,8", CategoricalDistribution([8, 16])),
        ("true,null,1.5", CategoricalDistribution([True, "null", 1.5])),
        ("[a,b],[c]", CategoricalDistribution(["[a,b]", "[c]"])),
        ("'a b',c", CategoricalDistribution(["'a b'", "c"])),
    ],
)
def test_grammar(written: str, expected: Distribution) -> None:
    found = space(f"key={written}", "fixed=1")
    assert found == {"key": expected}


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-7, 7).filter(bool))
def test_a_range_has_the_values_that_a_sweep_would_have(start: int, stop: int, step: int) -> None:
    values = sorted(range(start, stop, step))
    if not values:
        with pytest.raises(InputError, match="found none"):
            space(f"key=range({start},{stop},{step})")
        return
    found = space(f"key=range({start},{stop},{step})")["key"]
    assert isinstance(found, IntDistribution)
    assert list(range(found.low, found.high + 1, found.step)) == values


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("interval(1,0)", "low"),
        ("tag(log, interval(0,1))", "low"),
        ("tag(log, range(1,10,2))", "step"),
        ("tag(lag, interval(0,1))", "found lag"),
        ("tag(log, choice(a,b))", "found log"),
        ("shuffle(range(1,4))", "found shuffle"),
        ("range(4,4)", "found none"),
        ("range(0,4,0)", "zero"),
        ("7", "found key=7"),
    ],
)
def test_what_cannot_be_searched_is_named(written: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        space(f"key={written}")
    assert "key=" in str(error.value)
    assert told in str(error.value)


def test_jobs_keep_the_order_of_the_command_and_what_is_fixed() -> None:
    arguments = ["a=interval(0,1)", "~b", "+c=x,y", "d='p q'"]
    overrides = OverridesParser.create().parse_overrides(arguments)
    assert job(overrides, {"a": 0.5, "+c": "x"}) == ["a=0.5", "~b", "+c=x", "d='p q'"]


def test_examples_have_every_choice() -> None:
    found = examples(space("a=x,y,z", "b=p,q", "c=interval(2,3)"))
    assert {values["a"] for values in found} == {"x", "y", "z"}
    assert {values["b"] for values in found} == {"p", "q"}
    assert all(values["c"] == 2 for values in found)
