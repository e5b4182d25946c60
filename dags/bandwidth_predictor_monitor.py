"""### Watch the bandwidth predictor in production, once a day

Scores yesterday's telemetry with the model in production and, in shadow, with the version before it and a canary;
writes accuracy, coverage, drift and staleness into the registry's store (`monitoring/days/<day>.json`, once).

| a run that is | means |
| --- | --- |
| green, `degraded` skipped | no new alarm |
| green, `degraded` green | a sustained drop began: an alert was sent, and the asset event `bandwidth_model_degraded` |
| red | the day could not be scored, for example since its telemetry is missing; the log ends with the reason |

The drop is found by a sequential test with a stated rate of false alarms: see `docs/monitoring.md`. Monitoring moves
nothing. The DAG `bandwidth_predictor_retrain_on_degradation`, if it is unpaused, answers the event with a retraining.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from bwpredict_airflow.default_args import DAG_DEFAULTS, display_name
from bwpredict_airflow.extra_links import run_url
from bwpredict_airflow.notifier import RecoveryNotifier
from bwpredict_airflow.task_errors import one_line_errors
from bwpredict_airflow.timetable import UpcomingCronTimetable

from bwpredict.config import Settings
from bwpredict.pipeline.model_catalog import NamedModel, read_models
from bwpredict.store.factory import open_store

DAY = Param(
    None,
    type=["null", "string"],
    format="date",
    title="Day",
    description="UTC day to score, as YYYY-MM-DD. Empty: the one before the run.",
)


def monitor_dag(model: NamedModel) -> None:
    """The DAG of one model."""
    with DAG(
        dag_id=model.named("bandwidth_predictor_monitor"),
        dag_display_name=display_name("monitor", model.name),
        schedule=UpcomingCronTimetable("0 2 * * *", timezone="UTC"),
        dagrun_timeout=timedelta(hours=8),
        params={"day": DAY},
        **DAG_DEFAULTS,
        on_success_callback=RecoveryNotifier(),
        description="Yesterday's accuracy, drift, coverage and staleness of the model in production",
        doc_md=__doc__,
        tags=["bandwidth", "monitoring", model.name],
    ):
        build_tasks(model)


def build_tasks(model: NamedModel) -> None:
    """Score, tell, and announce what began."""
    event = Asset(model.named("bandwidth_model_degraded"))

    @task(task_display_name="Score the day", execution_timeout=timedelta(hours=2), multiple_outputs=False)
    def score() -> str:
        """Score the day with all models that serve or are tried, and write `monitoring/days/<day>.json`."""
        from bwpredict.monitoring.daily import monitor_day, summary

        settings, now = model.settings(Settings()), datetime.now(UTC)
        with one_line_errors():
            scored = monitor_day(
                open_store(settings.registry),
                open_store(settings.telemetry),
                day_to_score(get_current_context()),
                settings.work / "monitor",
                now=now,
            )
            print(summary(scored))
        return str(scored["day"])

    @task(task_display_name="Write the metrics", execution_timeout=timedelta(minutes=5), multiple_outputs=False)
    def metrics(day: str) -> None:
        """Write the day's metrics to `BWPREDICT_METRICS_FILE` and push them to `BWPREDICT_PUSHGATEWAY`, where set."""
        from bwpredict.monitoring.daily import publish_metrics

        settings = model.settings(Settings())
        with one_line_errors():
            if document := scored_day(settings, day):
                publish_metrics(document, settings.metrics_file, settings.pushgateway, model=model.name)

    @task(task_display_name="Report alarms", execution_timeout=timedelta(minutes=15), multiple_outputs=False)
    def tell(day: str) -> str:
        """Alert the people on call of a sustained drop, once while it lasts, and tell them when it is over."""
        from bwpredict.alerting import model_alarms

        context, settings = get_current_context(), model.settings(Settings())
        with one_line_errors():
            if document := scored_day(settings, day):
                store = open_store(settings.registry)
                link = run_url(settings, context["dag"].dag_id, context["run_id"])
                model_alarms.notify(store, settings.alert_urls.split(), document, link=link, now=datetime.now(UTC))
        return day

    @task(task_display_name="Announce", execution_timeout=timedelta(minutes=5), outlets=[event], multiple_outputs=False)
    def degraded(day: str) -> None:
        """Send the asset event `bandwidth_model_degraded` on the day an alarm begins; skipped on every other day."""
        with one_line_errors():
            document = scored_day(model.settings(Settings()), day)
        if not (document and document["alarm_began"]):
            raise AirflowSkipException(f"No alarm began on {day}.")
        get_current_context()["outlet_events"][event].extra = {
            "day": day,
            "version": document["production"]["version"],
            "alarms": [test["id"] for test in document["tests"] if test["alarm"]],
        }

    day = score()
    metrics(day)  # type: ignore[arg-type]
    degraded(tell(day))  # type: ignore[arg-type]


def day_to_score(context: Any) -> date:
    """The day that the run's form names, or else the day before the run."""
    given, run = context["params"]["day"], context["dag_run"]
    yesterday: date = (run.data_interval_start or run.run_after - timedelta(days=1)).date()
    return date.fromisoformat(given) if given else yesterday


def scored_day(settings: Settings, day: str) -> dict[str, Any] | None:
    """The document that `score` wrote; None: it is gone."""
    from bwpredict.monitoring.days import read_day

    return read_day(open_store(settings.registry), date.fromisoformat(day))


for each in read_models(Settings()):
    monitor_dag(each)
