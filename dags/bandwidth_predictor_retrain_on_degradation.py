"""### Retrain when the production model has degraded

Runs when `bandwidth_predictor_monitor` sends the asset event `bandwidth_model_degraded`, and triggers
`bandwidth_predictor_retrain` on the month of that day and the one before it. The gate decides as for any run. The
run is named after the day (`degraded__2026-11-04`), so a repeated event or a retried task starts no second run.

The DAG is paused by default. Unpause it to let the monitor start retrainings automatically.
"""

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset
from bwpredict_airflow.default_args import DAG_DEFAULTS, display_name

from bwpredict.config import Settings
from bwpredict.pipeline.model_catalog import NamedModel, read_models

DAY = "(triggering_asset_events.values() | first | last).extra['day']"


def answering_dag(model: NamedModel) -> None:
    """The DAG of one model: one task, which triggers that model's retraining."""
    with DAG(
        dag_id=model.named("bandwidth_predictor_retrain_on_degradation"),
        dag_display_name=display_name("retrain on degradation", model.name),
        schedule=[Asset(model.named("bandwidth_model_degraded"))],
        dagrun_timeout=timedelta(hours=1),
        is_paused_upon_creation=True,
        **DAG_DEFAULTS,
        description="A retraining when monitoring finds a sustained drop",
        doc_md=__doc__,
        tags=["bandwidth", "monitoring", model.name],
    ):
        TriggerDagRunOperator(
            task_id="retrain",
            trigger_dag_id=model.named("bandwidth_predictor_retrain"),
            trigger_run_id=f"degraded__{{{{ {DAY} }}}}",
            skip_when_already_exists=True,
            fail_when_dag_is_paused=True,
            conf={"month": f"{{{{ {DAY}[:7] }}}}", "history_months": 2},
            execution_timeout=timedelta(minutes=10),
            doc_md="Trigger `bandwidth_predictor_retrain` with the month of the day on which the alarm began, "
            "and one month before it. Skipped where a run for that day is there already; red where the DAG is paused, "
            "so that the run does not start when somebody unpauses it.",
        )


for each in read_models(Settings()):
    answering_dag(each)
