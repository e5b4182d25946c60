"""A cron schedule for which unpausing starts nothing."""

from __future__ import annotations

from datetime import timedelta

from airflow._shared.timezones.timezone import coerce_datetime, utcnow
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable

LATEST_START = timedelta(hours=6)
"""How late a due run may start: Airflow may be away for maintenance meanwhile."""


class UpcomingCronTimetable(CronDataIntervalTimetable):
    """Each run covers the interval before it, and none starts more than six hours after it was due.

    Airflow's own timetables, `CronTriggerTimetable` with `run_immediately=False` included, start the latest run
    that was missed as soon as a DAG is unpaused after a pause. The listener in `unpausing` skips a run that was due
    in the six hours before the DAG was unpaused.
    """

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next run, or the latest one that was due within the last six hours."""
        due = super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
        if due is None or restriction.catchup or due.run_after >= coerce_datetime(utcnow()) - LATEST_START:
            return due
        return DagRunInfo.interval(start=due.run_after, end=self._get_next(due.run_after))
