"""The retraining run, one function for each arrow of the design: files in, files out.

Every step reads and writes the run's work area (one folder), so a step that is run again with the
same inputs writes the same outputs. Between steps only a `Reference` travels, and each step checks
that the file it was handed is the one that was written.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bwpredict.config import Pruner, RunConfig, Settings
from bwpredict.documents import read_document, write_document
from bwpredict.errors import GateRejected, ValidationFailed, WorkAreaError
from bwpredict.files import sha256_of, write_atomically
from bwpredict.registry.layout import DECISION_NAME, PROFILE_NAME, metadata_name, onnx_name
from bwpredict.runs import RUN, SNAPSHOT, read_run
from bwpredict.store import open_store

logger = logging.getLogger(__name__)

TELEMETRY = "telemetry"
VALIDATION = "validation"
VALIDATION_SHARDS = "validation_shards"
VALIDATION_RESULT = "validation.json"
MODEL_CARD = "model_card.html"
SUMMARY = "summary.md"
PUBLICATION = "publication.json"
CHAMPION = "champion"
STUDY = "study"


@dataclass(frozen=True)
class Reference:
    """A file in a run's work area, by path and checksum: small enough for an XCom."""

    path: str
    sha256: str


def plan(run: RunConfig, work: Path) -> Reference:
    """Make the run's work area `work / run.run_id` and write `run.json` into it.

    A run that is planned again keeps its version and its time: what the later steps wrote is named after them.
    """
    path = work.absolute() / run.run_id / RUN
    if path.is_file():
        before = read_run(path.parent)
        run = run.model_copy(update={"version": before.version, "created_at": before.created_at})
    write_atomically(path, run.model_dump_json(indent=2).encode())
    logger.info("run %s: month %s, version %s, code %s", run.run_id, run.month, run.version, run.code_version)
    return _refer(path)


def pull(plan: Reference) -> Reference:
    """Copy the months' telemetry into the work area and pin it: `telemetry/`, `snapshot.json`."""
    from bwpredict.telemetry import snapshot
    from bwpredict.telemetry.months import month_window

    area = _area(plan)
    run = read_run(area)
    start, end = month_window(run.month, run.history_months)
    snapshot.pull(open_store(run.telemetry), "", start, end, area)
    return _refer(area / SNAPSHOT)


def validate(snapshot: Reference) -> Reference:
    """Hold the snapshot against the suites, all its days here: as `plan_shards`, `check_shard` and `judge`."""
    return judge([check_shard(snapshot, days) for days in plan_shards(snapshot)])


def plan_shards(snapshot: Reference) -> list[list[str]]:
    """The snapshot's days (YYYY-MM-DD), dealt out to shards that can be checked one by one, anywhere."""
    from bwpredict.quality import shards

    area = _area(snapshot)
    return shards.plan_shards(area / TELEMETRY, read_document(area / SNAPSHOT, "snapshot"))


def check_shard(snapshot: Reference, days: list[str]) -> Reference:
    """Hold these days against the schema suite: `validation_shards/<first day>/`. What fails is written, not raised."""
    from bwpredict.quality import shards

    area = _area(snapshot)
    pinned = read_document(area / SNAPSHOT, "snapshot")
    folder = area / VALIDATION_SHARDS / (days[0] if days else "no days")
    path = shards.check_shard(area / TELEMETRY, pinned, days, folder)
    logger.info("%s", shards.summary_of(path))
    return _refer(path)


def label_of(shard: Reference) -> str:
    """In few words, what came of a shard: its days, and how many checks failed."""
    from bwpredict.quality import shards

    return shards.summary_of(Path(shard.path))


def judge(shards: list[Reference]) -> Reference:
    """Put the shards together, add drift since the champion: `validation/`, `validation.json`, `profile.json`.

    Raises:
        ValidationFailed: with a sentence for each failed expectation.
    """
    from bwpredict.quality import validation

    folders = [_area(shard) for shard in shards]
    area = folders[0].parent.parent
    run = read_run(area)
    before = None
    if version := _champion_version(run):
        before = read_document(_fetch_champion(run, area, version, PROFILE_NAME), "profile")
    pinned = read_document(area / SNAPSHOT, "snapshot")
    paths = [Path(shard.path) for shard in shards]
    result, measured = validation.judge(paths, pinned, before, area / VALIDATION)
    write_document(area / VALIDATION_RESULT, "validation", result)
    summary = validation.summary(result)
    if not result["passed"]:
        raise ValidationFailed(summary)
    logger.info("%s", summary)
    write_document(area / PROFILE_NAME, "profile", measured)
    return _refer(area / PROFILE_NAME)


def train(profile: Reference) -> Reference:
    """Fit the challenger on the snapshot's training part: `best_model.pth`, `history.json`, `training_history.png`."""
    from bwpredict import challenger

    area = _area(profile)
    run = read_run(area)
    champion = None
    if run.training.warm_start and (version := _champion_version(run)):
        champion = _fetch_champion(run, area, version, challenger.CHECKPOINT)
    return _refer(challenger.fit(area, challenger.cut(_frame(area), run), run, champion))


def export(checkpoint: Reference) -> Reference:
    """Write the challenger as ONNX and check it in a fresh process: `*.onnx`, `parity.json`, `latency.json`."""
    from bwpredict import challenger

    area = _area(checkpoint)
    run = read_run(area)
    snapshot_id = read_document(area / SNAPSHOT, "snapshot")["snapshot_id"]
    return _refer(challenger.export_onnx(area, challenger.cut(_frame(area), run), run, snapshot_id))


def compare(export: Reference) -> Reference:
    """Score champion, challenger and baselines on the same test windows: `comparison.json`, metadata, plots."""
    from bwpredict import challenger

    area = _area(export)
    run = read_run(area)
    champion = None
    if version := _champion_version(run):
        onnx, profile = (_fetch_champion(run, area, version, name) for name in (onnx_name(version), PROFILE_NAME))
        spans = read_document(profile, "profile")["link_spans"]
        links = frozenset((span["node_id"], span["peer_id"]) for span in spans)
        champion = challenger.Champion(version, onnx, links)
    challenger.evaluate(
        area, challenger.cut(_frame(area), run), run, read_document(area / SNAPSHOT, "snapshot"), champion
    )
    return _refer(area / challenger.COMPARISON)


def decide(comparison: Reference) -> Reference:
    """Apply the gate policy: `decision.json`, `model_card.html`, `summary.md`. A rejection is written, not raised."""
    from bwpredict import challenger, gate, judgement
    from bwpredict.reports.card import model_card
    from bwpredict.reports.summary import summary_markdown

    area = _area(comparison)
    run = read_run(area)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    decision = judgement.decide(area, run, run.policy, policy_origin=run.policy_origin, decided_at=now)
    decision = _first_decision(area, decision)
    write_document(area / DECISION_NAME, "decision", decision)
    compared = read_document(area / challenger.COMPARISON, "comparison")
    champion = area / CHAMPION / str(decision["champion_version"]) / PROFILE_NAME
    model_card(
        area / MODEL_CARD,
        run=run.model_dump(mode="json"),
        decision=decision,
        comparison=compared,
        history=read_document(area / challenger.HISTORY, "training_history"),
        snapshot=read_document(area / SNAPSHOT, "snapshot"),
        validation=read_document(area / VALIDATION_RESULT, "validation"),
        metadata=read_document(area / metadata_name(run.version), "model_metadata"),
        profile=read_document(area / PROFILE_NAME, "profile"),
        champion_profile=read_document(champion, "profile") if champion.is_file() else None,
        pictures=area,
    )
    write_atomically(area / SUMMARY, summary_markdown(decision, compared).encode())
    logger.info("%s", gate.summary(decision))
    return _refer(area / DECISION_NAME)


def publish(decision: Reference) -> Reference:
    """Publish the challenger with its provenance, if its decision says so: `provenance.json`, `publication.json`.

    Raises:
        GateRejected: the decision is a rejection, or the run is a dry run.
        ConflictError: production is no longer the champion that the decision was about.
    """
    from bwpredict.provenance.record import record
    from bwpredict.registry.publish import publish as publish_version

    area = _area(decision)
    run = read_run(area)
    document = read_document(area / DECISION_NAME, "decision")
    if not run.publishes:
        raise GateRejected(f"{run.version}: a dry run publishes nothing, nor does a back-fill unless it is asked to.")
    record(area, run.version, Settings())
    production = publish_version(
        open_store(run.registry),
        area,
        run.version,
        document,
        month=run.month,
        promoted_by=f"run {run.run_id}",
        now=datetime.now(UTC),
        allow_older=run.publish_past_months,
    )
    write_document(area / PUBLICATION, "production", production.document)
    logger.info("%s is in production at %s", production.version, run.registry)
    return _refer(area / PUBLICATION)


def announce(publication: Reference) -> dict[str, Any]:
    """Version and metrics of what was published, for those who wait for it."""
    from bwpredict.registry.announcement import announcement
    from bwpredict.registry.pointer import Production

    area = _area(publication)
    made = Production(**read_document(area / PUBLICATION, "production"))
    return announcement(open_store(read_run(area).registry), made)


def open_study(profile: Reference, name: str, pruner: Pruner) -> Reference:
    """Begin the search for hyperparameters on the snapshot, or take it up: `study/`, with `study.json` in it."""
    from bwpredict import tuning

    area = _area(profile)
    run = read_run(area)
    spec = tuning.StudySpec(
        name=name or f"tune_{run.version.removeprefix('v')}",
        training=run.training,
        split=run.split,
        pruner=pruner,
        telemetry=run.telemetry,
        snapshot_id=read_document(area / SNAPSHOT, "snapshot")["snapshot_id"],
        code_version=run.code_version,
        created_at=run.created_at,
    )
    return _refer(tuning.open_study(area / STUDY, spec).folder / tuning.SPEC)


def trial(study: Reference, trials: int) -> str:
    """Run one trial of the study, unless `trials` are finished or being run; returns what came of it, in few words."""
    from bwpredict import challenger, tuning

    folder = _area(study)
    opened = tuning.read_study(folder)
    split = challenger.cut(_frame(folder.parent), read_run(folder.parent))
    done = tuning.run_trial(opened, split, trials)
    if done is None:
        return f"nothing to do: {trials} trials are finished or being run by others"
    logger.info("%s", tuning.sentence(done))
    return tuning.label(done)


def propose(study: Reference, trials: int) -> Reference:
    """Write the study's best configuration into the work area and among the registry's proposals, for review.

    Raises:
        StudyError: not all trials are finished, or there is no result of the default configuration to compare with.
    """
    from bwpredict import training_file, tuning
    from bwpredict.training_proposal import write_proposal

    folder = _area(study)
    path = write_proposal(tuning.read_study(folder), trials, folder.parent)
    name = training_file.propose(open_store(read_run(folder.parent).registry), path)
    logger.info("%s waits for review; then: bwpredict tune approve %s", path.name, name)
    return _refer(path)


def _refer(path: Path) -> Reference:
    return Reference(str(path), sha256_of(path))


def _area(reference: Reference) -> Path:
    """The work area of a reference whose file is still the one that was written."""
    path = Path(reference.path)
    if not path.is_file():
        raise WorkAreaError(
            f"{path}: is not on this machine; every worker needs the same BWPREDICT_WORK folder,"
            " or else the file was deleted."
        )
    if sha256_of(path) != reference.sha256:
        raise WorkAreaError(f"{path}: is not the file that the step before wrote; clear that step to write it again.")
    return path.parent


def _frame(area: Path) -> Any:
    """The snapshot's telemetry, mapped from files of the area; refuses files that the snapshot does not describe."""
    from bwpredict.telemetry.frame_files import mapped_frame
    from bwpredict.telemetry.snapshot import check_content

    pinned = read_document(area / SNAPSHOT, "snapshot")
    check_content(pinned, area / TELEMETRY)
    return mapped_frame(area / TELEMETRY, area, pinned["telemetry_sha256"])


def _champion_version(run: RunConfig) -> str | None:
    """What the challenger has to beat: production, or what was before it if this very run put it there.

    A back-fill that does not publish has to beat what its month's run would have met, and not a model of later months.
    """
    from bwpredict.registry.history import champion_of_month, read_history
    from bwpredict.registry.production import read_production

    store = open_store(run.registry)
    production = read_production(store)
    if production is None:
        return None
    if run.backfill and not run.publishes:
        return champion_of_month(read_history(store), run.month)
    return production.previous if production.version == run.version else production.version


def _fetch_champion(run: RunConfig, area: Path, version: str, name: str) -> Path:
    """A verified copy of one of the champion's files, in the work area."""
    from bwpredict.registry.versions import fetch

    (path,) = fetch(open_store(run.registry), version, [name], area / CHAMPION / version)
    return path


def _first_decision(area: Path, decision: dict[str, Any]) -> dict[str, Any]:
    """The decision as it was first taken, if taking it again gave the same: then nothing changes, not even the time."""
    path = area / DECISION_NAME
    if path.is_file():
        before = read_document(path, "decision")
        if before | {"decided_at": None} == decision | {"decided_at": None}:
            return before
    return decision
