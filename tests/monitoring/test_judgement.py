"""When the model in production has got worse, and what a canary's trial concludes."""

from itertools import pairwise

import numpy as np
import pytest
from daily_checks import canary

from bwpredict.monitoring import e_process
from bwpredict.monitoring.sequential_tests import (
    MIN_WINDOWS,
    SKILL_MARGIN,
    THRESHOLD,
    evaluate_canary,
    evaluate_production,
)
from bwpredict.schema import TARGETS

PUBLISHED = dict.fromkeys(TARGETS, 0.10)


def run(skills, *, coverage=0.9, windows=10_000):
    """Judge days with these skills one after the other; gives the last day's tests by id, and all days."""
    before, days = None, []
    for number, skill in enumerate(skills, 1):
        per_target = {target: {"skill": PUBLISHED[target] if target != "rtt_ms" else skill} for target in TARGETS}
        held = {"level": 0.9, "per_target": dict.fromkeys(TARGETS, coverage)}
        made = evaluate_production(
            per_target, held, PUBLISHED, day=f"2026-11-{number:02}", windows=windows, before=before
        )
        before = {"tests": made}
        days.append({test["id"]: test for test in made})
    return days


def alarms(day):
    return [name for name, test in day.items() if test["alarm"]]


def test_a_model_as_good_as_when_it_was_published_never_alarms():
    assert not any(alarms(day) for day in run([0.10] * 300))


def test_chance_of_the_usual_size_does_not_alarm_in_a_century():
    rng = np.random.default_rng(0)
    grown = e_process.INITIAL_EVIDENCE
    for skill in rng.normal(0.10, SKILL_MARGIN, 36_500):
        grown = e_process.update_evidence(grown, (0.10 - SKILL_MARGIN - skill) / SKILL_MARGIN, THRESHOLD)
        assert e_process.mean_evidence(grown) < THRESHOLD


def test_a_skill_within_what_is_tolerated_gives_no_evidence():
    assert run([0.051] * 30)[-1]["skill.rtt_ms"]["total"] < THRESHOLD / 100


@pytest.mark.parametrize(("skill", "days"), [(-0.10, 9), (0.0, 17)])
def test_a_sustained_drop_of_one_target_alarms_and_names_it_and_its_beginning(skill, days):
    judged = run([0.10] * 10 + [skill] * days)
    assert alarms(judged[-1]) == ["skill.rtt_ms"]
    assert judged[-1]["skill.rtt_ms"]["short_since"] == "2026-11-11"
    assert not alarms(judged[-days // 2])


def test_one_dreadful_day_does_not_alarm():
    assert not any(alarms(day) for day in run([0.10] * 5 + [-9.0] + [0.10] * 5))


def test_an_alarm_ends_within_days_of_a_recovery_and_does_not_flutter():
    judged = run([-0.10] * 12 + [0.10] * 10)
    states = ["skill.rtt_ms" in alarms(day) for day in judged]
    assert states[11]
    assert not states[-1]
    assert sum(a != b for a, b in pairwise(states)) == 2


def test_intervals_that_hold_too_little_alarm():
    assert alarms(run([0.10] * 12, coverage=0.7)[-1]) == [f"coverage.{target}" for target in TARGETS]


def test_a_day_with_few_windows_or_without_a_figure_tells_nothing():
    assert run([-9.0] * 30, windows=MIN_WINDOWS - 1)[-1]["skill.rtt_ms"]["evidence"] == list(e_process.INITIAL_EVIDENCE)
    assert run([None] * 30)[-1]["skill.rtt_ms"]["shortfall"] is None


def trial(ratios, windows=10_000):
    before = None
    for ratio in ratios:
        before = evaluate_canary(ratio, windows, before)
    return before["verdict"]


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([-0.05] * 20, "undecided"),
        ([-0.05] * 21, "better"),
        ([0.06] * 21, "worse"),
        ([-0.05, None, -0.05] * 10, "undecided"),
        ([0.0] * 60, "undecided"),
        ([-0.05], "undecided"),
        ([None] * 60, "undecided"),
        ([-0.05] * 21 + [0.06] * 60, "better"),
    ],
)
def test_a_trial_concludes_when_the_evidence_suffices_and_its_verdict_stays(ratios, verdict):
    assert trial(ratios) == verdict


@pytest.mark.parametrize("follows", [0.0, 0.5])
def test_an_equal_canary_is_rarely_called_better_although_good_days_follow_good_days(follows):
    """Ratios of a day vary by 2 %; half a year is watched."""
    assert canary(0.0, 0.02, follows, 300)["called better"] <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5


def test_a_trial_that_began_with_daily_bets_goes_on():
    before = evaluate_canary(-0.05, 10_000, None)
    del before["week"]
    assert evaluate_canary(-0.05, 10_000, before)["week"] == [-0.05]


def test_a_trial_of_days_with_few_windows_concludes_nothing():
    assert trial([-0.5] * 60, windows=MIN_WINDOWS - 1) == "undecided"
