"""The sequential tests: how often they are wrong when nothing is, by simulation, and how soon they see what is."""

import numpy as np
import pytest
from daily_checks import monitor
from hypothesis import given
from hypothesis import strategies as st

from bwpredict.monitoring.e_process import (
    INITIAL_EVIDENCE,
    INITIAL_WEALTH,
    LEAST,
    MOST,
    SHARES,
    clip_score,
    mean_evidence,
    update_evidence,
    update_wealth,
)
from bwpredict.monitoring.sequential_tests import SKILL_MARGIN

PATHS, DAYS = 400, 150


def fair_coins(rng):
    """Mean 0, as extreme as the bounds let it be."""
    return rng.choice([-1.0, 1.0])


def rare_disasters(rng):
    """Mean 0: three small gains for each great loss."""
    return 3.0 if rng.random() < 0.25 else -1.0


class Spells:
    """Mean 0 given the past, but loud and quiet spells: the days are not independent."""

    def __init__(self):
        self.size = 0.5

    def __call__(self, rng):
        self.size = min(1.0, max(0.1, self.size * float(np.exp(rng.normal(0, 0.3)))))
        return self.size * rng.choice([-1.0, 1.0])


WORST = {"fair coins": lambda: fair_coins, "rare disasters": lambda: rare_disasters, "spells": Spells}


@pytest.mark.parametrize("name", WORST)
def test_false_alarms_are_no_more_frequent_than_stated(name):
    threshold, rng, alarms = 300.0, np.random.default_rng(1), 0
    for _ in range(PATHS):
        draw, evidence = WORST[name](), INITIAL_EVIDENCE
        for _ in range(DAYS):
            evidence = update_evidence(evidence, draw(rng), threshold)
            if mean_evidence(evidence) >= threshold:
                alarms += 1
                break
    bound = DAYS / threshold
    # The bound holds exactly: only the simulation's own error is allowed for.
    assert alarms / PATHS <= bound + 3 * (bound * (1 - bound) / PATHS) ** 0.5
    assert alarms > 0, "without a single alarm this would show nothing"


def test_the_mean_time_to_a_false_alarm_is_at_least_the_threshold():
    threshold, rng, lengths = 30.0, np.random.default_rng(2), []
    for _ in range(PATHS):
        evidence = INITIAL_EVIDENCE
        length = 0
        while mean_evidence(evidence) < threshold:
            evidence, length = update_evidence(evidence, fair_coins(rng), threshold), length + 1
        lengths.append(length)
    assert np.mean(lengths) >= threshold - 3 * np.std(lengths) / PATHS**0.5


@pytest.mark.parametrize("follows", [0.0, 0.5])
def test_a_model_as_good_as_at_publication_hardly_ever_alarms_in_a_year_although_bad_days_follow_bad_days(follows):
    assert monitor(0.0, 0.05, follows, 25)["with an alarm"] == 0


def test_a_model_at_the_tolerated_limit_alarms_more_often_the_more_its_skill_varies():
    steady, restless = (monitor(SKILL_MARGIN, varies, 0.0, 25)["with an alarm"] for varies in (0.01, 0.05))
    assert steady < 0.4 < restless


def test_a_bettor_wins_no_more_often_than_stated():
    rng, wins = np.random.default_rng(3), 0
    for _ in range(PATHS):
        wealth = INITIAL_WEALTH
        for _ in range(DAYS):
            wealth = update_wealth(wealth, fair_coins(rng))
            if mean_evidence(wealth) >= 20:
                wins += 1
                break
    assert 0 < wins / PATHS <= 0.05 + 3 * (0.05 * 0.95 / PATHS) ** 0.5


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(0, 1e6))
def test_a_worse_day_never_leaves_less_evidence(one, other, before):
    evidence = (before,) * len(SHARES)
    better, worse = sorted([one, other])
    assert mean_evidence(update_evidence(evidence, better, 1e9)) <= mean_evidence(update_evidence(evidence, worse, 1e9))


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=50))
def test_evidence_is_a_number_whatever_the_days_bring(days):
    evidence, wealth = INITIAL_EVIDENCE, INITIAL_WEALTH
    for z in days:
        evidence, wealth = update_evidence(evidence, z, 1e4), update_wealth(wealth, z)
        assert all(0 <= one <= 2e4 for one in evidence)
        assert all(0 <= one < float("inf") for one in wealth)


@pytest.mark.parametrize("z", [None, float("nan"), float("inf"), -float("inf")])
def test_a_day_that_tells_nothing_changes_nothing(z):
    assert update_evidence((1.0, 2.0, 3.0), z, 100) == (1.0, 2.0, 3.0)
    assert update_wealth((1.0, 2.0, 3.0), z) == (1.0, 2.0, 3.0)


def test_one_day_counts_no_more_than_its_bounds():
    assert (clip_score(1e9), clip_score(-1e9)) == (MOST, LEAST)
