from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import measure

from bwpredict.documents import read_document, write_document
from bwpredict.errors import TelemetryError
from bwpredict.profiling import histogram
from bwpredict.profiling.batches import partitions, read_day
from bwpredict.profiling.drift import LIMITS, drift_of, jensen_shannon, psi
from bwpredict.profiling.profile import gap_share, measure_day, merge

values = st.floats(-10, 1e9) | st.just(0.0) | st.sampled_from([np.nan, np.inf])
rows = st.tuples(st.integers(0, 2), st.integers(0, 500), values, st.sampled_from(["tcp", "udp", None]))


@settings(max_examples=20, deadline=None)
@given(st.lists(rows, max_size=40), st.lists(st.integers(0, 3), min_size=40, max_size=40))
def test_the_profiles_of_shards_merge_to_the_profile_of_the_whole(telemetry, shard_of):
    frame = pd.DataFrame(telemetry, columns=["peer_id", "minute", "rtt_ms", "transport_type"]).astype(
        {"peer_id": "int64", "minute": "int64", "rtt_ms": "float64", "transport_type": "str"}
    )
    frame = frame.assign(node_id=1, timestamp=frame["minute"] * 60)
    shards = np.array(shard_of[: len(frame)])
    parts = [measure_day(f"2026-01-0{part + 1}", frame[shards == part]) for part in range(4)]
    whole, merged = measure_day("2026-01-01", frame), merge(parts)
    for moment in ("mean", "std"):
        expected, found = (side["numeric"].get("rtt_ms", {}).pop(moment, None) for side in (whole, merged))
        assert found == (None if expected is None else pytest.approx(expected, rel=1e-6, abs=1e-3))
    for key in ("rows", "links", "link_spans", "numeric", "categorical", "first_timestamp_s", "last_timestamp_s"):
        assert merged[key] == whole[key]


def test_merging_is_exact_for_counts_and_associative_for_whole_days(healthy):
    first, second = (measure_day(day, read_day(path)) for day, path in partitions(healthy))
    assert merge([merge([first]), merge([second])]) == measure(healthy)
    assert (
        merge([second, first])["numeric"]["rtt_ms"]["histogram"] == measure(healthy)["numeric"]["rtt_ms"]["histogram"]
    )


def test_a_profile_is_a_document_that_reads_back(tmp_path, champion_profile):
    path = write_document(tmp_path / "profile.json", "profile", champion_profile)
    assert read_document(path, "profile") == champion_profile


def test_an_empty_folder_has_an_empty_profile(tmp_path):
    profile = measure(tmp_path)
    assert (profile["rows"], profile["links"], gap_share(profile)) == (0, 0, None)
    write_document(tmp_path / "profile.json", "profile", profile)


def test_the_moments_and_quantiles_are_those_of_the_rows(healthy, champion_profile):
    rtt = pd.concat([read_day(path) for _, path in partitions(healthy)])["rtt_ms"]
    measured = champion_profile["numeric"]["rtt_ms"]
    assert measured["mean"] == pytest.approx(rtt.mean())
    assert measured["std"] == pytest.approx(rtt.std(ddof=0))
    assert (measured["minimum"], measured["maximum"]) == (rtt.min(), rtt.max())
    # Half a percent of a rank beside a jump between two links' values may fall on either side of it.
    for share, quantile in ((0.05, "p05"), (0.95, "p95")):
        assert (rtt <= measured["quantiles"][quantile] * 1.08).mean() >= share
        assert (rtt < measured["quantiles"][quantile] / 1.08).mean() <= share


def test_minutes_without_a_sample_are_counted_between_a_links_first_and_last(healthy):
    day = read_day(partitions(healthy)[0][1])
    whole, half = day[day["node_id"] == day["node_id"].iloc[0]], day["timestamp"] % 120 == 0
    assert gap_share(measure_day("2026-11-02", whole)) == 0
    assert gap_share(measure_day("2026-11-02", whole[half])) == pytest.approx(0.5, abs=0.001)


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=50), st.floats(0.01, 0.99))
def test_a_quantile_lies_within_a_bin_of_one_of_the_values(numbers, share):
    found = histogram.quantile(histogram.count_bins(np.array(numbers)), share)
    assert np.min(np.abs(np.log10(found) - np.log10(numbers))) <= 1 / histogram.BINS_PER_DECADE + 1e-9


def test_negative_zero_and_tiny_values_have_bins_of_their_own():
    bins = histogram.count_bins(np.array([-5.0, 0.0, 1e-30, 1.0, 10.0, 1e30]))
    assert bins == dict.fromkeys(
        [histogram.NEGATIVE, histogram.ZERO, histogram.MIN_BIN, 0, histogram.BINS_PER_DECADE, histogram.MAX_BIN], 1
    )


def test_many_values_are_counted_as_few_are_edges_included():
    edges = 10.0 ** (np.arange(histogram.MIN_BIN, histogram.MAX_BIN) / histogram.BINS_PER_DECADE)
    random = np.random.default_rng(7)
    values = np.concatenate(
        [
            *(edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf), [0.0, -0.0, 5e-324, 1e308]),
            -random.random(1000),
            10 ** random.uniform(-12, 18, 200_000),
        ]
    )
    parts = sum((Counter(histogram.count_bins(part)) for part in np.array_split(values, 50)), Counter())
    assert histogram.count_bins(values) == parts


counted = st.dictionaries(st.integers(-20, 20), st.integers(1, 1000), min_size=1, max_size=30)


@given(counted, counted, st.integers(2, 50))
def test_drift_is_zero_for_the_same_shares_and_does_not_follow_the_sample_size(new, old, factor):
    more = {index: count * factor for index, count in new.items()}
    assert psi(more, new) == pytest.approx(0, abs=1e-9)
    assert psi(more, old) == pytest.approx(psi(new, old), abs=1e-9)
    assert psi(new, old) >= 0
    texts, others, many = ({str(key): count for key, count in side.items()} for side in (new, old, more))
    assert jensen_shannon(many, others) == pytest.approx(jensen_shannon(texts, others), abs=1e-7)
    assert 0 <= jensen_shannon(texts, others) <= 1 + 1e-9


def test_the_psi_is_the_textbook_sum_over_the_references_groups():
    # Two groups of the reference (its deciles fall into bins 1 and 2), half and half before, 70 : 30 now.
    expected = (0.7 - 0.5) * np.log(0.7 / 0.5) + (0.3 - 0.5) * np.log(0.3 / 0.5)
    assert psi({1: 700, 2: 300}, {1: 50, 2: 50}) == pytest.approx(expected)


def test_values_beyond_all_that_was_seen_are_drift():
    reference = dict.fromkeys(range(20), 100)
    assert psi({index + 100: count for index, count in reference.items()}, reference) > LIMITS["rtt_ms"].drifted


def test_categories_with_nothing_in_common_are_one_apart():
    assert jensen_shannon({"tcp": 5}, {"udp": 7}) == pytest.approx(1)


def test_a_column_without_values_has_no_drift_statistic(champion_profile):
    without = {**champion_profile, "numeric": {}}
    assert drift_of("rtt_ms", without, champion_profile) is None
    assert drift_of("rtt_ms", champion_profile, champion_profile) == pytest.approx(0)


def test_a_file_that_is_no_parquet_is_an_error_that_names_it(telemetry):
    broken = telemetry / "date=2026-11-02" / "part-0.parquet"
    broken.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(TelemetryError, match=r"date=2026-11-02/part-0\.parquet: cannot be read as Parquet"):
        measure(telemetry)
