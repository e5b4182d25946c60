"""Snapshots: any layout of the same rows becomes the same sorted, unique, pinned telemetry."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from telemetry_tables import (
    DAY,
    NOVEMBER,
    OCTOBER,
    SECONDS,
    copy_to_store,
    make_table,
    replace_value,
    write,
    write_days,
)

from bwpredict import schema
from bwpredict.documents import read_document
from bwpredict.errors import ConfigError
from bwpredict.store.factory import open_store
from bwpredict.telemetry import day_copy, day_files, days, sources
from bwpredict.telemetry.columns import STORED_SCHEMA
from bwpredict.telemetry.months import month_window
from bwpredict.telemetry.snapshot import check_content, restore, take_snapshot, verify

KEYS = ["node_id", "peer_id", "timestamp"]


def pulled(folder: Path, work: Path, prefix: str = "", start: datetime = OCTOBER, end: datetime = NOVEMBER) -> dict:
    return take_snapshot(open_store(str(folder)), prefix, start, end, work)


def rows_of(work: Path) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(path, partitioning=None) for path in sorted((work / "telemetry").glob("date=*/*"))
    )


def shuffled(table: pa.Table, seed: int = 0) -> pa.Table:
    return table.take(np.random.default_rng(seed).permutation(table.num_rows))


def test_a_day_file_holds_the_twenty_columns_sorted_by_link_and_time(tmp_path):
    write_days(shuffled(make_table(links=4)), tmp_path / "store")
    pulled(tmp_path / "store", tmp_path / "work")
    rows = pq.read_table(tmp_path / "work/telemetry/date=2026-10-01/part-0.parquet", partitioning=None)
    assert rows.schema.equals(STORED_SCHEMA)
    assert rows.equals(make_table(links=4).sort_by([(key, "ascending") for key in KEYS]))


@st.composite
def layouts(draw):
    """A table with repeated rows, cut into files of any format, partitioned or flat."""
    seed = draw(st.integers(0, 99))
    table = make_table(links=draw(st.integers(1, 3)), samples=draw(st.integers(2, 9)), step=15_000, seed=seed)
    repeated = draw(st.lists(st.integers(0, table.num_rows - 1), max_size=4))
    files = draw(st.integers(1, 3))
    suffixes = draw(st.lists(st.sampled_from([".parquet", ".csv", ".csv.gz"]), min_size=files, max_size=files))
    return table, repeated, suffixes, draw(st.booleans()), seed


@given(layouts())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_rows_give_the_same_telemetry_however_they_lie_in_files(layout):
    table, repeated, suffixes, partitioned, seed = layout
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write(table, root / "plain/all.parquet")
        rows = shuffled(pa.concat_tables([table, table.take(pa.array(repeated, pa.int64()))]), seed)
        for number, suffix in enumerate(suffixes):
            part = rows.take(np.arange(number, rows.num_rows, len(suffixes)))
            if partitioned:
                write_days(part, root / f"other{number}", suffix)
                for path in (root / f"other{number}").rglob("part-0*"):
                    (root / "other" / path.parent.name).mkdir(parents=True, exist_ok=True)
                    path.rename(root / "other" / path.parent.name / f"{number}{suffix}")
            else:
                write(part, root / f"other/{number}{suffix}")
        plain, other = pulled(root / "plain", root / "a"), pulled(root / "other", root / "b")
    assert other["telemetry_sha256"] == plain["telemetry_sha256"]
    assert other["duplicates_removed"] == len(repeated)
    assert (plain["rows"], plain["duplicates_removed"]) == (table.num_rows, 0)


@given(st.lists(st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf"), None]), min_size=2, max_size=8))
@settings(max_examples=40, deadline=None)
def test_arranging_keeps_each_distinct_row_once_in_an_order_of_its_own(values):
    one = make_table(links=1, samples=1)
    rows = [
        one.set_column(one.column_names.index("rtt_ms"), "rtt_ms", pa.array([value], pa.float64())) for value in values
    ]
    forward, backward = (days.sort_and_deduplicate(pa.concat_tables(each)) for each in (rows, rows[::-1]))
    distinct = {repr(value) for value in values}
    assert {repr(value) for value in forward.table["rtt_ms"].to_pylist()} == distinct
    assert forward.table.num_rows == len(distinct)
    assert repr(backward.table["rtt_ms"].to_pylist()) == repr(forward.table["rtt_ms"].to_pylist())
    assert forward.duplicates == len(values) - len(distinct)
    assert forward.conflicts == (len(distinct) if len(distinct) > 1 else 0)


def test_rows_that_differ_at_one_link_and_time_are_both_kept_and_counted(tmp_path):
    table = make_table()
    other = table.slice(0, 1).set_column(6, "rtt_ms", pa.array([77.0]))
    write(pa.concat_tables([table, other]), tmp_path / "store/a.parquet")
    document = pulled(tmp_path / "store", tmp_path / "work")
    assert (document["rows"], document["conflicting_rows"], document["duplicates_removed"]) == (61, 2, 0)


def test_a_late_row_in_the_next_partition_comes_back_to_its_day(tmp_path):
    table = make_table(links=1, samples=4, step=DAY // 2)
    write(table.slice(0, 1), tmp_path / "store/date=2026-10-01/a.parquet")
    write(table.slice(1, 3), tmp_path / "store/date=2026-10-02/a.parquet")
    document = pulled(tmp_path / "store", tmp_path / "work")
    assert [(day["date"], day["rows"], day["late_rows"]) for day in document["days"]] == [
        ("2026-10-01", 2, 1),
        ("2026-10-02", 2, 0),
    ]


def test_a_late_row_of_the_last_day_is_read_from_the_partition_after_the_window(tmp_path):
    last_minute = make_table(links=1, samples=1, start=int(NOVEMBER.timestamp()) - 60)
    write(
        pa.concat_tables([last_minute, make_table(links=1, samples=1, start=int(NOVEMBER.timestamp()))]),
        tmp_path / "store/date=2026-11-01/a.parquet",
    )
    document = pulled(tmp_path / "store", tmp_path / "work")
    assert [(day["date"], day["rows"]) for day in document["days"]] == [("2026-10-31", 1)]


def test_rows_that_do_not_belong_to_their_partition_are_left_out_and_counted(tmp_path):
    table = make_table(links=1, samples=3, step=DAY)
    write(table, tmp_path / "store/date=2026-10-02/a.parquet")
    document = pulled(tmp_path / "store", tmp_path / "work")
    assert (document["rows"], document["misplaced_rows"]) == (2, 1)


def test_rows_outside_the_window_are_not_read(tmp_path):
    write(make_table(links=1, samples=4, start=SECONDS - 2 * DAY, step=DAY), tmp_path / "store/all.csv")
    document = pulled(tmp_path / "store", tmp_path / "work")
    assert [day["date"] for day in document["days"]] == ["2026-10-01", "2026-10-02"]
    assert document["objects"][0]["rows"] == 2


def test_partitions_outside_the_window_are_not_even_opened(tmp_path):
    write_days(make_table(), tmp_path / "store")
    (tmp_path / "store/date=2026-09-30").mkdir()
    (tmp_path / "store/date=2026-09-30/broken.parquet").write_bytes(b"not parquet")
    assert pulled(tmp_path / "store", tmp_path / "work")["rows"] == 60


def test_hidden_files_are_not_telemetry(tmp_path):
    write_days(make_table(), tmp_path / "store")
    for name in ("_SUCCESS", "_delta_log/0.parquet", ".part-0.parquet", "README.md"):
        (tmp_path / "store" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "store" / name).write_bytes(b"x")
    assert len(pulled(tmp_path / "store", tmp_path / "work")["objects"]) == 1


def test_the_older_names_are_read_and_said(tmp_path):
    old = {new: old for old, new in schema.OLD_NAMES.items()}
    table = make_table()
    write(table, tmp_path / "new/a.csv")
    write(table.rename_columns([old.get(name, name) for name in table.column_names]), tmp_path / "old/a.csv")
    new, renamed = pulled(tmp_path / "new", tmp_path / "a"), pulled(tmp_path / "old", tmp_path / "b")
    assert renamed["columns_renamed"] == schema.OLD_NAMES
    assert renamed["telemetry_sha256"] == new["telemetry_sha256"]


def test_columns_that_the_schema_does_not_know_change_nothing(tmp_path):
    table = make_table()
    write(table, tmp_path / "a/a.parquet")
    write(table.append_column("note", pa.array(["x"] * table.num_rows)), tmp_path / "b/a.parquet")
    first, second = (pulled(tmp_path / name, tmp_path / f"work-{name}") for name in "ab")
    assert first["telemetry_sha256"] == second["telemetry_sha256"]


def test_other_types_of_the_same_values_are_cast(tmp_path):
    table = make_table()
    narrow = pa.schema(
        [
            (field.name, {"int64": pa.int32(), "double": pa.float64()}.get(str(field.type), pa.large_string()))
            for field in table.schema
        ]
    ).set(0, pa.field("timestamp", pa.timestamp("ms", "UTC")))
    write(table, tmp_path / "a/a.parquet")
    seconds = table["timestamp"].cast(pa.timestamp("s")).cast(pa.timestamp("ms", "UTC"))
    write(table.drop_columns("timestamp").add_column(0, "timestamp", seconds).cast(narrow), tmp_path / "b/a.parquet")
    first, second = (pulled(tmp_path / name, tmp_path / f"work-{name}") for name in "ab")
    assert first["telemetry_sha256"] == second["telemetry_sha256"]


def test_whole_numbers_that_a_tool_wrote_with_a_decimal_point_are_whole_numbers(tmp_path):
    table = make_table()
    write(table, tmp_path / "a/a.csv")
    text = [f"{value}.0" for value in table["queue_depth"].to_pylist()]
    position = table.column_names.index("queue_depth")
    write(table.set_column(position, "queue_depth", pa.array(text)), tmp_path / "b/a.csv")
    first, second = (pulled(tmp_path / name, tmp_path / f"work-{name}") for name in "ab")
    assert first["telemetry_sha256"] == second["telemetry_sha256"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_missing_and_infinite_values_are_kept_and_counted(tmp_path, suffix):
    table = make_table()
    values = [None, float("nan"), float("inf"), *table["rtt_ms"].to_pylist()[3:]]
    broken = table.set_column(table.column_names.index("rtt_ms"), "rtt_ms", pa.array(values, pa.float64()))
    write(broken, tmp_path / f"store/a{suffix}")
    document = pulled(tmp_path / "store", tmp_path / "work")
    assert (document["nulls"], document["non_finite"]) == ({"rtt_ms": 1}, {"rtt_ms": 2})
    assert repr(rows_of(tmp_path / "work")["rtt_ms"].to_pylist()[:3]) == "[None, nan, inf]"


def test_missing_days_and_months_are_recorded(tmp_path):
    write_days(make_table(links=1, samples=3, step=2 * DAY), tmp_path / "store")
    start, end = month_window("2026-10", 2)
    document = pulled(tmp_path / "store", tmp_path / "work", start=start, end=end)
    assert document["months_found"] == ["2026-10"]
    assert len(document["missing_days"]) == 30 + 31 - 3
    assert document["missing_days"][0] == "2026-09-01"


def test_the_written_document_is_the_returned_one(tmp_path):
    write_days(make_table(), tmp_path / "store")
    document = pulled(tmp_path / "store", tmp_path / "work")
    assert read_document(tmp_path / "work/snapshot.json", "snapshot") == json.loads(json.dumps(document))


def test_a_single_file_can_be_the_prefix(tmp_path):
    write(make_table(), tmp_path / "store/folder/one.csv.gz")
    write(make_table(seed=1), tmp_path / "store/folder/two.csv.gz")
    document = pulled(tmp_path / "store", tmp_path / "work", prefix="folder/one.csv.gz")
    assert [each["key"] for each in document["objects"]] == ["folder/one.csv.gz"]


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(tmp_path):
    write(make_table(), tmp_path / "store/telemetry/a.parquet")
    write(make_table(seed=1), tmp_path / "store/telemetry-old/a.parquet")
    document = pulled(tmp_path / "store", tmp_path / "work", prefix="telemetry")
    assert [each["key"] for each in document["objects"]] == ["telemetry/a.parquet"]


def test_pulling_again_replaces_what_was_there_with_the_same_bytes(tmp_path):
    write_days(make_table(), tmp_path / "store")
    first = pulled(tmp_path / "store", tmp_path / "work")
    before = {path: path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()}
    assert pulled(tmp_path / "store", tmp_path / "work") == first
    assert {path: path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()} == before


def test_a_snapshot_id_depends_on_the_objects_and_the_window_alone(tmp_path):
    table = make_table(samples=30, step=3600)
    for name in ("a", "b"):
        write_days(table, tmp_path / name)
    first, second = (pulled(tmp_path / name, tmp_path / f"work-{name}") for name in "ab")
    shorter = pulled(tmp_path / "a", tmp_path / "work-c", end=OCTOBER + timedelta(days=1))
    assert first["snapshot_id"] == second["snapshot_id"] != shorter["snapshot_id"]


def test_a_file_without_rows_of_the_window_is_not_pinned(tmp_path):
    write_days(make_table(), tmp_path / "store")
    before = pulled(tmp_path / "store", tmp_path / "work")
    write(make_table(start=int(NOVEMBER.timestamp())), tmp_path / "store/date=2026-11-01/part-0.parquet")
    assert pulled(tmp_path / "store", tmp_path / "work") == before


def test_a_snapshot_can_be_restored_although_the_store_has_grown(tmp_path):
    write_days(make_table(), tmp_path / "store")
    document = pulled(tmp_path / "store", tmp_path / "work")
    write(make_table(links=1, seed=5), tmp_path / "store/date=2026-10-02/late.parquet")
    store = open_store(str(tmp_path / "store"))
    verify(store, document)
    assert restore(store, document, tmp_path / "again") == document
    check_content(document, tmp_path / "again/telemetry")


@pytest.mark.parametrize("limit_bytes", [0, 3000, 1 << 30])
@pytest.mark.parametrize("part_rows", [1, 7, 1000])
def test_days_beyond_the_limits_of_memory_go_through_scratch_files_in_parts(
    tmp_path, monkeypatch, limit_bytes, part_rows
):
    table = make_table(links=3, samples=40, step=7200)
    rows = shuffled(replace_value(replace_value(table, "node_id", 3, None), "peer_id", 50, None))
    write(rows, tmp_path / "store/a.parquet")
    write(pa.concat_tables([rows.slice(0, 30), replace_value(rows, "rtt_ms", 0, 99.0)]), tmp_path / "store/b.parquet")
    expected = pulled(tmp_path / "store", tmp_path / "a")
    buckets = days.DayBuckets(tmp_path, limit_bytes=limit_bytes, part_rows=part_rows)
    monkeypatch.setattr(day_copy, "DayBuckets", lambda _: buckets)
    monkeypatch.setattr(sources, "BATCH_ROWS", 16)
    assert pulled(tmp_path / "store", tmp_path / "b") == expected
    assert (expected["duplicates_removed"], expected["conflicting_rows"]) == (149, 2)
    assert buckets.open_days() == []
    assert not list(tmp_path.glob("*.arrow"))


def test_row_groups_do_not_follow_the_parts_that_a_day_is_read_in(tmp_path, monkeypatch):
    write(shuffled(make_table(links=5, samples=20)), tmp_path / "store/a.parquet")
    monkeypatch.setattr(day_files, "GROUP_ROWS", 30)
    monkeypatch.setattr(day_copy, "DayBuckets", lambda scratch: days.DayBuckets(scratch, part_rows=1))
    in_parts = pulled(tmp_path / "store", tmp_path / "a")
    monkeypatch.setattr(day_copy, "DayBuckets", days.DayBuckets)
    assert pulled(tmp_path / "store", tmp_path / "b") == in_parts
    metadata = pq.read_metadata(tmp_path / "a/telemetry/date=2026-10-01/part-0.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [30, 30, 30, 10]


def test_s3_and_a_local_folder_give_the_same_telemetry(tmp_path, s3_bucket):
    write_days(shuffled(make_table(samples=30, step=3600)), tmp_path / "store/telemetry")
    copy_to_store(tmp_path / "store", f"s3://{s3_bucket}/network")
    store = open_store(f"s3://{s3_bucket}/network")
    local = pulled(tmp_path / "store", tmp_path / "a", prefix="telemetry")
    remote = take_snapshot(store, "telemetry", OCTOBER, NOVEMBER, tmp_path / "b")
    assert remote["telemetry_sha256"] == local["telemetry_sha256"]
    assert [each["key"] for each in remote["objects"]] == [each["key"] for each in local["objects"]]
    assert remote["telemetry_uri"] == f"s3://{s3_bucket}/network/telemetry"
    assert restore(store, remote, tmp_path / "c") == remote


@pytest.mark.parametrize(
    ("month", "history", "start", "end"),
    [
        ("2026-10", 1, (2026, 10), (2026, 11)),
        ("2026-12", 2, (2026, 11), (2027, 1)),
        ("2026-02", 3, (2025, 12), (2026, 3)),
        ("2026-01", 13, (2025, 1), (2026, 2)),
    ],
)
def test_a_month_window_ends_with_the_month_and_reaches_back_over_new_year(month, history, start, end):
    assert month_window(month, history) == (datetime(*start, 1, tzinfo=UTC), datetime(*end, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("month", "history"),
    [("2026-13", 1), ("October", 1), ("2026-1", 1), ("2026-10", 0), ("1971-01", 2), ("2026-10\n", 1)],
)
def test_an_unknown_month_is_refused(month, history):
    with pytest.raises(ConfigError, match="month"):
        month_window(month, history)


def test_a_window_must_be_whole_days(tmp_path):
    with pytest.raises(ConfigError, match="whole days in UTC"):
        pulled(tmp_path, tmp_path / "work", end=NOVEMBER + timedelta(hours=1))
    with pytest.raises(ConfigError, match="whole days in UTC"):
        pulled(tmp_path, tmp_path / "work", end=OCTOBER)


def test_the_result_is_sorted_across_days_too(tmp_path):
    write(shuffled(make_table(samples=50, step=7200)), tmp_path / "store/a.csv")
    pulled(tmp_path / "store", tmp_path / "work")
    for path in (tmp_path / "work/telemetry").glob("date=*/*"):
        rows = pq.read_table(path, partitioning=None)
        order = pc.sort_indices(rows, sort_keys=[(key, "ascending") for key in KEYS])
        assert order.to_pylist() == list(range(rows.num_rows))
        assert set((rows["timestamp"].to_numpy() // DAY).tolist()) == {
            (datetime.fromisoformat(path.parent.name[5:]) - datetime(1970, 1, 1)).days  # noqa: DTZ001
        }
