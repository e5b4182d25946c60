"""Days of a source in the store, and those that are read again for samples that arrived late."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest

from bwpredict.ingestion.landing import day_key, ingest_days
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store

DAYS = [date(2026, 10, 1), date(2026, 10, 2), date(2026, 10, 3)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Three days of two links, as a source holds them once all samples have arrived."""
    folder = tmp_path_factory.mktemp("made")
    write_partitioned(FleetConfig(links=2, days=3, start=DAYS[0].isoformat(), seed=1), folder)
    tables = [pd.read_parquet(path) for path in sorted(folder.rglob("*.parquet"))]
    return pd.concat(tables).drop(columns="date", errors="ignore").reset_index(drop=True)


def reader(rows):
    def read_day(first, past):
        inside = rows[(rows["timestamp"] >= first) & (rows["timestamp"] < past)]
        return pa.Table.from_pandas(inside, preserve_index=False)

    return read_day


def stored(store, day):
    return pd.read_parquet(pa.BufferReader(store.read(day_key(day))[0]))


def of_day(rows, day):
    first = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return rows["timestamp"].between(first.timestamp(), (first + timedelta(days=1)).timestamp(), inclusive="left")


def test_samples_that_arrive_late_are_added_to_the_days_before(tmp_path, rows):
    store = open_store(str(tmp_path))
    late = of_day(rows, DAYS[1]) & (rows.index % 10 == 0)
    assert ingest_days(store, DAYS[:2], reader(rows[~late])).written == DAYS[:2]
    landed = ingest_days(store, DAYS[2:], reader(rows), late_days=2)
    assert (landed.written, landed.updated, landed.there_already) == ([DAYS[2]], [DAYS[1]], [DAYS[0]])
    assert len(stored(store, DAYS[1])) == of_day(rows, DAYS[1]).sum()
    assert ingest_days(store, DAYS[2:], reader(rows), late_days=2).there_already == DAYS


def test_without_late_days_a_day_stays_as_it_is(tmp_path, rows):
    store = open_store(str(tmp_path))
    ingest_days(store, DAYS[:2], reader(rows[rows.index % 10 > 0]))
    before = store.read(day_key(DAYS[1]))
    assert ingest_days(store, DAYS[1:], reader(rows)).there_already == [DAYS[1]]
    assert store.read(day_key(DAYS[1])) == before


def test_a_source_that_has_forgotten_rows_takes_none_away(tmp_path, rows, caplog):
    store = open_store(str(tmp_path))
    ingest_days(store, DAYS[:2], reader(rows))
    before = store.read(day_key(DAYS[1]))
    other = rows[~(of_day(rows, DAYS[1]) & (rows.index % 100 == 0))]
    landed = ingest_days(store, DAYS[2:], reader(other), late_days=1)
    assert (landed.updated, landed.there_already) == ([], [DAYS[1]])
    assert store.read(day_key(DAYS[1])) == before
    assert "the source no longer holds 29 rows of this day; the store's copy is kept" in caplog.text


def test_a_day_that_was_empty_is_written_when_its_samples_arrive(tmp_path, rows):
    store = open_store(str(tmp_path))
    assert ingest_days(store, DAYS[:2], reader(rows[~of_day(rows, DAYS[1])])).empty == [DAYS[1]]
    assert ingest_days(store, DAYS[2:], reader(rows), late_days=1).written == DAYS[1:]


def test_a_partition_in_files_of_another_name_is_left_alone(tmp_path, rows):
    folder = tmp_path / f"date={DAYS[0]}"
    folder.mkdir()
    rows[of_day(rows, DAYS[0])].iloc[:5].to_parquet(folder / "mine.parquet")
    landed = ingest_days(open_store(str(tmp_path)), DAYS[1:2], reader(rows), late_days=1)
    assert (landed.updated, landed.there_already) == ([], [DAYS[0]])
    assert [path.name for path in folder.iterdir()] == ["mine.parquet"]
