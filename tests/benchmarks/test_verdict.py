"""Who is first, by properties."""

import math

import hypothesis.strategies as st
import pytest
from accuracy.verdict import Verdict, judge
from hypothesis import given

from bwpredict.evaluation.bootstrap import Interval

ORDER = {"first": 0, "tied": 1, "beaten": 2}


@st.composite
def intervals(draw):
    low, estimate, high = sorted(draw(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3)))
    return Interval(estimate, low, high)


rivals = st.dictionaries(st.sampled_from("abcdef"), intervals(), min_size=1)


@given(rivals)
def test_first_means_that_every_rival_is_worse_beyond_chance(differences):
    assert (judge(differences).place == "first") == all(each.high < 0 for each in differences.values())


@given(rivals)
def test_beaten_means_that_some_rival_is_better_beyond_chance(differences):
    assert (judge(differences).place == "beaten") == any(each.low > 0 for each in differences.values())


@given(rivals)
def test_tied_means_neither_and_names_a_rival_whose_interval_includes_zero(differences):
    verdict = judge(differences)
    if verdict.place == "tied":
        assert verdict.difference.low <= 0 <= verdict.difference.high
        assert differences[verdict.rival] == verdict.difference


@given(rivals)
def test_the_named_rival_is_the_best_of_those_that_decide_the_place(differences):
    verdict = judge(differences)
    alike = [each for each in differences.values() if judge({"": each}).place == verdict.place]
    assert verdict.difference.estimate == max(each.estimate for each in alike)


@given(rivals, intervals())
def test_another_rival_never_makes_the_place_better(differences, another):
    assert ORDER[judge({**differences, "another": another}).place] >= ORDER[judge(differences).place]


@given(rivals, st.floats(0, 1e6))
def test_larger_errors_never_make_the_place_better(differences, more):
    worse = {k: Interval(v.estimate + more, v.low + more, v.high + more) for k, v in differences.items()}
    assert ORDER[judge(worse).place] >= ORDER[judge(differences).place]


@given(rivals, st.sampled_from([math.nan, math.inf]))
def test_a_difference_that_is_not_finite_is_never_a_win(differences, broken):
    assert judge({**differences, "broken": Interval(-1, broken, -0.5)}).place == "undefined"


def test_without_rivals_there_is_no_place():
    assert judge({}) == Verdict("undefined")


@pytest.mark.parametrize(
    ("low", "high", "place"), [(-2, -1, "first"), (-1, 1, "tied"), (0, 1, "tied"), (1, 2, "beaten")]
)
def test_the_place_by_example(low, high, place):
    assert judge({"rival": Interval((low + high) / 2, low, high)}).place == place


@pytest.mark.parametrize(
    ("low", "high", "place"),
    [(1e-9, 1e-7, "tied"), (-1e-7, -1e-9, "tied"), (1e-9, 1, "tied"), (2e-6, 1, "beaten"), (-1, -2e-6, "first")],
)
def test_forecasts_that_differ_by_rounding_are_tied(low, high, place):
    assert judge({"rival": Interval((low + high) / 2, low, high)}, rounding=1e-6).place == place
