"""From judged days to the people on call."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from monitored import DAY, FIRST, NOW, publish_three

from bwpredict.alerting.alerts import MAX_FINDINGS
from bwpredict.alerting.model_alarms import SUBJECT, incident, notify
from bwpredict.monitoring.daily import monitor_day, summary
from bwpredict.store.factory import open_store

LINK = "https://airflow/runs/1"


@pytest.fixture(scope="module")
def worse(telemetry, tmp_path_factory):
    """A registry whose model is far too high, and its nine days."""
    folder = tmp_path_factory.mktemp("worse")
    store = open_store(str(folder / "registry"))
    publish_three(store, folder, factor=1.5, share=0)
    days = [FIRST + timedelta(days=number) for number in range(1, 10)]
    return store, [monitor_day(store, telemetry, day, folder / "work", now=NOW) for day in days]


def test_a_drop_alarms_after_days_and_not_after_one(worse):
    _, days = worse
    assert [day["alarm"] for day in days] == [False] * 8 + [True]
    assert [day["alarm_began"] for day in days] == [False] * 8 + [True]


def test_the_alarm_has_five_lines_with_its_beginning_and_its_threshold(worse):
    lines = incident(worse[1][-1], LINK).alert.body.splitlines()
    assert len(lines) == 5
    assert "sustained drop" in lines[0]
    assert lines[1] == f"Since: {FIRST + timedelta(days=1)} 00:00 UTC"
    assert "(tolerated -0.050), evidence" in lines[2]
    assert lines[2].count("tolerated") <= MAX_FINDINGS
    assert "unchanged: the monitor never moves production" in lines[3]
    assert "rollback" in lines[4]
    assert LINK in lines[4]


def test_the_days_summary_names_the_alarm(worse):
    told = summary(worse[1][-1])
    assert "ALARM: the skill of rtt_ms is" in told
    assert f"since {FIRST + timedelta(days=1)}; evidence" in told


def test_it_is_told_once_and_its_end_too(worse, receiver):
    store, days = worse
    url = [receiver.url()]
    told = [notify(store, url, day, link=LINK, now=datetime(2026, 11, 5, tzinfo=UTC)) for day in [*days, days[-1]]]
    assert told == [False] * 8 + [True, False]
    assert json.loads(store.read(f"alerts/{SUBJECT}.json")[0])["cause"].startswith("v20261102_000000: skill.")
    well = days[0] | {"day": DAY.isoformat()}
    assert notify(store, url, well, link=LINK, now=datetime(2026, 11, 9, tzinfo=UTC))
    assert [note["type"] for note in receiver.received] == ["failure", "success"]
