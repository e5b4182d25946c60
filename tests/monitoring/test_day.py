"""A day scored from real telemetry with real ONNX files."""

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from monitored import CANARY, DAY, NOW, PRODUCTION, publish_model

from bwpredict.errors import ConfigError, TelemetryError
from bwpredict.monitoring.daily import monitor_day
from bwpredict.monitoring.days import read_day, read_series
from bwpredict.registry.canary import end_canary
from bwpredict.registry.layout import model_key
from bwpredict.schema import TARGETS
from bwpredict.store.factory import open_store
from bwpredict.telemetry import snapshot


@pytest.fixture
def scored(registry, telemetry, tmp_path):
    return monitor_day(registry, telemetry, DAY, tmp_path / "work", now=NOW)


def test_a_day_is_scored_with_production_and_in_shadow_with_its_predecessor_and_the_canary(scored):
    assert {role: model["version"] for role, model in scored["models"].items()} == {
        "production": PRODUCTION,
        "previous": CANARY,
        "canary": CANARY,
    }
    figures = scored["models"]["production"]["per_target"]
    # It repeats the last value, so it is as good as that baseline, and no better than the best of them.
    assert all(figures[target]["skill"] <= 0 for target in TARGETS)
    assert all(figures[target]["mae"] > 0 for target in TARGETS)
    assert scored["telemetry"]["links"] == 10
    # Every target of the day whose window lies whole in the two days that were read.
    assert scored["telemetry"]["windows"] == 10 * 1440
    assert scored["telemetry"]["completeness"] == 1
    assert len(scored["telemetry"]["snapshot_id"]) == 64
    assert scored["staleness"] == {
        "model_age_days": 0.0,
        "training_data_age_days": 2.0,
        "last_sample_age_minutes": 1.0,
    }


def test_the_document_names_the_telemetry_that_the_day_was_scored_on(scored, telemetry, tmp_path):
    later = Path(shutil.copytree(telemetry.uri, tmp_path / "later"))
    (late,) = later.glob(f"date={DAY}/*.parquet")
    table = pq.read_table(late, partitioning=None)
    pq.write_table(table.slice(0, table.num_rows - 1), late)
    past = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1)

    def pinned(store, name):
        return snapshot.take_snapshot(store, "", past - timedelta(days=2), past, tmp_path / name)

    same, other = pinned(telemetry, "same"), pinned(open_store(str(later)), "other")
    assert scored["telemetry"]["snapshot_id"] == same["snapshot_id"] != other["snapshot_id"]
    assert scored["telemetry"]["objects"] == same["objects"] != other["objects"]


def test_a_day_is_written_once_and_never_changes(scored, registry, telemetry, tmp_path):
    again = monitor_day(registry, telemetry, DAY, tmp_path / "work", now=NOW + timedelta(days=9))
    assert again == scored == read_day(registry, DAY)
    assert list(read_series(registry)) == [scored]


def test_the_reference_is_the_same_weekday_of_the_training_month_and_outlives_its_telemetry(
    scored, registry, telemetry, tmp_path
):
    assert scored["drift"]["reference_days"] == ["2026-10-26"]
    assert {one["verdict"] for one in scored["drift"]["per_feature"].values()} <= {"stable", "moved"}
    assert registry.read(f"monitoring/references/{PRODUCTION}_mon.json")


def test_the_arms_are_those_of_the_documented_hash(scored, telemetry, registry):
    arms = scored["canary"]["arms"]
    assert arms["production"]["links"] + arms["canary"]["links"] == 10
    assert 0 < arms["canary"]["links"] < 10
    assert arms["canary"]["windows"] == arms["canary"]["links"] * 1440
    assert scored["canary"]["log_error_ratio"] == 0  # the same answers
    assert scored["canary"]["verdict"] == "undecided"


def test_evidence_goes_on_from_day_to_day_and_begins_anew_with_a_new_version(registry, telemetry, tmp_path):
    days = [DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)]
    work = tmp_path / "work"
    first, second = (monitor_day(registry, telemetry, day, work, now=NOW) for day in days[:2])
    evidence = [{test["id"]: test["total"] for test in one["tests"]} for one in (first, second)]
    assert evidence[1]["skill.rtt_ms"] > evidence[0]["skill.rtt_ms"] > 0
    end_canary(registry, made_by="me", now=NOW)
    publish_model(registry, tmp_path, "v20261104_000000", PRODUCTION, 1.0)
    third = monitor_day(registry, telemetry, days[2], work, now=NOW)
    assert third["canary"] is None
    assert {test["id"]: test["total"] for test in third["tests"]}["skill.rtt_ms"] <= evidence[0]["skill.rtt_ms"] * 1.5


def test_a_shadow_that_cannot_be_run_is_named_and_stops_nothing(registry, telemetry, tmp_path):
    registry.delete(model_key(CANARY, "MANIFEST.json"))
    scored = monitor_day(registry, telemetry, DAY, tmp_path / "work", now=NOW)
    assert "not published" in scored["models"]["canary"]["problem"]
    assert scored["models"]["canary"]["per_target"] is None
    assert scored["canary"]["arms"]["canary"] is None
    assert scored["models"]["production"]["per_target"]["rtt_ms"]["mae"] > 0


@pytest.mark.parametrize(
    ("day", "error", "says"),
    [
        (NOW.date(), ConfigError, "is not over yet"),
        (date(2026, 9, 1), TelemetryError, "no partition of this day; it holds 2026-10-26 to"),
    ],
)
def test_a_day_that_cannot_be_scored_is_one_sentence_and_leaves_nothing(
    registry, telemetry, tmp_path, day, error, says
):
    with pytest.raises(error, match=says):
        monitor_day(registry, telemetry, day, tmp_path / "work", now=NOW)
    assert list(read_series(registry)) == []


def test_without_a_model_in_production_there_is_nothing_to_monitor(local_store, telemetry, tmp_path):
    with pytest.raises(ConfigError, match="nothing is in production"):
        monitor_day(local_store, telemetry, DAY, tmp_path / "work", now=NOW)
