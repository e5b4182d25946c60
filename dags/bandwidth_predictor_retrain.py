"""### Retrain the DWCP bandwidth predictor, once a month

Reads a month of link telemetry, validates it, trains a challenger, and publishes it **only** if it passes
the gate against the model in production.

| a run that is | means |
| --- | --- |
| green | a new model is in production; if `publish` was skipped, production is unchanged (dry run, or `keep`) |
| red at `validate` | the telemetry failed validation; nothing was trained |
| red at `decide` | the challenger was rejected; production is unchanged |
| waiting at `approve` | the run needs a person's approval, under Required Actions |
| red at `approve` | a person refused, or nobody answered in time; production is unchanged |
| red elsewhere | an error; the task's log ends with the reason |

A run writes into its work area, `$BWPREDICT_WORK/<run id>/`: Data Docs in `validation/data_docs/`,
`decision.json`, `model_card.html`. A failed run sends one alert to the URLs in `BWPREDICT_ALERT_URLS`,
unless the same alert was sent in the last week; the next green run reports that it has recovered.

Each run's note gives its verdict; Models in the navigation shows versions, accuracy and checks. If a run takes
longer than 30 hours, an alert is sent.

Unpausing this DAG starts nothing: the next run starts when the current month is over. To train on an earlier month,
press Trigger and choose it. To train on several past months, run a back-fill: each month is compared with the champion
of its time, and published **only** if Publish past months is on.

If two runs train for the same month, the second skips `publish` when telemetry, configuration and code are the same,
or when the first published after the second had compared; its log names the version in production.

If the file `BWPREDICT_MODELS` defines several models, each has its own DAG: this one is for `default`,
`bandwidth_predictor_retrain__<name>` for the model of that name.
"""

from copy import copy
from datetime import timedelta
from functools import partial

from airflow.sdk import DAG, Asset, Param, TaskGroup, get_current_context, task
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert
from bwpredict_airflow.approval import Approval, params_of_the_run
from bwpredict_airflow.deadline import RunCreated, send_deadline_alert
from bwpredict_airflow.default_args import DAG_DEFAULTS, display_name
from bwpredict_airflow.extra_links import DataDocsLink, RegistryLink, ReportLink, add_links
from bwpredict_airflow.lineage import emit_lineage
from bwpredict_airflow.notifier import RecoveryNotifier
from bwpredict_airflow.params import (
    HISTORY_MONTHS,
    MONTH,
    PUBLISH_PAST_MONTHS,
    flag,
    month_param,
    optional,
    text,
    training_param,
)
from bwpredict_airflow.step_tasks import plan_run, run_step, validate_in_shards
from bwpredict_airflow.task_errors import (
    DECISION_KEY,
    one_line_errors,
    skip_unless_to_publish,
    stop_on_reject,
)
from bwpredict_airflow.timetable import UpcomingCronTimetable

from bwpredict.config import Settings
from bwpredict.documents import read_document
from bwpredict.gate.policies import DEFAULT, policy_names
from bwpredict.pipeline import steps
from bwpredict.pipeline.model_catalog import NamedModel, read_models
from bwpredict.pipeline.run_config import gate_overrides_schema
from bwpredict.workspace.references import Reference, local_file

TRAINING, ELSEWHERE, GATE, OVERRIDES = (
    f"Advanced: {section}" for section in ("training", "model trained elsewhere", "gate", "overrides")
)
ONNX_FILE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.onnx$"

PARAMS = {
    "month": MONTH,
    "dry_run": flag("Dry run", "Stop after the decision and publish nothing."),
    "policy": text(
        "Gate policy",
        "What the challenger must reach. guide: the training guide's figures, and skill. relative: skill over the best "
        "simple baseline, no worse than the champion. Others come from the folder $BWPREDICT_POLICIES.",
        default=DEFAULT,
        enum=policy_names(Settings().policies),
    ),
    "human_approval": flag(
        "Human approval",
        "Before publishing, wait for a person's approval (menu: Required Actions). No answer is a refusal.",
    ),
    "history_months": HISTORY_MONTHS,
    "architecture": training_param(
        "architecture",
        "Architecture",
        "compact: one LSTM layer of 96 units. guide: the training guide's layers, LSTM 256, 128 and 64, for large "
        "fleets on a GPU.",
    ),
    "epochs": training_param("epochs", "Max epochs", "Training ends earlier when the validation loss stops falling."),
    "windows_per_epoch": training_param(
        "windows_per_epoch",
        "Windows for each epoch",
        "Training windows drawn at random for each epoch; time grows with epochs times windows.",
    ),
    "seed": training_param("seed", "Seed", "The same telemetry, code and seed give the same model."),
    "training_config": text(
        "Training configuration",
        "Hyperparameters: an approved name (`bwpredict tune approve`), or the path of a YAML file. Empty: the "
        "defaults. The other fields of this form take precedence.",
        maxLength=1000,
        section=TRAINING,
    ),
    "challenger_model": text(
        "Model to judge",
        "Judge this model, trained elsewhere, instead of training one: the name of an ONNX file in `challengers/` of "
        "the registry's store.",
        pattern=ONNX_FILE,
        section=ELSEWHERE,
    ),
    "challenger_stream": text(
        "Its model for streams",
        "The same model for consumers that keep a state for each link: an ONNX file in the same folder. Empty: it has "
        "none.",
        pattern=ONNX_FILE,
        section=ELSEWHERE,
    ),
    "trained_through": text(
        "Trained through",
        "Last day (YYYY-MM-DD, UTC) that its training, validation or scaling saw, or `never`. If neither this nor the "
        "file's property `trained_through` states it, nothing is published.",
        pattern=r"^(never|\d{4}-\d{2}-\d{2})$",
        section=ELSEWHERE,
    ),
    "trained_on": text(
        "Trained on",
        "What it was trained on, in your words: the model card and the provenance show it.",
        maxLength=500,
        section=ELSEWHERE,
    ),
    "gate_overrides": Param({}, **gate_overrides_schema(), title="Gate overrides", section=GATE),
    "approval_hours": optional(
        "number",
        "Hours to approve",
        "Without an answer by then, nothing is published.",
        default=12,
        exclusiveMinimum=0,
        maximum=24,
        section=GATE,
    ),
    "force_bootstrap": flag(
        "Force bootstrap",
        "Judge the challenger by the absolute checks alone, even if there is a model in production.",
        section=OVERRIDES,
    ),
    "accept_telemetry": flag(
        "Accept telemetry that fails validation",
        "Train on the telemetry even if it fails validation. The failed checks stay on record.",
        section=OVERRIDES,
    ),
    "override_reason": text(
        "Reason for an override",
        "Required for a forced bootstrap and for accepted telemetry. The model card, the history and the provenance "
        "show it with your name.",
        maxLength=500,
        section=OVERRIDES,
    ),
    "publish_past_months": PUBLISH_PAST_MONTHS,
}


def retrain_dag(model: NamedModel) -> None:
    """The DAG of one model."""
    with DAG(
        dag_id=model.named("bandwidth_predictor_retrain"),
        dag_display_name=display_name("retrain", model.name),
        schedule=UpcomingCronTimetable(model.schedule, timezone="UTC") if model.schedule else None,
        dagrun_timeout=timedelta(hours=60),
        params=params_with_defaults(model),
        **DAG_DEFAULTS,
        on_success_callback=RecoveryNotifier(),
        deadline=DeadlineAlert(
            reference=RunCreated(),
            interval=timedelta(hours=30),
            callback=AsyncCallback(send_deadline_alert),
            name="the month's model is late",
        ),
        description="Telemetry to validated, gated, published model, once a month",
        doc_md=__doc__,
        tags=["bandwidth", "training", model.name],
    ):
        build_tasks(model)


def params_with_defaults(model: NamedModel) -> dict[str, Param]:
    """The form, filled in as the model's entry says, with the months of its telemetry."""
    params = {name: copy(param) for name, param in PARAMS.items()}
    params["month"] = month_param(model.settings(Settings()).telemetry)
    for name in params.keys() & model.defaults.keys():
        params[name].value = model.defaults[name]
    return params


@task(task_display_name="Snapshot telemetry", execution_timeout=timedelta(hours=2), multiple_outputs=False)
def snapshot(plan: dict[str, str]) -> dict[str, str]:
    """Copy the telemetry of the run's months into the work area and pin every object that was read.

    Writes `telemetry/` and `snapshot.json`: keys, sizes, checksums, row counts.
    """
    return run_step(steps.snapshot, plan)


@task(
    task_display_name="Train challenger",
    queue="gpu",
    pool="gpu",
    priority_weight=100,
    weight_rule="absolute",
    execution_timeout=timedelta(hours=12),
    multiple_outputs=False,
)
def train(profile: dict[str, str]) -> dict[str, str]:
    """Fit the challenger on the training part of the snapshot. Runs on queue `gpu`, in pool `gpu`.

    It goes before any trial of a search that waits for the same worker. One line of log for each epoch, with
    the time that is left. Writes `best_model.pth`, `history.json`. With Model to judge, the file is brought here
    instead of a training: `imported_model.json`.
    """
    return run_step(steps.train, profile)


@task(task_display_name="Export to ONNX", execution_timeout=timedelta(minutes=30), multiple_outputs=False)
def export(checkpoint: dict[str, str]) -> dict[str, str]:
    """Write the challenger as ONNX, and check it in a fresh process: agreement with torch, bounds, latency.

    A model trained elsewhere is checked as it is; it has no torch to agree with.
    """
    return run_step(steps.export, checkpoint)


@task(task_display_name="Compare with champion", execution_timeout=timedelta(hours=2), multiple_outputs=False)
def compare(model: dict[str, str]) -> dict[str, str]:
    """Score challenger, champion and the naive baselines on the same test windows, from their ONNX files.

    Writes `comparison.json` and the plots.
    """
    return run_step(steps.compare, model)


@task(task_display_name="Decide", execution_timeout=timedelta(minutes=15), multiple_outputs=False)
def decide(comparison: dict[str, str]) -> dict[str, str]:
    """Apply the gate policy: every check with its value, threshold and verdict. Writes `decision.json`.

    **Red here: the challenger was rejected**, because it is shown to be worse or something is broken; production
    is unchanged, and the log and the XCom `decision` say why. A challenger that is neither shown to be as good as
    the champion nor shown to be worse leaves production as it is: green here, and `publish` is skipped.

    The model card (`model_card.html`) has the whole picture.
    """
    written = run_step(steps.decide, comparison)
    decision = read_document(local_file(Reference(**written)), "decision")
    get_current_context()["ti"].xcom_push(DECISION_KEY, {key: decision[key] for key in ("outcome", "reason")})
    stop_on_reject(decision)
    return written


def build_tasks(model: NamedModel) -> None:
    """The tasks of a run; each hands the next one a path and a checksum."""
    asset = Asset(model.named("bandwidth_model"))

    @task(task_display_name="Plan", execution_timeout=timedelta(minutes=5), multiple_outputs=False)
    def plan() -> dict[str, str]:
        """Fix what this run is: month, history, training and gate policy, version. Writes `run.json`.

        Fails at once, without a retry, when a param cannot be used.
        """
        context = get_current_context()
        params = {**params_of_the_run(context["params"]), "backfill": context["dag_run"].run_type == "backfill"}
        return plan_run(params, model.settings(Settings()), model)

    @task(task_display_name="Publish", execution_timeout=timedelta(minutes=30), outlets=[asset], multiple_outputs=False)
    def publish(decision: dict[str, str]) -> dict[str, str]:
        """Copy the model into the registry, verify it there, and point production at it (compare-and-swap).

        Sends the asset event `bandwidth_model`, with version and metrics, when the new model is in production.
        Skipped when production stays, in a dry run, and in a back-fill that is not to publish.
        """
        context = get_current_context()
        skip_unless_to_publish(context)
        published = run_step(steps.publish, decision)
        with one_line_errors():
            context["outlet_events"][asset].extra = steps.announce(Reference(**published))
        emit_lineage(published)
        return published

    group = partial(TaskGroup, prefix_group_id=False)
    planned = plan()
    with group("telemetry", group_display_name="Telemetry", tooltip="Read the month and check it"):
        checked = validate_in_shards(snapshot(planned))  # type: ignore[arg-type]
    with group("challenger", group_display_name="Challenger", tooltip="Train and export the challenger"):
        exported = export(train(checked))  # type: ignore[arg-type]
    with group("evaluation", group_display_name="Evaluation", tooltip="Compare with production and decide"):
        decided = decide(compare(exported))  # type: ignore[arg-type]
        approved = Approval(
            task_id="approve",
            task_display_name="Approve",
            decision=decided,
            execution_timeout=timedelta(minutes=5),
            response_timeout=timedelta(hours=24),
            retry_delay=timedelta(seconds=30),  # An answer within a second of the question fails it in Airflow 3.3.2.
            doc_md=Approval.__doc__,
        )
    published = publish(approved.output)  # type: ignore[arg-type]
    add_links(checked, DataDocsLink())
    add_links(decided, ReportLink())
    add_links(published, RegistryLink(), ReportLink())


for each in read_models(Settings()):
    retrain_dag(each)
