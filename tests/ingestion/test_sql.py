"""Telemetry from a real PostgreSQL, and from SQLite."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa
import yaml

from bwpredict.errors import BwPredictError, ConfigError, StoreUnreachableError, TelemetryError
from bwpredict.ingestion.landing import ingest_days
from bwpredict.ingestion.sql import FETCH_ROWS, URL_VARIABLE, SqlMapping, SqlSource, load_mapping
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.telemetry.day_files import day_file

DAY = date(2026, 10, 1)
FIRST = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())
TABLE = "link_minutes"
RENAMED = {"throughput_mbps": "bandwidth", "node_id": "source", "peer_id": "target"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two days of a small fleet, as the generator writes them."""
    import pandas as pd

    folder = tmp_path_factory.mktemp("made")
    write_partitioned(FleetConfig(links=2, days=2, start=DAY.isoformat(), seed=1), folder)
    days = [pd.read_parquet(path) for path in sorted(folder.rglob("*.parquet"))]
    return pd.concat(days).drop(columns="date", errors="ignore").reset_index(drop=True)


def fill(url, made, *, time="timestamp"):
    """The table, with a few names of its own; `time`: what the time column holds."""
    table = made.rename(columns=RENAMED).drop(columns=["time_of_day", "day_of_week", "dwcp_mode"])
    table = table.astype({name: "object" for name in table.columns if table[name].dtype.kind not in "iuf"})
    if time != "timestamp":
        import pandas as pd

        table[time] = pd.to_datetime(table.pop("timestamp"), unit="s", utc=time == "with_zone")
    engine = sa.create_engine(url)
    table.to_sql(TABLE if time == "timestamp" else time, engine, if_exists="replace", index=False)
    engine.dispose()
    return url


def mapping_of(database, time="timestamp"):
    values = {"url": database, "table": TABLE if time == "timestamp" else time, "time": time, "columns": RENAMED}
    return values | {"constants": {"dwcp_mode": "turbo"}}


def source(database, time="timestamp"):
    return SqlSource(SqlMapping(**mapping_of(database, time)))


@pytest.fixture(scope="module")
def sqlite(made, tmp_path_factory):
    return fill(f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/telemetry.db", made)


@pytest.fixture(scope="module")
def filled_postgresql(postgresql, made):
    for time in ("timestamp", "with_zone", "without_zone"):
        fill(postgresql, made, time=time)
    return postgresql


@pytest.mark.parametrize("time", ["timestamp", "with_zone", "without_zone"])
def test_a_day_of_postgresql_lands_as_it_was(filled_postgresql, made, local_store, tmp_path, time):
    import pandas as pd

    one = source(filled_postgresql, time)
    one.check()
    assert ingest_days(local_store, [DAY], one.read_day).written == [DAY]
    landed = pd.read_parquet(day_file(tmp_path / "root", DAY)).drop(columns="date", errors="ignore")
    expected = made[made["timestamp"] < FIRST + 86_400].sort_values(["node_id", "peer_id", "timestamp"])
    assert set(landed["dwcp_mode"]) == {"turbo"}
    for name in ("timestamp", "node_id", "rtt_ms", "throughput_mbps", "time_of_day", "day_of_week", "region"):
        assert landed[name].astype(object).tolist() == expected[name].astype(object).tolist(), name


def test_rows_come_by_a_server_side_cursor(filled_postgresql):
    """PostgreSQL names such a cursor; the rows of a day never are in the client at once."""
    one = source(filled_postgresql)
    seen = []
    sa.event.listen(one.engine, "after_cursor_execute", lambda *args: seen.append(args[1].name))
    assert one.read_day(FIRST, FIRST + 86_400).num_rows == 2 * 1440
    assert seen[-1] is not None
    assert FETCH_ROWS < 1_000_000


def test_a_day_of_sqlite_is_the_same(sqlite, made):
    table = source(sqlite).read_day(FIRST, FIRST + 86_400)
    assert table.num_rows == (made["timestamp"] < FIRST + 86_400).sum()


def test_a_day_without_rows_is_not_written(sqlite, local_store):
    assert ingest_days(local_store, [date(2020, 1, 1)], source(sqlite).read_day).empty == [date(2020, 1, 1)]


def test_two_rows_of_one_link_and_minute_are_refused_and_nothing_lands(made, local_store, tmp_path):
    import pandas as pd

    url = fill(f"sqlite:///{tmp_path}/twice.db", pd.concat([made, made.head(1)]))
    with pytest.raises(TelemetryError, match="two rows of one link"):
        ingest_days(local_store, [DAY], source(url).read_day)
    assert list(local_store.keys()) == []


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"table": "link_minute"}, ConfigError, "has no table 'link_minute'"),
        ({"columns": RENAMED | {"rtt_ms": "rtt"}}, ConfigError, "has no column 'rtt' for rtt_ms; map it."),
        ({"columns": RENAMED | {"rtt_ms": "jitter_mss"}}, ConfigError, "Did you mean 'jitter_ms'"),
        ({"time": "when", "table": TABLE}, ConfigError, "has no column 'when' for timestamp"),
        ({"columns": RENAMED | {"rtt_ms": "region"}}, TelemetryError, "expected a number"),
        ({"url": "nosuch://host/x"}, ConfigError, "is no SQLAlchemy URL"),
        ({"url": "not a url"}, ConfigError, "is no SQLAlchemy URL"),
        ({"url": "postgresql+psycopg2://me:s3cr3t@127.0.0.1:1/x"}, StoreUnreachableError, "cannot be used"),
        ({"url": "sqlite:////no/such/folder/x.db"}, StoreUnreachableError, "cannot be used"),
    ],
)
def test_what_is_wrong_is_one_sentence_without_secrets(sqlite, changes, error, says):
    with pytest.raises(BwPredictError, match=says) as refused:
        SqlSource(SqlMapping(**(mapping_of(sqlite) | changes))).read_day(FIRST, FIRST + 86_400)
    assert isinstance(refused.value, error)
    assert "s3cr3t" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_url_may_come_from_the_environment(sqlite, monkeypatch, cli, tmp_path):
    monkeypatch.setenv(URL_VARIABLE, sqlite)
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump({"table": TABLE, "columns": RENAMED, "constants": {"dwcp_mode": "turbo"}}))
    options = ("--mapping", path, "--telemetry", tmp_path / "store", "--start", DAY)
    assert cli("collect", "sql", *options)[0] == 0
    assert day_file(tmp_path / "store", DAY).is_file()


def test_a_mapping_with_an_unknown_column_is_refused(tmp_path):
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump({"table": "t", "columns": {"latency": "x"}}))
    with pytest.raises(ConfigError, match="latency: unknown column of telemetry"):
        load_mapping(path)
