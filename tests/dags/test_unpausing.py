"""When the schedule starts a run: not for a month that was over before somebody unpaused the DAG."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pendulum
import pytest
from airflow.timetables import interval
from airflow.timetables.base import DataInterval, TimeRestriction
from bwpredict_airflow import timetable, unpausing
from hypothesis import given
from hypothesis import strategies as st

MONTHLY = timetable.UpcomingCronTimetable("0 0 1 * *", timezone="UTC")
RESTRICTION = TimeRestriction(earliest=pendulum.datetime(2026, 1, 1), latest=None, catchup=False)


def next_run(now, last_start=None):
    last = None
    if last_start:
        start = pendulum.parse(last_start)
        last = DataInterval(start=start, end=start.add(months=1))
    with pytest.MonkeyPatch.context() as patch:
        for module in (timetable, interval):
            patch.setattr(module, "utcnow", lambda: pendulum.instance(now, tz="UTC"))
        return MONTHLY.next_dagrun_info(last_automated_data_interval=last, restriction=RESTRICTION)


def test_a_new_dag_that_is_unpaused_waits_for_the_end_of_the_month():
    run = next_run(datetime(2026, 11, 28, tzinfo=UTC))
    assert (run.data_interval.start, run.run_after) == (pendulum.datetime(2026, 11, 1), pendulum.datetime(2026, 12, 1))


def test_a_dag_that_was_paused_for_weeks_does_not_catch_up_with_the_month_that_it_missed():
    run = next_run(datetime(2026, 11, 28, tzinfo=UTC), last_start="2026-08-01")
    assert run.run_after == pendulum.datetime(2026, 12, 1)


def test_a_run_that_is_due_is_not_lost_where_airflow_was_away_for_hours():
    run = next_run(datetime(2026, 12, 1, 5, tzinfo=UTC), last_start="2026-10-01")
    assert (run.data_interval.start, run.run_after) == (pendulum.datetime(2026, 11, 1), pendulum.datetime(2026, 12, 1))


def test_a_month_that_has_run_is_not_run_again():
    run = next_run(datetime(2026, 12, 1, 5, tzinfo=UTC), last_start="2026-11-01")
    assert run.run_after == pendulum.datetime(2027, 1, 1)


@given(st.integers(0, 4 * 365 * 24 * 60), st.integers(0, 40))
def test_no_run_starts_more_than_six_hours_late_or_covers_anything_but_the_month_before_it(minutes, months_ago):
    now = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    last = pendulum.instance(now).start_of("month").subtract(months=months_ago)
    run = next_run(now, last_start=last.isoformat() if months_ago else None)
    assert run.run_after >= now - timedelta(hours=6)
    assert (run.data_interval.end, run.data_interval.start.add(months=1)) == (run.run_after, run.run_after)


@pytest.mark.parametrize(
    ("event", "dag_id", "extra", "unpauses"),
    [
        ("patch_dag", "ours", '{"is_paused": false, "method": "PATCH"}', True),
        ("patch_dag", "ours", '{"is_paused": true, "method": "PATCH"}', False),
        ("patch_dag", "another", '{"is_paused": false, "method": "PATCH"}', False),
        ("patch_dags", None, '{"dag_id_pattern": "%", "is_paused": false, "method": "PATCH"}', True),
        ("cli_dag_unpause", "ours", '{"full_command": "[airflow, dags, unpause, ours]"}', True),
        ("cli_dag_unpause", "another", '{"full_command": "[airflow, dags, unpause, another]"}', False),
        ("cli_dag_unpause", "o.*", '{"full_command": "[airflow, dags, unpause, --treat-dag-id-as-regex, o.*]"}', True),
    ],
)
def test_each_way_to_unpause_a_dag_is_known_by_its_entry_in_the_audit_log(event, dag_id, extra, unpauses):
    entry = SimpleNamespace(event=event, dag_id=dag_id, extra=extra)
    assert unpausing.is_unpausing(entry, "ours") is unpauses
