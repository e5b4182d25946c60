"""Links that never change and units that do: found, named, and nothing else taken for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from frames import MIDNIGHT, make_frame, whole_days
from hypothesis import given, settings
from hypothesis import strategies as st

from bwpredict import schema
from bwpredict.datasets.anomalies import (
    MIN_SAMPLES,
    UNIT_FACTORS,
    constant_links,
    find_anomalies,
    frame_levels,
    merge_levels,
    repetitions,
    stretch_levels,
    unit_changes,
)
from bwpredict.datasets.external import read_data_path
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned

DAY = 86_400
TARGETS = st.sampled_from(schema.TARGETS)


def steady(frame):
    """The frame with links that keep their level, within some percent."""
    noise = np.random.default_rng(1).uniform(0.95, 1.05, frame.values.shape).astype(np.float32)
    first = frame.values[np.searchsorted(frame.link, frame.link)]
    targets = np.arange(len(schema.FEATURES)) < len(schema.TARGETS)
    return replace(frame, values=np.where(targets, first * noise, frame.values))


FRAME = steady(whole_days(4, links=3))


def changed(frame, target, link, function, since=0):
    """The frame with one target of one link changed from the second `since` of the recording on."""
    values = frame.values.copy()
    rows = (frame.link == link) & (frame.timestamps >= frame.timestamps.min() + since)
    place = schema.FEATURES.index(target)
    values[rows, place] = function(values[rows, place])
    return replace(frame, values=values)


def others_of(find, levels, target):
    return [find(levels, other) for other in schema.TARGETS if other != target]


def test_ordinary_telemetry_has_nothing_odd():
    assert find_anomalies(whole_days(4)) == []
    assert repetitions(frame_levels(whole_days(4))) == []


@pytest.mark.parametrize(("links", "told"), [([0], []), ([0, 2], [(2 * DAY, 2, 3)])])
def test_a_day_is_a_repetition_where_most_links_have_the_values_of_the_day_before(links, told):
    values, minute = FRAME.values.copy(), FRAME.timestamps - FRAME.timestamps.min()
    for link in links:
        rows = np.flatnonzero((FRAME.link == link) & (minute >= 2 * DAY) & (minute < 3 * DAY))
        values[rows] = values[rows - 1440]
    found = repetitions(frame_levels(replace(FRAME, values=values)))
    assert [(each.timestamp_s - int(FRAME.timestamps.min()), each.links, each.of) for each in found] == told


def test_links_that_never_change_repeat_nothing():
    values = np.broadcast_to(FRAME.values[:1], FRAME.values.shape)
    assert repetitions(frame_levels(replace(FRAME, values=values))) == []


@pytest.mark.parametrize("regime", ["calm", "congested", "drifting"])
@pytest.mark.parametrize("days", [2, 8])
def test_no_regime_of_the_generator_is_odd(tmp_path, regime, days):
    fleet = FleetConfig(links=20, days=days, regime=regime, gap_share=0.02)
    assert find_anomalies(read_data_path(write_partitioned(fleet, tmp_path))) == []


@given(target=TARGETS, link=st.integers(0, 2), value=st.sampled_from([0.0, 1.0, 0.25]))
@settings(max_examples=15, deadline=None)
def test_a_link_that_never_changes_is_found_and_no_other(target, link, value):
    levels = frame_levels(changed(FRAME, target, link, lambda column: np.full_like(column, value)))
    (found,) = constant_links(levels, target)
    assert (found.link, found.value) == ((link, 100 + link), value)
    assert others_of(constant_links, levels, target) == [[], [], []]
    assert unit_changes(levels, target) == []


@given(
    target=TARGETS,
    link=st.integers(0, 2),
    factor=st.sampled_from([*UNIT_FACTORS, *(1 / factor for factor in UNIT_FACTORS)]),
    minute=st.integers(1440, 3 * 1440),
)
@settings(max_examples=40, deadline=None)
def test_a_change_of_unit_is_found_at_any_minute_and_dated_to_the_day(target, link, factor, minute):
    levels = frame_levels(changed(FRAME, target, link, lambda column: column * np.float32(factor), 60 * minute))
    (found,) = unit_changes(levels, target)
    assert found.link == (link, 100 + link)
    assert found.factor == pytest.approx(factor)
    assert abs(found.timestamp_s - (MIDNIGHT + 60 * minute)) <= DAY
    assert others_of(unit_changes, levels, target) == [[], [], []]


@given(factor=st.floats(1.0, 5.0) | st.floats(15.0, 400.0), up=st.booleans())
@settings(max_examples=25, deadline=None)
def test_more_or_less_traffic_is_no_change_of_unit(factor, up):
    factor = np.float32(factor if up else 1 / factor)
    assert unit_changes(frame_levels(changed(FRAME, "rtt_ms", 1, lambda column: column * factor, DAY)), "rtt_ms") == []


@given(order=st.permutations(range(200)), missing=st.sets(st.integers(0, 199), max_size=150))
@settings(max_examples=25, deadline=None)
def test_levels_do_not_depend_on_the_order_of_rows_and_leave_out_what_is_missing(order, missing):
    generator = np.random.default_rng(0)
    node, peer = generator.integers(0, 2, 200), generator.integers(5, 7, 200)
    values = generator.random((200, len(schema.TARGETS)))
    values[sorted(missing), 1] = np.nan
    one = stretch_levels(0, node, peer, values)
    other = stretch_levels(0, node[order], peer[order], values[order])
    for name in ("samples", "minimum", "maximum", "quartiles"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.samples.sum(axis=0).tolist() == [200, 200 - len(missing), 200, 200]
    for number, (node_id, peer_id) in enumerate(one.links):
        own = values[(node == node_id) & (peer == peer_id), 0]
        assert one.minimum[number, 0] == own.min()
        assert one.maximum[number, 0] == own.max()
        if len(own) >= MIN_SAMPLES:
            assert own.min() <= one.quartiles[0, number, 0, 1] <= own.max()


def test_stretches_with_different_links_join():
    values = np.ones((40, len(schema.TARGETS)))
    first = stretch_levels(0, np.full(40, 1), np.full(40, 2), values)
    second = stretch_levels(DAY, np.full(40, 3), np.full(40, 4), 2 * values)
    both = merge_levels([first, second, first])
    assert both.links == ((1, 2), (3, 4))
    assert both.samples[:, 0].tolist() == [80, 40]
    assert np.isnan(both.quartiles[1, 0]).all()
    assert merge_levels([]).links == ()


def test_a_short_link_is_not_called_constant():
    frame = make_frame([list(range(MIN_SAMPLES - 1)), list(range(100))])
    frame = changed(frame, "rtt_ms", 0, lambda column: np.full_like(column, 5.0))
    assert constant_links(frame_levels(frame), "rtt_ms") == []


def test_few_days_are_compared_by_the_hour():
    frame = changed(
        steady(make_frame([list(range(600))])), "throughput_mbps", 0, lambda column: column * 1000, 300 * 60
    )
    (told,) = find_anomalies(frame)
    assert told == (
        "throughput_mbps jumps as if its unit changed on 1 of 1 links: 0→100"
        " (about 1,000 times as much from 2025-09-01T05:00Z); expected one unit throughout."
    )


def test_many_odd_links_are_one_sentence_for_each_target():
    frame = make_frame([list(range(60))] * 9)
    for link in range(8):
        frame = changed(frame, "rtt_ms", link, lambda column: np.full_like(column, 5.0))
        frame = changed(frame, "packet_loss", link, np.ones_like)
    told = find_anomalies(frame)
    assert [sentence.split()[0] for sentence in told] == ["rtt_ms", "packet_loss"]
    assert "8 of 9 links: 0→100 (always 5), 1→101 (always 5), 2→102 (always 5) … and 5 more;" in told[0]


def test_a_feature_that_is_constant_everywhere_is_told():
    frame = whole_days(4, links=3)
    values = frame.values.copy()
    values[:, schema.FEATURES.index("queue_depth")] = 5
    assert find_anomalies(replace(frame, values=values)) == [
        "queue_depth is 5 in every row, so nothing can be learnt from it."
    ]
    assert find_anomalies(replace(frame, values=values, filled={"queue_depth": 5.0})) == []
