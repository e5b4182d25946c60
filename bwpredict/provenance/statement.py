"""The in-toto statement of a version, with SLSA's provenance predicate: inputs by digest, code, lock, builder.

Formats: https://in-toto.io/Statement/v1 and https://slsa.dev/provenance/v1. A pure function of the files of the
run and of its documents, so a retry writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bwpredict.documents import read_document
from bwpredict.registry.layout import DECISION_NAME, metadata_name
from bwpredict.store.files import sha256_of
from bwpredict.workspace.artifacts import APPROVAL

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:bwpredict:retrain:v1"
"""What kind of build `externalParameters` belong to: one run of bwpredict's retraining."""
BUILD_TYPE_JUDGED = "urn:bwpredict:judge:v1"
"""A run that trained nothing: it judged a model trained elsewhere on the telemetry, and published the file as it is."""
PARAMETERS = ("version", "month", "history_months", "telemetry", "registry", "quantize", "training", "split", "policy")
"""Fields of the run's configuration that decide the result."""
_OF_TRAINING = ("quantize", "training")


def statement(folder: Path, version: str, names: Sequence[str], *, builder: str) -> dict[str, Any]:
    """The statement about the files `names` of `version` in the run's work area `folder`.

    `builder` is a URI for what ran it. The telemetry's objects are named by their ETags, which only a local folder
    makes a digest, so the rows that were read are named too, by the sha256 of each day.

    Raises:
        DocumentError: a document that the statement is made from is not valid.
    """
    metadata = read_document(folder / metadata_name(version), "model_metadata")
    snapshot = read_document(folder / "snapshot.json", "snapshot")
    decision = read_document(folder / DECISION_NAME, "decision")
    run, elsewhere = metadata["run"], metadata.get("trained_elsewhere")
    decisive = [name for name in PARAMETERS if not (elsewhere and name in _OF_TRAINING)]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": sha256_of(folder / name)}} for name in names],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE_JUDGED if elsewhere else BUILD_TYPE,
                "externalParameters": {name: run[name] for name in decisive},
                "internalParameters": {"environment": metadata["environment"], "people": _people(folder, decision)},
                "resolvedDependencies": [
                    *_elsewhere(elsewhere),
                    *_telemetry(snapshot),
                    *_software(metadata),
                    *_champion(decision),
                ],
            },
            "runDetails": {
                "builder": {"id": builder},
                "metadata": {
                    "invocationId": run["run_id"],
                    "startedOn": run["created_at"],
                    "finishedOn": decision["decided_at"],
                },
            },
        },
    }


def _elsewhere(model: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The files of a model trained elsewhere, with what somebody states of its training."""
    if not model:
        return []
    told = {key: model[key] for key in ("trained_through", "trained_on", "stated_by", "imported_by")}
    return [
        {
            "name": f"model trained elsewhere: {file['name']}",
            "digest": {"sha256": file["sha256"]},
            "annotations": told,
        }
        for file in (model, model.get("stream"))
        if file
    ]


def _telemetry(snapshot: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was read: each object as the store named it, and the rows that came out, day by day."""
    objects = [
        {
            "name": "telemetry",
            "uri": f"{snapshot['telemetry_uri'].rstrip('/')}/{pinned['key']}",
            "annotations": {"etag": pinned["etag"], "size_bytes": pinned["size_bytes"]},
        }
        for pinned in snapshot["objects"]
    ]
    days = [{"name": f"telemetry of {day['date']}", "digest": {"sha256": day["sha256"]}} for day in snapshot["days"]]
    return [*objects, *days, {"name": "snapshot", "digest": {"sha256": snapshot["snapshot_id"]}}]


def _software(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The code by its Git commit (or the name that the image was given), the environment by its lock."""
    code, lock = metadata["code_version"], metadata["environment"]["lock_sha256"]
    commit = code.removesuffix("-dirty")
    is_commit = len(commit) == 40 and set(commit) <= set("0123456789abcdef")
    source: dict[str, Any] = {"name": "code", "annotations": {"code_version": code}}
    if is_commit:
        source["digest"] = {"gitCommit": commit}
        source["annotations"]["changes_on_top"] = code != commit
    return [source, *([{"name": "requirements.txt", "digest": {"sha256": lock}}] if lock else [])]


def _people(folder: Path, decision: Mapping[str, Any]) -> dict[str, Any]:
    """What a person overrode or approved; null: nothing."""
    approval = folder / APPROVAL
    return {
        "override": decision.get("override"),
        "approval": read_document(approval, "approval") if approval.is_file() else None,
    }


def _champion(decision: Mapping[str, Any]) -> list[dict[str, Any]]:
    sha256 = decision.get("champion_sha256")
    return [{"name": f"champion {decision['champion_version']}", "digest": {"sha256": sha256}}] if sha256 else []
