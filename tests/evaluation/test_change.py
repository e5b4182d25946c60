"""The day on which the telemetry changed, and the test days that the models are compared on."""

from dataclasses import replace

import numpy as np
import pytest

from bwpredict import schema
from bwpredict.datasets.external import read_data_path
from bwpredict.evaluation.change import Change, describe_change, find_changes, last_change
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned

OCTOBER = int(np.datetime64("2026-10-01", "D").astype(int))
TEST_DAYS = {OCTOBER + day: 4000 for day in range(23, 30)}


def frame_of(folder, **changes):
    write_partitioned(FleetConfig(**{"links": 4, "days": 24, "seed": 3, **changes}), folder)
    return read_data_path(folder)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    return frame_of(tmp_path_factory.mktemp("calm"))


def scaled(frame, day, factor, *, target="throughput_mbps"):
    """The frame, with a target that is another multiple of itself from a day of October on."""
    values = frame.values.copy()
    values[frame.timestamps >= (OCTOBER + day) * 86_400, schema.FEATURES.index(target)] *= factor
    return replace(frame, values=values)


def test_a_network_that_stays_as_it_is_has_no_change(calm):
    assert find_changes(calm) == []


@pytest.mark.parametrize(("day", "factor"), [(14, 3.0), (20, 3.0), (20, 0.3)])
def test_the_day_of_a_change_and_its_size_are_found(calm, day, factor):
    (change,) = find_changes(scaled(calm, day, factor))
    assert (change.target, change.day) == ("throughput_mbps", OCTOBER + day)
    assert change.percent == pytest.approx(100 * (factor - 1), rel=0.25)


def test_a_drifting_fleet_has_its_change_on_the_day_of_the_drift(tmp_path):
    changes = find_changes(frame_of(tmp_path, links=12, seed=1, regime="drifting", drift_from="2026-10-19"))
    assert {change.day for change in changes} == {OCTOBER + 18}


def test_a_target_that_the_telemetry_lacks_never_changes(calm):
    changed = scaled(calm, 15, 0.0)
    changed.values[:, schema.FEATURES.index("throughput_mbps")] = 0.0
    assert find_changes(changed) == []


def test_links_that_come_and_go_are_no_change(calm):
    others = np.isin(calm.link, [0, 1]) | (calm.timestamps >= (OCTOBER + 18) * 86_400)
    kept = replace(calm, values=calm.values[others], timestamps=calm.timestamps[others], link=calm.link[others])
    assert find_changes(kept) == []


@pytest.mark.parametrize("follows", [0.0, 0.5])
def test_days_that_vary_by_chance_are_rarely_taken_for_a_change(follows):
    """Of months with weekends and a daily level that follows the one before by this correlation."""
    generator, found = np.random.default_rng(5), 0
    weekend = np.where(np.arange(30) % 7 >= 5, -1.0, 0.0)
    for _ in range(500):
        noise = generator.normal(size=60)
        for day in range(1, 60):
            noise[day] += follows * noise[day - 1]
        change = last_change(0.1 * (weekend + noise[30:]))
        found += change is not None and 23 < change[0] <= 26  # it would leave test days out
    assert found / 500 <= 0.01


def described(*changes):
    return describe_change([Change("rtt_ms", OCTOBER + day, 20.0) for day in changes], TEST_DAYS)


def test_the_test_days_from_a_change_on_are_judged():
    change = described(26)
    assert change["day"] == "2026-10-27"
    assert change["days_before"] == ["2026-10-24", "2026-10-25", "2026-10-26"]
    assert change["days_after"] == ["2026-10-27", "2026-10-28", "2026-10-29", "2026-10-30"]
    assert change["judged_on"] == "after"


def test_all_test_days_are_judged_where_fewer_than_four_lie_after_the_change():
    assert described(27)["judged_on"] == "all"
    half = TEST_DAYS | {OCTOBER + 29: 1000}
    assert describe_change([Change("rtt_ms", OCTOBER + 26, 20.0)], half)["judged_on"] == "all"


def test_after_a_change_before_the_test_part_all_days_lie():
    for day in (10, 23):
        change = described(day)
        assert (change["days_before"], len(change["days_after"]), change["judged_on"]) == ([], 7, "after")


def test_of_several_changes_the_latest_that_leaves_enough_days_counts():
    assert described(10, 24, 26)["day"] == "2026-10-27"
    assert described(24, 28)["day"] == "2026-10-25"
    assert (described(10, 28)["day"], described(10, 28)["judged_on"]) == ("2026-10-29", "all")


def test_a_change_after_the_last_test_day_has_no_part_in_the_comparison():
    assert described(30) is None
    assert described(26, 30) == described(26)


def test_without_a_change_there_is_nothing_to_say():
    assert described() is None
