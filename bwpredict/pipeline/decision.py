"""The decision on a run, from the documents in its work area: as it is taken, or once more under another policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bwpredict.config import GatePolicy, RunConfig
from bwpredict.documents import read_document
from bwpredict.errors import WorkAreaError
from bwpredict.gate import decision
from bwpredict.gate.overrides import Override
from bwpredict.registry.layout import DECISION_NAME, onnx_name
from bwpredict.store.files import sha256_of
from bwpredict.validation.result import drift_sentence
from bwpredict.workspace.artifacts import (
    COMPARISON,
    FORECASTS,
    IMPORTED,
    LATENCY,
    PARITY,
    SNAPSHOT,
    VALIDATION_RESULT,
    read_past_run,
)

Document = dict[str, Any]


@dataclass(frozen=True)
class Replay:
    """A decision that was taken, and what it would have been."""

    before: Document
    after: Document

    def changes(self) -> Iterator[tuple[str, str, str, str]]:
        """Check, verdict before and after ("": none) and its sentence, of each whose verdict differs."""
        before, after = ({check["id"]: check for check in one["checks"]} for one in (self.before, self.after))
        for name in dict.fromkeys([*before, *after]):
            old, new = before.get(name, {}), after.get(name, {})
            if old.get("verdict") != new.get("verdict"):
                sentence = new.get("sentence", old.get("sentence", ""))
                yield name, old.get("verdict", ""), new.get("verdict", ""), sentence


def decide_promotion(
    area: Path, run: RunConfig, policy: GatePolicy, *, policy_origin: str, decided_at: str, attempt: int | None
) -> Document:
    """The decision on the documents and the model file of a work area. Writes nothing.

    `attempt` is that of `attempt_at_month`; None: not known.

    Raises:
        DocumentError: a document is missing or broken.
    """
    return decision.make_decision(
        _comparison(area, policy),
        read_document(area / PARITY, "parity"),
        read_document(area / LATENCY, "latency"),
        policy,
        version=run.version,
        run_id=run.run_id,
        month=run.month,
        onnx_sha256=sha256_of(area / onnx_name(run.version)),
        snapshot_id=read_document(area / SNAPSHOT, "snapshot")["snapshot_id"],
        override=Override(
            champion=run.force_bootstrap,
            telemetry=run.accept_telemetry,
            by=run.requested_by,
            reason=run.override_reason,
        ),
        policy_origin=policy_origin,
        imported=read_document(area / IMPORTED, "imported_model") if run.imported else None,
        decided_at=decided_at,
        attempt=attempt,
        drift=drift_sentence(read_document(area / VALIDATION_RESULT, "validation")),
    )


def replay(area: Path, policy: GatePolicy, *, policy_origin: str, decided_at: str) -> Replay:
    """What a run's decision would have been under another policy: no training, no forecasts, nothing written.

    Raises:
        WorkAreaError: this is no work area of a run that came to a decision.
        DocumentError: a document is broken.
    """
    run = read_past_run(area)
    if not (area / DECISION_NAME).is_file():
        raise WorkAreaError(f"{area}: holds no {DECISION_NAME}; only a run that came to a decision can be replayed.")
    before = read_document(area / DECISION_NAME, "decision")
    after = decide_promotion(
        area, run, policy, policy_origin=policy_origin, decided_at=decided_at, attempt=before.get("attempt")
    )
    return Replay(before, after)


def _comparison(area: Path, policy: GatePolicy) -> Document:
    """The run's comparison with the policy's weights; a difference of an old form is measured again."""
    document = read_document(area / COMPARISON, "comparison")
    difference = document.get("difference")
    if difference is None or (difference["weighted"]["weights"] == policy.weights and "days" in difference):
        return document
    from bwpredict.evaluation.comparison import difference_from_champion
    from bwpredict.evaluation.forecasts import read_forecasts
    from bwpredict.evaluation.paired_difference import reweighted

    if "dates" not in difference.get("days", {}):  # written by 0.2 or earlier
        forecasts = read_forecasts(area / FORECASTS)
        return document | {"difference": difference_from_champion(forecasts, target_weights=policy.weights)}
    document["difference"] = reweighted(difference, policy.weights)
    for part in (document.get("stream"), document.get("anchor")):
        if part and part["difference"]:
            part["difference"] = reweighted(part["difference"], policy.weights)
    return document
