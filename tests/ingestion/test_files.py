"""`bwpredict import`: files as users have them, into the days that everything else reads."""

from __future__ import annotations

import gzip
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from bwpredict import schema
from bwpredict.cli.main import app
from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.file_mapping import FileMapping, load_mapping
from bwpredict.datasets.frame import load_frame
from bwpredict.documents import read_document
from bwpredict.errors import BwPredictError, ConfigError, TelemetryError
from bwpredict.ingestion.files import import_files
from bwpredict.store.local import LocalStore
from bwpredict.telemetry.description import Description
from bwpredict.telemetry.snapshot import take_snapshot

NOW = datetime(2026, 11, 28, tzinfo=UTC)
OCTOBER = int(datetime(2026, 10, 24, tzinfo=UTC).timestamp())
"""The day before clocks go back in Europe."""


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def rows_of(store: Path) -> pd.DataFrame:
    return pd.concat([pq.read_table(path, partitioning=None).to_pandas() for path in sorted(store.rglob("*.parquet"))])


def imported(folder: Path, text: str, **mapping) -> pd.DataFrame:
    file = written(folder / "telemetry.csv", text)
    import_files([file], FileMapping.model_validate(mapping), LocalStore(folder / "store"), now=NOW)
    return rows_of(folder / "store")


def recording(names: tuple[str, ...] = ("probe7", "probe11"), steps: int = 3 * 360, start: int = OCTOBER) -> str:
    """As ripe_atlas_rtt.csv.gz: a link's name, RTT and loss, four minutes apart, empty cells."""
    lines = ["timestamp,link,rtt_ms,packet_loss"]
    for place, name in enumerate(names):
        noise = np.random.default_rng(place)
        for step in range(steps):
            level = 30 * (place + 1) + 5 * math.sin(step / 40) + noise.normal()
            rtt = "" if step % 97 == 9 else f"{level:.3f}"
            lines.append(f"{start + 240 * step},{name},{rtt},{noise.random() < 0.1:d}")
    return "\n".join(lines) + "\n"


def snapshot_of(store: Path, work: Path):
    start, end = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    return take_snapshot(LocalStore(store), "", start, end, work)


def test_what_a_file_lacks_is_in_the_description_the_snapshot_and_the_frame(tmp_path):
    imported(tmp_path, recording(), constants={"region": "eu-west"})
    described = read_document(tmp_path / "store/telemetry.json", "telemetry_description")
    assert described["cadence_seconds"] == 240
    assert "region" not in described["absent_columns"]
    assert {"throughput_mbps", "jitter_ms", "az", "bytes_tx", "retransmits"} <= set(described["absent_columns"])
    assert described["names"] == {"probe11": 0, "probe7": 1}
    pinned = snapshot_of(tmp_path / "store", tmp_path / "work")
    assert pinned["description"]["absent_columns"] == described["absent_columns"]
    frame = load_frame(tmp_path / "work/telemetry", description=Description.of_snapshot(pinned))
    assert (frame.rows, frame.cadence_seconds, list(frame.links["region"])) == (2160, 240, ["eu-west"] * 2)
    assert list(frame.filled) == ["throughput_mbps", "jitter_ms", "congestion_window", "queue_depth", "retransmits"]
    trained_on = read_data_path(tmp_path / "store")
    np.testing.assert_array_equal(trained_on.values, frame.values)
    assert (trained_on.cadence_seconds, trained_on.filled) == (240, frame.filled)


def test_names_units_and_constants_are_those_of_the_mapping(tmp_path):
    text = "Zeit;von;nach;MB;Laufzeit;Verlust\n" + "".join(
        f"{24 + minute // 1440:02}.10.2026 {minute // 60 % 24:02}:{minute % 60:02};a;b;0.5;0.02;3\n"
        for minute in range(120)
    )
    rows = imported(
        tmp_path,
        text,
        separator=";",
        time="Zeit",
        time_format="%d.%m.%Y %H:%M",
        times_in="Europe/Berlin",
        columns={
            "node_id": "von",
            "peer_id": "nach",
            "throughput_mbps": {"column": "MB", "unit": "MB/s"},
            "rtt_ms": {"column": "Laufzeit", "unit": "s"},
            "packet_loss": {"column": "Verlust", "unit": "%"},
        },
        constants={"link_type": "wan"},
    )
    assert rows["timestamp"].iloc[0] == OCTOBER - 2 * 3600  # 00:00 in Berlin in summer
    row = rows.iloc[0]
    assert (row["throughput_mbps"], row["rtt_ms"], row["packet_loss"]) == (4.0, 20.0, pytest.approx(0.03))
    assert (row["node_id"], row["peer_id"], row["link_type"]) == (0, 1, "wan")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"])
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_other_encodings_and_decimal_commas_are_read(tmp_path, encoding, suffix):
    text = "timestamp;Köln;Laufzeit;resent\r\n" + "".join(
        f"{OCTOBER + 60 * step};Köln-Süd;{step},25;{step},0\r\n" for step in range(5)
    )
    file = tmp_path / f"telemetry.{suffix}"
    file.write_bytes(gzip.compress(text.encode(encoding)) if suffix == "csv.gz" else text.encode(encoding))
    columns = {"node_id": "Köln", "rtt_ms": "Laufzeit", "retransmits": "resent"}
    mapping = FileMapping(separator=";", decimal=",", encoding=encoding, columns=columns)
    import_files([file], mapping, LocalStore(tmp_path / "store"), now=NOW)
    rows = rows_of(tmp_path / "store")
    assert rows["rtt_ms"].tolist() == [0.25, 1.25, 2.25, 3.25, 4.25]
    assert rows["retransmits"].tolist() == [0, 1, 2, 3, 4]
    assert read_document(tmp_path / "store/telemetry.json", "telemetry_description")["names"] == {"Köln-Süd": 0}


def test_texts_that_stand_for_a_missing_value_are_missing(tmp_path):
    text = f"timestamp,rtt_ms,packet_loss\n{OCTOBER},-,0\n{OCTOBER + 60},?,0.5\n{OCTOBER + 120},3,-\n"
    rows = imported(tmp_path, text, missing=["-", "?"])
    assert rows["rtt_ms"].isna().tolist() == [True, True, False]
    assert rows["packet_loss"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("value", ["1.234", "1.234,5", "x"])
def test_a_point_in_a_number_with_a_decimal_comma_is_refused_as_it_is_written(tmp_path, value):
    text = f"timestamp;rtt_ms\n{OCTOBER};1,5\n{OCTOBER + 60};{value}\n"
    with pytest.raises(TelemetryError, match=f"column 'rtt_ms' holds '{value}' in line 3; expected a number"):
        imported(tmp_path, text, separator=";", decimal=",")


def test_counters_become_rates_and_a_counter_that_falls_or_pauses_is_missing(tmp_path, caplog):
    octets = [10**15 + 7_500_000 * step for step in range(6)]
    octets[4] = 5  # a device was restarted
    text = "timestamp,link,octets,resent,rtt_ms\n" + "".join(
        f"{OCTOBER + 60 * (step + 5 * (step > 2))},a,{count},{3 * step},9\n" for step, count in enumerate(octets)
    )
    columns = {
        "throughput_mbps": {"column": "octets", "unit": "B", "function": "rate"},
        "retransmits": {"column": "resent", "function": "increase"},
    }
    rows = imported(tmp_path, text, columns=columns)
    # First sample, one after a gap, and one after the restart: missing; the one after that is of the new counter.
    assert rows["throughput_mbps"].isna().tolist() == [True, False, False, True, True, False]
    assert rows["throughput_mbps"].iloc[1] == 1.0
    assert rows["retransmits"].iloc[[1, 2, 4, 5]].tolist() == [3, 3, 3, 3]
    assert "throughput_mbps: its counter goes down in 1 of 5 steps" in caplog.text
    assert "retransmits: its counter" not in caplog.text


def test_amounts_of_a_sample_become_rates_by_the_cadence(tmp_path):
    text = "timestamp,bytes,rtt_ms\n" + "".join(f"{OCTOBER + 300 * step},37500000,9\n" for step in range(5))
    columns = {"throughput_mbps": {"column": "bytes", "unit": "B", "function": "per_second"}}
    assert imported(tmp_path, text, columns=columns)["throughput_mbps"].tolist() == pytest.approx([1.0] * 5)


def test_samples_of_ten_seconds_become_those_of_the_minute(tmp_path):
    text = "timestamp,rtt_ms,retransmits\n" + "".join(f"{OCTOBER + 10 * step},{step},2\n" for step in range(12))
    rows = imported(tmp_path, text)
    assert rows["rtt_ms"].tolist() == [2.5, 8.5]
    assert rows["retransmits"].tolist() == [12, 12]  # amounts add up


def test_the_calendar_follows_the_time_zone_over_the_end_of_summer_time(tmp_path):
    rows = imported(tmp_path, recording(), time_zone="Europe/Berlin").set_index("timestamp")
    assert rows.loc[OCTOBER, "time_of_day"].unique().tolist() == [2]
    change = int(datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp())  # 3:00 becomes 2:00
    assert rows.loc[change - 240, "time_of_day"].unique().tolist() == [2]
    assert rows.loc[change, "time_of_day"].unique().tolist() == [2]
    assert rows.loc[change + 3600, "time_of_day"].unique().tolist() == [3]
    late = int(datetime(2026, 10, 25, 23, 16, tzinfo=UTC).timestamp())
    assert rows.loc[late, "day_of_week"].unique().tolist() == [1]  # Monday in Berlin


def test_each_link_has_the_calendar_of_its_own_time_zone(tmp_path):
    lines = ["timestamp,link,site,rtt_ms"]
    lines += [f"{OCTOBER + 60 * step},{link},{link},9" for link in ("ber", "nyc") for step in range(60)]
    zones = {"column": "site", "names": {"ber": "Europe/Berlin", "nyc": "America/New_York"}}
    rows = imported(tmp_path, "\n".join(lines), time_zone=zones)
    assert rows.groupby("node_id")["time_of_day"].first().tolist() == [2, 20]
    assert rows.groupby("node_id")["day_of_week"].first().tolist() == [6, 5]
    described = read_document(tmp_path / "store/telemetry.json", "telemetry_description")
    assert described["link_time_zones"] == [[0, 0, "Europe/Berlin"], [1, 0, "America/New_York"]]


def test_an_import_is_run_again_and_another_month_added_with_the_same_numbers(tmp_path):
    store = LocalStore(tmp_path / "store")
    first = written(tmp_path / "october.csv", recording(("b", "d")))
    later = written(tmp_path / "november.csv", recording(("a", "d"), start=OCTOBER + 10 * 86_400))
    for file in (first, first, later):
        import_files([file], FileMapping(), store, now=NOW)
    described = read_document(tmp_path / "store/telemetry.json", "telemetry_description")
    assert described["names"] == {"b": 0, "d": 1, "a": 2}
    assert [one["files"][0]["name"] for one in described["imports"]] == ["october.csv", "november.csv"]
    assert rows_of(tmp_path / "store")["node_id"].unique().tolist() == [0, 1, 2]


def test_a_day_that_is_there_with_other_rows_is_refused_and_replaced_when_asked(tmp_path):
    store = LocalStore(tmp_path / "store")
    import_files([written(tmp_path / "a.csv", recording(steps=300))], FileMapping(), store, now=NOW)
    whole = written(tmp_path / "b.csv", recording(steps=360))
    with pytest.raises(TelemetryError, match=r"date=2026-10-24/part-0.parquet: exists with other rows"):
        import_files([whole], FileMapping(), store, now=NOW)
    import_files([whole], FileMapping(), store, replace_days=True, now=NOW)
    assert len(rows_of(tmp_path / "store")) == 720


def test_telemetry_of_another_kind_is_not_mixed_in(tmp_path):
    store, file = LocalStore(tmp_path / "store"), written(tmp_path / "a.csv", recording())
    import_files([file], FileMapping(), store, now=NOW)
    with pytest.raises(TelemetryError, match=r"telemetry.json: mapping is .* into another --output"):
        import_files([file], FileMapping(time_zone="Europe/Berlin"), store, now=NOW)


@pytest.mark.parametrize(
    ("mapping", "complaint"),
    [
        ({"columns": {"rtt": "x"}}, "rtt: unknown column of telemetry"),
        ({"columns": {"rtt_ms": {"column": "x", "unit": "min"}}}, "'min'; expected one of ms, s, us, ns"),
        ({"columns": {"throughput_mbps": {"column": "x", "unit": "B"}}}, "expected one of bit/s"),
        ({"columns": {"time_of_day": "hour"}}, "time_of_day follows from the time"),
        ({"columns": {"rtt_ms": "x", "jitter_ms": "x"}}, "'x' is mapped twice"),
        ({"columns": {"region": {"column": "x", "function": "rate"}}}, "region is not a number"),
        ({"constants": {"rtt_ms": 5}}, "rtt_ms is to be forecast"),
        ({"constants": {"link_type": "fibre"}}, "'fibre' of link_type is none of dc, metro"),
        ({"columns": {"region": "x"}, "constants": {"region": "eu"}}, "region is mapped twice"),
        ({"time_zone": "Berlin"}, "'Berlin' is not a time zone"),
        ({"times": "ts"}, "times: no such key; check its spelling"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(tmp_path, mapping, complaint):
    path = written(tmp_path / "mapping.yaml", yaml.safe_dump(mapping))
    with pytest.raises(ConfigError) as caught:
        load_mapping(path)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mapping", "complaint"),
    [
        (
            "timestamp,x\n1,2\n",
            {"columns": {"rtt_ms": "rtt"}},
            "lacks the column 'rtt', which is mapped to rtt_ms; it has",
        ),
        ("timestamp,rtt_ms\n1700000000000,2\n", {}, "expected unix seconds (not milliseconds)"),
        (
            "timestamp,rtt_ms\nyesterday,2\n",
            {"time_format": "iso"},
            "holds 'yesterday' in line 2; expected a time as 'iso'",
        ),
        (
            "timestamp,rtt_ms\n2026-03-29 02:30:00,2\n",
            {"time_format": "iso", "times_in": "Europe/Berlin"},
            "holds '2026-03-29 02:30:00' in line 2; expected a time as 'iso' in Europe/Berlin",
        ),
        ("timestamp,loss,rtt_ms\n1,35,2\n", {"columns": {"packet_loss": "loss"}}, "expected a finite number, 0 to 1"),
        ("timestamp,link_type,rtt_ms\n1,fibre,2\n", {}, "'link_type' holds 'fibre'; expected one of dc"),
        ("timestamp,tz,rtt_ms\n1,Mars,2\n", {"time_zone": {"column": "tz"}}, "'Mars' is not a time zone"),
        ("timestamp,link,rtt_ms\n1,Ł,2\n", {"encoding": "ascii"}, "'ascii' codec can't decode"),
        ("timestamp,link,rtt_ms\n1,a,2\n", {"encoding": "utf-16"}, "does not start with BOM"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, text, mapping, complaint):
    with pytest.raises(BwPredictError) as caught:
        imported(tmp_path, text, **mapping)
    assert complaint in str(caught.value)
    assert not (tmp_path / "store").exists() or not list((tmp_path / "store").rglob("*.parquet"))


def test_the_hour_that_a_clock_shows_twice_is_left_out_and_the_day_kept(tmp_path, caplog):
    times = pd.date_range("2026-10-25", "2026-10-26", freq="10min", tz="Europe/Berlin", inclusive="left")
    lines = [f"{time:%d.%m.%Y %H:%M},{place}" for place, time in enumerate(times)]
    text = "\n".join(["timestamp,rtt_ms", *lines])
    rows = imported(tmp_path, text, time_format="%d.%m.%Y %H:%M", times_in="Europe/Berlin", time_zone="Europe/Berlin")
    kept = times[(times.hour != 2)]
    assert rows["timestamp"].tolist() == [int(time.timestamp()) for time in kept]
    assert rows["time_of_day"].tolist() == kept.hour.tolist()
    assert (
        "telemetry.csv: 12 rows left out, from 25.10.2026 02:00 on: the clock of Europe/Berlin shows this hour twice;"
        " write times with their offset to keep them." in caplog.text
    )


def test_a_link_may_be_a_constant(tmp_path):
    text = "timestamp,rtt_ms\n" + "".join(f"{OCTOBER + 60 * step},{step}\n" for step in range(5))
    rows = imported(tmp_path, text, constants={"node_id": 12, "peer_id": 34, "az": "a"})
    assert rows[["node_id", "peer_id", "az"]].drop_duplicates().to_numpy().tolist() == [[12, 34, "a"]]


def test_a_column_without_any_value_is_one_that_the_file_lacks(tmp_path):
    text = "timestamp,rtt_ms,jitter_ms\n" + "".join(f"{OCTOBER + 60 * step},{step},\n" for step in range(5))
    assert "jitter_ms" not in imported(tmp_path, text)
    assert "jitter_ms" in read_document(tmp_path / "store/telemetry.json", "telemetry_description")["absent_columns"]
    with pytest.raises(TelemetryError, match="empty in every row, so there is nothing to forecast"):
        imported(tmp_path / "none", "timestamp,rtt_ms,jitter_ms\n1,,\n2,,\n")


def test_times_from_the_start_of_a_recording_get_a_date(tmp_path, caplog):
    text = "timestamp,rtt_ms\n" + "".join(f"{60 * step},{step}\n" for step in range(5))
    rows = imported(tmp_path, text, start="2026-10-24T00:00:00Z")
    assert rows["timestamp"].iloc[0] == OCTOBER
    assert "1970s" not in caplog.text
    imported(tmp_path / "undated", text)
    assert "times begin in the 1970s: hour and weekday mean nothing" in caplog.text


def test_the_command_says_what_was_made_and_what_is_missing(tmp_path, caplog):
    caplog.set_level("INFO")
    file = written(tmp_path / "a.csv.gz", recording())
    mapping = written(tmp_path / "mapping.yaml", "time_zone: Europe/Berlin\nconstants: {region: eu}\n")
    asked = ["import", str(file), "--output", str(tmp_path / "store"), "--mapping", str(mapping)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert "2,160 rows of 2 links, 2026-10-24 to 2026-10-26 (3 days), a sample each 240 s." in caplog.text
    assert "time_of_day is the hour in Europe/Berlin" in caplog.text
    assert "Not in the files, and left out: az, link_type, jitter_ms, throughput_mbps" in caplog.text


def test_no_column_of_the_schema_is_forgotten():
    """Every column comes from a file, a constant, the link or the time."""
    known = {
        *FileMapping.model_validate(
            {
                "columns": {
                    name: f"x{name}"
                    for name in schema.COLUMN_NAMES
                    if name not in ("timestamp", "time_of_day", "day_of_week")
                }
            }
        ).columns
    }
    assert known | {"timestamp", "time_of_day", "day_of_week"} == set(schema.COLUMN_NAMES)
