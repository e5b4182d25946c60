import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from synth_rows import read_files

from bwpredict import schema
from bwpredict.errors import ConfigError
from bwpredict.simulation.fleet import MINUTES_PER_DAY, FleetConfig, draw_links
from bwpredict.simulation.queueing import PACKET_BYTES
from bwpredict.simulation.writer import write_csv, write_partitioned
from bwpredict.store.files import sha256_of

DAYS = 3
LINK = list(schema.LINK_KEY)


def checksums(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*.parquet"))}


def test_each_day_is_a_partition_with_all_columns_in_their_types(calm_folder: Path) -> None:
    partitions = sorted(path.name for path in calm_folder.iterdir())
    assert partitions == ["date=2026-10-30", "date=2026-10-31", "date=2026-11-01"]
    for path in calm_folder.rglob("*.parquet"):
        stored = pq.ParquetFile(path).schema_arrow
        assert stored.names == list(schema.COLUMN_NAMES)
        assert [stored.field(column.name).type for column in schema.COLUMNS] == [c.arrow_type for c in schema.COLUMNS]


def test_every_link_reports_every_minute_in_order(calm_folder: Path) -> None:
    rows = read_files(calm_folder)
    assert len(rows) == 12 * DAYS * MINUTES_PER_DAY
    steps = rows.groupby(LINK)["timestamp"].diff().dropna()
    assert set(steps) == {schema.CADENCE_SECONDS}


def test_every_value_keeps_the_bounds_and_categories_of_the_schema(telemetry: pd.DataFrame) -> None:
    assert not telemetry.isna().any().any()
    for column in schema.COLUMNS:
        values = telemetry[column.name]
        if column.categories:
            assert set(values) <= set(column.categories), column.name
        if column.minimum is not None:
            assert values.min() >= column.minimum, column.name
        if column.maximum is not None:
            assert values.max() <= column.maximum, column.name


def test_what_describes_a_link_never_changes(telemetry: pd.DataFrame) -> None:
    links = telemetry[[*LINK, *schema.LINK_ATTRIBUTES]].drop_duplicates()
    assert len(links) == len(links[LINK].drop_duplicates()) == 12


def test_the_calendar_columns_follow_the_declared_convention(telemetry: pd.DataFrame) -> None:
    timestamps_s = telemetry["timestamp"].to_numpy()
    moments = pd.to_datetime(telemetry["timestamp"], unit="s", utc=True)
    assert np.array_equal(telemetry["time_of_day"], schema.CALENDAR.hours(timestamps_s))
    assert np.array_equal(telemetry["day_of_week"], (moments.dt.day_of_week + 1) % 7)


def test_bytes_agree_with_throughput(telemetry: pd.DataFrame) -> None:
    assert np.allclose(telemetry["bytes_tx"] * 8 / 60 / 1e6, telemetry["throughput_mbps"], rtol=1e-6, atol=1e-4)


def test_retransmits_agree_with_loss(telemetry: pd.DataFrame) -> None:
    expected = telemetry["packet_loss"] * telemetry["bytes_tx"] / PACKET_BYTES
    assert np.all(np.abs(telemetry["retransmits"] - expected) <= 6 * np.sqrt(expected) + 1)


def test_the_congestion_window_holds_what_is_in_flight(telemetry: pd.DataFrame) -> None:
    in_flight = telemetry["throughput_mbps"] * telemetry["rtt_ms"] * 1e3 / 8 / PACKET_BYTES
    assert np.all(telemetry["congestion_window"] >= in_flight)
    assert np.all(telemetry["congestion_window"] <= 1.4 * in_flight + 5)


def test_throughput_stays_under_the_capacity_and_rtt_above_the_path(calm_folder: Path) -> None:
    links = draw_links(42, 12)
    rows = read_files(calm_folder).set_index(LINK)
    for node, peer, capacity_mbps, base_rtt_ms in zip(
        links.node_id, links.peer_id, links.capacity_mbps, links.base_rtt_ms, strict=True
    ):
        own = rows.loc[(node, peer)]
        assert own["throughput_mbps"].max() <= capacity_mbps
        assert own["rtt_ms"].min() >= round(base_rtt_ms, 4)


def test_queue_and_delay_rise_and_fall_together(telemetry: pd.DataFrame) -> None:
    # By day, since a drift changes the link itself.
    by_day = telemetry.groupby([*LINK, telemetry["timestamp"] // 86400])
    for name in ("rtt_ms", "throughput_mbps", "jitter_ms"):
        ranks = [rows["queue_depth"].corr(rows[name], method="spearman") for _, rows in by_day]
        assert np.median(ranks) > 0.9, name
        # An upgraded link has a queue of a few packets only, counted whole.
        assert min(ranks) > 0.5, name


def test_demand_has_a_daily_cycle(calm_folder: Path) -> None:
    rows = read_files(calm_folder)
    hourly = rows.pivot_table(values="throughput_mbps", index=LINK, columns="time_of_day", aggfunc="median")
    assert np.all(hourly.max(axis=1) > 1.4 * hourly.min(axis=1))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(calm_folder: Path, tmp_path: Path) -> None:
    again = write_partitioned(FleetConfig(links=12, days=DAYS, start="2026-10-30"), tmp_path / "again")
    assert checksums(again) == checksums(calm_folder)
    other = write_partitioned(FleetConfig(links=12, days=1, start="2026-10-30", seed=43), tmp_path / "other")
    assert set(checksums(other).values()).isdisjoint(checksums(calm_folder).values())


def test_a_month_generated_alone_continues_the_one_before(calm_folder: Path, tmp_path: Path) -> None:
    november = write_partitioned(FleetConfig(links=12, days=1, start="2026-11-01"), tmp_path)
    assert checksums(november).items() <= checksums(calm_folder).items()


def test_a_link_keeps_its_rows_when_the_fleet_grows(calm_folder: Path, tmp_path: Path) -> None:
    few = read_files(write_partitioned(FleetConfig(links=5, days=1, start="2026-10-30"), tmp_path))
    pd.testing.assert_frame_equal(few, read_files(calm_folder, "2026-10-30").head(len(few)))


def test_there_is_no_seam_at_midnight(calm_folder: Path) -> None:
    rows = read_files(calm_folder)
    change = np.log(rows["throughput_mbps"]).groupby([rows[name] for name in LINK]).diff().abs()
    midnight = rows["timestamp"] % 86400 == 0
    assert change[midnight].median() < 2 * change[~midnight].median()


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_gaps_late_rows_and_duplicates_come_in_the_shares_asked_for(share: float, tmp_path: Path) -> None:
    whole = 10 * 4 * MINUTES_PER_DAY
    gaps = read_files(write_partitioned(FleetConfig(links=10, days=4, gap_share=share), tmp_path / "gaps"))
    assert 0.7 * share < 1 - len(gaps) / whole < 1.3 * share

    twice = read_files(write_partitioned(FleetConfig(links=10, days=4, duplicate_share=share), tmp_path / "twice"))
    assert 0.9 * share < twice.duplicated().mean() * len(twice) / whole < 1.1 * share
    assert len(twice.drop_duplicates()) == whole

    folder = write_partitioned(FleetConfig(links=10, days=4, late_share=share), tmp_path / "late")
    late = sum(pq.ParquetFile(path).metadata.num_rows for path in folder.rglob("late-0.parquet"))
    backwards = sum(_rows_out_of_order(path) for path in folder.rglob("part-0.parquet"))
    assert 0.9 * share < (late + backwards) / whole < 1.1 * share


def _rows_out_of_order(path: Path) -> int:
    rows = pq.ParquetFile(path).read().to_pandas()
    return int((rows.groupby(LINK)["timestamp"].cummax() > rows["timestamp"]).sum())


def test_late_rows_lie_in_the_next_partition_and_nothing_is_lost(tmp_path: Path) -> None:
    config = FleetConfig(links=4, days=2, start="2026-10-01", late_share=0.1)
    rows = read_files(write_partitioned(config, tmp_path / "late"))
    on_time = read_files(write_partitioned(FleetConfig(links=4, days=2, start="2026-10-01"), tmp_path / "on_time"))
    late = pq.ParquetFile(tmp_path / "late" / "date=2026-10-03" / "late-0.parquet").read().to_pandas()
    assert set(late["timestamp"] // 86400 * 86400) == {pd.Timestamp("2026-10-02").timestamp()}
    ordered = rows.sort_values([*LINK, "timestamp"], ignore_index=True)
    pd.testing.assert_frame_equal(ordered, on_time.sort_values([*LINK, "timestamp"], ignore_index=True))


def test_a_csv_holds_the_samples_asked_for_in_order_of_time(tmp_path: Path) -> None:
    rows = pd.read_csv(write_csv(15_000, 42, tmp_path / "training_data.csv"))
    assert list(rows.columns) == list(schema.COLUMN_NAMES)
    assert len(rows) == 15_000
    assert rows["timestamp"].is_monotonic_increasing
    assert not rows.duplicated([*LINK, "timestamp"]).any()
    assert rows.groupby(LINK).size().min() >= 2_999


@pytest.mark.parametrize("samples", [1, 1441, 3100])
def test_a_csv_holds_exactly_as_many_rows_as_asked_for(samples: int, tmp_path: Path) -> None:
    assert len(pd.read_csv(write_csv(samples, 1, tmp_path / "few.csv"))) == samples


def test_a_csv_of_the_same_seed_has_the_same_bytes_compressed_or_not(tmp_path: Path) -> None:
    plain = write_csv(500, 1, tmp_path / "plain.csv").read_bytes()
    zipped = write_csv(500, 1, tmp_path / "zipped.csv.gz").read_bytes()
    assert plain == write_csv(500, 1, tmp_path / "again.csv").read_bytes() == gzip.decompress(zipped)
    assert zipped == write_csv(500, 1, tmp_path / "other_name.csv.gz").read_bytes()
    assert plain != write_csv(500, 2, tmp_path / "other.csv").read_bytes()


@pytest.mark.parametrize(("samples", "name"), [(0, "a.csv"), (100, "a.parquet"), (-5, "a.csv.gz")])
def test_a_csv_that_cannot_be_written_is_refused_and_leaves_nothing(samples: int, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        write_csv(samples, 1, tmp_path / name)
    assert not list(tmp_path.iterdir())
