from datetime import UTC, datetime

import pytest
from sample_documents import sample_comparison, sample_decision, sample_run, sample_validation

from bwpredict.pipeline.health import production_health
from bwpredict.pipeline.run_history import RunSummary
from bwpredict.registry.pointer import Production

VERSION = "v20261001_000512"
NOW = datetime(2026, 10, 20, tzinfo=UTC)


def production(month="2026-09"):
    return Production(
        version=VERSION,
        onnx_key="m.onnx",
        sha256="0" * 64,
        previous=None,
        replaced=None,
        promoted_at="2026-10-01T00:14:00+00:00",
        promoted_by="run a",
        kind="promotion",
        sequence=1,
        month=month,
        reason=None,
        decision={},
    )


def a_run(tmp_path, month, verdict):
    decision = sample_decision(sample_comparison(3.0 if verdict == "reject" else 0.6)) if verdict != "telemetry" else {}
    run_id = f"run-{month}-{verdict}"
    return RunSummary(
        sample_run(month=month, run_id=run_id), tmp_path, decision, sample_validation(broken=verdict == "telemetry"), ()
    )


def a_day(day, alarm=False, version=VERSION):
    test = {"id": "skill.rtt_ms", "alarm": alarm, "short_since": "2026-10-09"}
    return {"day": day, "production": {"version": version}, "alarm": alarm, "tests": [test]}


def kinds(found):
    return [finding.kind for finding in found]


def test_all_is_well_where_nothing_stands_out():
    (only,) = production_health(production(), [], [a_day("2026-10-18"), a_day("2026-10-19")], now=NOW)
    assert (only.kind, "no alarms up to 2026-10-19" in only.sentence) == ("good", True)


def test_an_alarm_comes_first_and_says_what_and_since_when(tmp_path):
    runs = [a_run(tmp_path, "2026-10", "reject")]
    found = production_health(production(), runs, [a_day("2026-10-19", alarm=True)], now=NOW)
    assert kinds(found) == ["bad", "warn"]
    assert "since 2026-10-09: skill of RTT" in found[0].sentence


def test_later_months_that_were_refused_are_named_with_the_latest_run(tmp_path):
    runs = [
        a_run(tmp_path, "2026-11", "telemetry"),
        a_run(tmp_path, "2026-10", "reject"),
        a_run(tmp_path, "2026-09", "reject"),
    ]
    found = production_health(production(), runs, [a_day("2026-10-19")], now=NOW)
    assert kinds(found) == ["bad"]
    assert "2026-10 was rejected; 2026-11 failed validation" in found[0].sentence
    assert found[0].run_id == "run-2026-11-telemetry"


def test_a_month_whose_latest_run_passed_is_not_refused(tmp_path):
    runs = [a_run(tmp_path, "2026-10", "promote"), a_run(tmp_path, "2026-10", "reject")]
    assert kinds(production_health(production(), runs, [a_day("2026-10-19")], now=NOW)) == ["good"]


@pytest.mark.parametrize(("month", "expected"), [("2026-08", ["good"]), ("2026-07", ["warn"]), ("2025-12", ["warn"])])
def test_production_is_old_when_two_later_months_are_over(month, expected):
    found = production_health(production(month), [], [a_day("2026-10-19")], now=NOW)
    assert kinds(found) == expected
    assert ("9 later months are over" in found[0].sentence) == (month == "2025-12")


def test_a_monitor_that_is_silent_is_told_of_and_days_of_another_version_do_not_count():
    assert kinds(production_health(production(), [], [a_day("2026-10-15")], now=NOW)) == ["warn"]
    other = production_health(production(), [], [a_day("2026-10-19", version="v20260901_000512")], now=NOW)
    assert "has not scored a day of this version" in other[0].sentence
    fresh = datetime(2026, 10, 2, tzinfo=UTC)
    assert kinds(production_health(production(), [], [], now=fresh)) == ["good", "info"]
