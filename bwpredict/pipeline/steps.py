"""Pipeline steps; each reads and writes files of the run's workspace.

Every step reads and writes the run's work area (one folder), so a step that is run again with the
same inputs writes the same outputs. Between steps only a `Reference` travels, and each step checks
that the file it was handed is the one that was written. Where machines do not share the folder, each step
begins with an area that is up to date, and ends with sending what it changed: see `workspace.areas`.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bwpredict.config import IMPORTED_PATHS, Pruner, RunConfig, Settings
from bwpredict.core.progress_bar import track
from bwpredict.documents import read_document, write_document
from bwpredict.errors import BwPredictError, ConflictError, GateRejected, ValidationFailed
from bwpredict.gate import decision as gate_decision
from bwpredict.gate.overrides import publication_reason
from bwpredict.pipeline import twins
from bwpredict.pipeline.run_history import attempt_at_month
from bwpredict.registry.history import champion_of_month, earlier_champions, read_history
from bwpredict.registry.layout import (
    DECISION_NAME,
    LINK_ACCURACY_NAME,
    PROFILE_NAME,
    metadata_name,
    onnx_name,
    stream_onnx_name,
)
from bwpredict.registry.pointer import Production, read_production
from bwpredict.registry.publish import publish as publish_version
from bwpredict.registry.versions import fetch, read_manifest
from bwpredict.store.factory import open_store
from bwpredict.store.files import write_atomically
from bwpredict.telemetry.months import month_window
from bwpredict.workspace import areas
from bwpredict.workspace.artifacts import (
    APPROVAL,
    CHAMPION,
    CHECKPOINT,
    COMPARISON,
    HISTORY,
    MODEL_CARD,
    PUBLICATION,
    RUN,
    SNAPSHOT,
    STUDY,
    SUMMARY,
    TELEMETRY,
    VALIDATION,
    VALIDATION_RESULT,
    VALIDATION_SHARDS,
    read_past_run,
    read_run,
)
from bwpredict.workspace.references import Reference, local_file, make_reference, open_workspace

if TYPE_CHECKING:
    from bwpredict.pipeline import challenger

logger = logging.getLogger(__name__)


def plan(run: RunConfig, work: Path) -> Reference:
    """Make the run's work area `work / run.run_id` and write `run.json` into it.

    A run that is planned again keeps its version and its time: what the later steps wrote is named after them.
    """
    path = work.absolute() / run.run_id / RUN
    with areas.workspace_lock(path.parent):
        if path.is_file():
            before = read_past_run(path.parent)
            run = run.model_copy(update={"version": before.version, "created_at": before.created_at})
        write_atomically(path, run.model_dump_json(indent=2).encode())
    logger.info("run %s: month %s, version %s, code %s", run.run_id, run.month, run.version, run.code_version)
    return make_reference(path)


def snapshot(plan: Reference) -> Reference:
    """Copy the months' telemetry into the work area and pin it: `telemetry/`, `snapshot.json`."""
    from bwpredict.telemetry.snapshot import take_snapshot

    with open_workspace(plan) as area:
        run = read_run(area)
        start, end = month_window(run.month, run.history_months)
        take_snapshot(open_store(run.telemetry), "", start, end, area)
        return make_reference(area / SNAPSHOT)


def validate(snapshot: Reference) -> Reference:
    """Check all days of the snapshot in this process: `plan_shards`, `check_shard`, `aggregate_validation`."""
    shards = plan_shards(snapshot)
    checked = track(shards, "Validating", "shards", len(shards))
    return aggregate_validation([check_shard(snapshot, days) for days in checked])


def plan_shards(snapshot: Reference) -> list[list[str]]:
    """The snapshot's days (YYYY-MM-DD), split into shards that any worker can check."""
    from bwpredict.validation import shards

    with open_workspace(snapshot) as area:
        pinned, engine = read_document(area / SNAPSHOT, "snapshot"), Settings().validation_engine
        return shards.plan_shards(area / TELEMETRY, pinned, engine=engine)


def check_shard(snapshot: Reference, days: list[str]) -> Reference:
    """Check these days with the schema suite: `validation_shards/<first day>/`. Failures are written, not raised."""
    from bwpredict.validation import shards

    part = f"{VALIDATION_SHARDS}/{days[0] if days else 'no days'}"
    with open_workspace(snapshot, part=part) as area:
        pinned, engine = read_document(area / SNAPSHOT, "snapshot"), Settings().validation_engine
        path = shards.check_shard(area / TELEMETRY, pinned, days, area / part, engine=engine)
        logger.info("%s", shards.shard_summary(path))
        return make_reference(path)


def shard_label(shard: Reference) -> str:
    """A shard's result, in short: its days, and how many checks failed."""
    from bwpredict.validation import shards

    return shards.shard_summary(areas.local_path(shard.path))


def aggregate_validation(shards: list[Reference]) -> Reference:
    """Put the shards together, add drift since the champion: `validation/`, `validation.json`, `profile.json`.

    Raises:
        ValidationFailed: with a sentence for each failed expectation, unless the run accepts them.
    """
    from bwpredict.validation import result as validation_result
    from bwpredict.validation import verdict

    with open_workspace(*shards, depth=3) as area:
        run = read_run(area)
        before = None
        if version := _champion_version(run):
            before = read_document(_fetch_champion(run, area, version, PROFILE_NAME), "profile")
        pinned = read_document(area / SNAPSHOT, "snapshot")
        paths = [areas.local_path(shard.path) for shard in shards]
        result, measured = verdict.aggregate_shards(paths, pinned, before, area / VALIDATION)
        write_document(area / VALIDATION_RESULT, "validation", result)
        summary = validation_result.summary(result)
        if not result["passed"] and not run.accept_telemetry:
            raise ValidationFailed(summary)
        logger.info("%s", summary)
        if not result["passed"]:
            who = run.requested_by or "a person"
            logger.warning("The run continues, since %s accepts this: %s", who, run.override_reason)
        write_document(area / PROFILE_NAME, "profile", measured)
        return make_reference(area / PROFILE_NAME)


def train(profile: Reference) -> Reference:
    """Fit the challenger on the snapshot's training part: `best_model.pth`, `history.json`, `training_history.png`.

    A run that judges a model trained elsewhere brings its file into the work area instead: `imported_model.json`.
    """
    from bwpredict.pipeline import challenger, imported_model

    with open_workspace(profile) as area:
        run = read_run(area)
        if run.imported:
            split = challenger.read_split(area, run)
            return make_reference(imported_model.import_model(area, split, run, run.imported))
        champion = None
        if run.training.warm_start and (version := _champion_version(run)):
            champion = _fetch_if_published(run, area, version, CHECKPOINT)
        return make_reference(challenger.fit(area, challenger.read_split(area, run), run, champion))


def export(checkpoint: Reference) -> Reference:
    """Write the challenger as ONNX and check it in a fresh process: `*.onnx`, `parity.json`, `latency.json`."""
    from bwpredict.pipeline import challenger

    with open_workspace(checkpoint) as area:
        run = read_run(area)
        if run.imported:
            return make_reference(challenger.check_imported(area, challenger.read_split(area, run), run))
        snapshot_id = read_document(area / SNAPSHOT, "snapshot")["snapshot_id"]
        return make_reference(challenger.export_onnx(area, challenger.read_split(area, run), run, snapshot_id))


def compare(export: Reference) -> Reference:
    """Score champion, challenger and baselines on the same test windows: `comparison.json`, metadata, plots."""
    from bwpredict.pipeline import challenger

    with open_workspace(export) as area:
        run = read_run(area)
        version = _champion_version(run)
        champion = _champion(run, area, version) if version else None
        pinned = read_document(area / SNAPSHOT, "snapshot")
        challenger.evaluate(area, challenger.read_split(area, run), run, pinned, champion)
        return make_reference(area / COMPARISON)


def decide(comparison: Reference) -> Reference:
    """Apply the gate policy: `decision.json`, `model_card.html`, `summary.md`. A rejection is written, not raised."""
    from bwpredict.pipeline import decision as pipeline_decision
    from bwpredict.reports.summary import summary_markdown

    with open_workspace(comparison) as area:
        run = read_run(area)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        decision = pipeline_decision.decide_promotion(
            area,
            run,
            run.policy,
            policy_origin=run.policy_origin,
            decided_at=now,
            attempt=attempt_at_month(area.parent, run),
        )
        decision = _first_decision(area, decision)
        write_document(area / DECISION_NAME, "decision", decision)
        compared = read_document(area / COMPARISON, "comparison")
        _write_model_card(area, run, decision, compared)
        write_atomically(area / SUMMARY, summary_markdown(decision, compared).encode())
        logger.info("%s", gate_decision.summary(decision))
        if run.publishes:
            _push_decision(decision, run.model_name)
        return make_reference(area / DECISION_NAME)


def _push_decision(decision: dict[str, Any], model: str) -> None:
    """To the Pushgateway, where one is set. One that does not answer changes no decision."""
    from bwpredict.monitoring.prometheus import push_decision

    if gateway := Settings().pushgateway:
        try:
            push_decision(decision, gateway, model=model)
        except BwPredictError as error:
            logger.warning("%s", error)


def _write_model_card(area: Path, run: RunConfig, decision: dict[str, Any], compared: dict[str, Any]) -> None:
    from bwpredict.evaluation.by_link import read_accuracy
    from bwpredict.reports.model_card import model_card

    champion = area / CHAMPION / str(decision["champion_version"]) / PROFILE_NAME
    links = area / LINK_ACCURACY_NAME
    model_card(
        area / MODEL_CARD,
        run=run.model_dump(mode="json", exclude={"imported": IMPORTED_PATHS}),
        decision=decision,
        comparison=compared,
        history=None if run.imported else read_document(area / HISTORY, "training_history"),
        snapshot=read_document(area / SNAPSHOT, "snapshot"),
        validation=read_document(area / VALIDATION_RESULT, "validation"),
        metadata=read_document(area / metadata_name(run.version), "model_metadata"),
        profile=read_document(area / PROFILE_NAME, "profile"),
        champion_profile=read_document(champion, "profile") if champion.is_file() else None,
        pictures=area,
        links=read_accuracy(links.read_bytes(), links.name) if links.is_file() else None,
    )


def approve(decision: Reference, approved_by: str) -> Reference:
    """Record who approved the publication: `approval.json`. Returns `decision`."""
    with open_workspace(decision) as area:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        write_document(area / APPROVAL, "approval", {"approved_by": approved_by, "approved_at": at})
        return decision


def publish(decision: Reference) -> Reference:
    """Publish the challenger with its provenance, if its decision says so: `provenance.json`, `publication.json`.

    Raises:
        GateRejected: the decision is a rejection, or the run is a dry run.
        AlreadyPublishedError: another run published a model of the same month meanwhile, or the same model.
        ConflictError: production is no longer the champion that the decision was about.
    """
    from bwpredict.provenance.record import record

    with open_workspace(decision) as area:
        run = read_run(area)
        document = read_document(area / DECISION_NAME, "decision")
        if not run.publishes:
            raise GateRejected(f"{run.version}: dry runs publish nothing, and back-fills only if asked to.")
        approval = read_document(area / APPROVAL, "approval") if (area / APPROVAL).is_file() else None
        record(area, run.version, Settings())
        store, champion = open_store(run.registry), document["champion_version"]
        twins.require_no_twin(store, area, run, champion)
        try:
            production = publish_version(
                store,
                area,
                run.version,
                document,
                month=run.month,
                promoted_by=f"run {run.run_id}",
                reason=publication_reason(document, approval),
                now=datetime.now(UTC),
                allow_older=run.publish_past_months,
            )
        except ConflictError:
            twins.refuse_if_overtaken(store, run, champion)
            raise
        write_document(area / PUBLICATION, "production", production.document)
        logger.info("%s is in production at %s", production.version, run.registry)
        return make_reference(area / PUBLICATION)


def announce(publication: Reference) -> dict[str, Any]:
    """Version and metrics of what was published, for those who wait for it."""
    from bwpredict.registry_views.overview import announcement

    made = Production(**read_document(local_file(publication), "production"))
    return announcement(open_store(read_run(local_file(publication, RUN).parent).registry), made)


def open_study(profile: Reference, name: str, pruner: Pruner) -> Reference:
    """Begin the search for hyperparameters on the snapshot, or take it up: `study/`, with `study.json` in it."""
    from bwpredict.tuning import study as tuning_study

    with open_workspace(profile) as area:
        run = read_run(area)
        spec = tuning_study.StudySpec(
            name=name or f"tune_{run.version.removeprefix('v')}",
            training=run.training,
            split=run.split,
            pruner=pruner,
            telemetry=run.telemetry,
            snapshot_id=read_document(area / SNAPSHOT, "snapshot")["snapshot_id"],
            code_version=run.code_version,
            created_at=run.created_at,
        )
        return make_reference(tuning_study.open_study(area / STUDY, spec).folder / tuning_study.SPEC)


def trial(study: Reference, trials: int) -> str:
    """Run one trial of the study, unless `trials` are finished or being run; returns its result, in short.

    Raises:
        OvertakenError: machines that share their work areas by a store ran trials at the same time; try again.
    """
    from bwpredict.pipeline import challenger
    from bwpredict.tuning import study as tuning_study

    with open_workspace(study, depth=2, part=STUDY, exclusive=True) as area:
        opened = tuning_study.read_study(area / STUDY)
        done = tuning_study.run_trial(opened, challenger.read_split(area, read_run(area)), trials)
    if done is None:
        return f"nothing to do: {trials} trials are finished or being run by others"
    logger.info("%s", tuning_study.sentence(done))
    return tuning_study.label(done)


def propose(study: Reference, trials: int) -> Reference:
    """Write the study's best configuration into the work area and among the registry's proposals, for review.

    Raises:
        StudyError: not all trials are finished, or there is no result of the default configuration to compare with.
    """
    from bwpredict.tuning import config_files
    from bwpredict.tuning import study as tuning_study
    from bwpredict.tuning.proposal import write_proposal

    with open_workspace(study, depth=2) as area:
        path = write_proposal(tuning_study.read_study(area / STUDY), trials, area)
        name = config_files.propose(open_store(read_run(area).registry), path)
        logger.info("%s waits for review; then: bwpredict tune approve %s", path.name, name)
        return make_reference(path)


def _champion_version(run: RunConfig) -> str | None:
    """What the challenger has to beat: production, or what was before it if this very run put it there.

    A back-fill that does not publish has to beat what its month's run would have met, and not a model of later months.
    """
    store = open_store(run.registry)
    production = read_production(store)
    if production is None:
        return None
    if run.backfill and not run.publishes:
        return champion_of_month(read_history(store), run.month)
    return production.previous if production.version == run.version else production.version


def _fetch_champion(run: RunConfig, area: Path, version: str, name: str) -> Path:
    """A verified copy of one of the champion's files, in the work area."""
    (path,) = fetch(open_store(run.registry), version, [name], area / CHAMPION / version)
    return path


def _fetch_if_published(run: RunConfig, area: Path, version: str, name: str) -> Path | None:
    """As `_fetch_champion`; None where the version has no such file."""
    published = read_manifest(open_store(run.registry), version).sha256
    return _fetch_champion(run, area, version, name) if name in published else None


def _read_metadata(run: RunConfig, area: Path, version: str) -> dict[str, Any]:
    return read_document(_fetch_champion(run, area, version, metadata_name(version)), "model_metadata")


def _champion(run: RunConfig, area: Path, version: str) -> challenger.Champion:
    """The champion, and those that served before it, as `evaluate` needs them: verified copies of their files."""
    from bwpredict.pipeline.anchor import MOST_CHAMPIONS, EarlierChampion
    from bwpredict.pipeline.challenger import Champion
    from bwpredict.pipeline.seen_days import days_seen

    metadata, links = _read_metadata(run, area, version), None
    if "trained_elsewhere" not in metadata:
        spans = read_document(_fetch_champion(run, area, version, PROFILE_NAME), "profile")["link_spans"]
        links = frozenset((span["node_id"], span["peer_id"]) for span in spans)
    earlier = earlier_champions(read_history(open_store(run.registry)), version, MOST_CHAMPIONS)
    return Champion(
        version,
        _fetch_champion(run, area, version, onnx_name(version)),
        stream=_fetch_if_published(run, area, version, stream_onnx_name(version)),
        links=links,
        seen=days_seen(metadata),
        absent_targets=tuple(metadata["performance_metrics"]["absent_targets"]),
        earlier={
            name: EarlierChampion(
                _fetch_champion(run, area, name, onnx_name(name)), days_seen(_read_metadata(run, area, name))
            )
            for name in earlier
        },
    )


def _first_decision(area: Path, decision: dict[str, Any]) -> dict[str, Any]:
    """The decision as it was first taken, if taking it again gave the same: then nothing changes, not even the time."""
    path = area / DECISION_NAME
    if path.is_file():
        before = read_document(path, "decision")
        if before | {"decided_at": None} == decision | {"decided_at": None}:
            return before
    return decision
