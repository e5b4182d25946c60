"""Ways to decide which model serves the next month: the product's gate with two of its rules, and three simple ones.

The gate's months are runs of the pipeline's own steps against a separate registry: validation, comparison with the
champion and the earlier champions, decision, publication. Nobody overrides anything and nobody rolls back.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bwpredict.config import RunConfig
from bwpredict.documents import read_document
from bwpredict.errors import ValidationFailed
from bwpredict.monitoring.sequential_tests import evaluate_production
from bwpredict.pipeline import steps
from bwpredict.pipeline.run_config import overridden
from bwpredict.registry.layout import CONFORMANCE_NAME, onnx_name, stream_onnx_name
from bwpredict.registry.pointer import read_production
from bwpredict.store.factory import open_store
from bwpredict.store.files import write_atomically
from bwpredict.workspace.artifacts import CHECKPOINT, HISTORY, HISTORY_PLOT, LATENCY, PARITY
from bwpredict.workspace.references import local_file, make_reference
from year.candidates import POLICY, Candidate, Terms, run_of
from year.scores import estimate
from year.world import Month

GATE, EXPECTED = "this gate", "this gate, expected"
ALWAYS, NEVER, ESTIMATE = "always publish", "never retrain", "point estimate"
GATES = {GATE: POLICY, EXPECTED: overridden(POLICY, {"champion_rule": "expected"})}
"""With the default rule, and with `expected`."""
HARMFUL_PERCENT = 2.0
"""Of the error in the month after: from here on a promotion is harmful, or a model that was not promoted is missed."""

Scores = Mapping[str, Mapping[str, Any]]
"""Version → `error` and `days` in a month."""


@dataclass(frozen=True)
class Move:
    """What an arm did at the end of a month."""

    month: str
    outcome: str
    """bootstrap, promote, keep, reject, stopped (by validation), or failed (the training)."""
    serving: str
    """Version that serves the next month; empty: none yet."""
    reason: str = ""

    @property
    def red(self) -> bool:
        """Whether the run ended with an alert."""
        return self.outcome in ("reject", "stopped", "failed")


def gate_month(arm: str, month: Month, candidate: Candidate, terms: Terms) -> Move:
    """The product's run of the month with an arm's policy, or what it was before."""
    folder = terms.folder / "gates" / arm
    told = folder / "moves" / f"{month.name}.json"
    if not told.is_file():
        outcome, reason = _run(run_of(month, terms, folder / "registry", GATES[arm]), candidate, folder / "work")
        serving = read_production(open_store(str(folder / "registry")))
        move = Move(month.name, outcome, serving.version if serving else "", reason)
        write_atomically(told, json.dumps(asdict(move)).encode())
    return Move(**json.loads(told.read_bytes()))


def _run(run: RunConfig, candidate: Candidate, work: Path) -> tuple[str, str]:
    """Outcome and reason."""
    reference = steps.snapshot(steps.plan(run, work))
    try:
        reference = steps.validate(reference)
    except ValidationFailed as error:
        return "stopped", str(error)
    if candidate.error:
        return "failed", candidate.error
    area = local_file(reference).parent
    version = candidate.version
    for name in (
        *(CHECKPOINT, HISTORY, HISTORY_PLOT, PARITY, LATENCY, CONFORMANCE_NAME),
        *(onnx_name(version), stream_onnx_name(version)),
    ):
        shutil.copy(candidate.area / name, area / name)
    decided = steps.decide(steps.compare(make_reference(area / onnx_name(version))))
    decision = read_document(local_file(decided), "decision")
    if decision["passed"]:
        steps.publish(decided)
    return decision["outcome"], decision["reason"]


def simple_moves(arm: str, candidates: Sequence[Candidate], terms: Terms) -> list[Move]:
    """What a rule without validation, intervals and anchor does with the same challengers."""
    moves: list[Move] = []
    serving: Candidate | None = None
    for one in candidates:
        if one.error:
            outcome = "failed" if arm != NEVER else "keep"
        elif serving is None:
            outcome = "bootstrap"
        elif arm == ESTIMATE:
            outcome = "promote" if estimate(one, serving, terms) < 0 else "keep"
        else:
            outcome = "promote" if arm == ALWAYS else "keep"
        serving = one if outcome in ("bootstrap", "promote") else serving
        moves.append(Move(one.month, outcome, serving.version if serving else ""))
    return moves


def excess_percent(moves: Sequence[Move], scores: Mapping[str, Scores], following: Mapping[str, str]) -> list[float]:
    """For each month that was served, how far the error lay above that of the candidate that turned out best.

    Args:
        moves: of an arm.
        scores: month → the candidates' scores in it.
        following: month → the month after it.
    """
    found = []
    for move in moves:
        if after := following.get(move.month):
            best = min(one["error"] for one in scores[after].values())
            found.append(100 * (_error(scores[after], move.serving) / best - 1))
    return found


@dataclass(frozen=True)
class Harm:
    """A promotion that made the month after it worse."""

    month: str
    version: str
    percent: float
    """Above the error of the model that it replaced."""
    undone: bool | None
    """Whether a month later it no longer served; None: the months end before that."""


def harmful(moves: Sequence[Move], scores: Mapping[str, Scores], following: Mapping[str, str]) -> list[Harm]:
    """The promotions that were harmful in the month after them."""
    found = []
    for place, (before, move) in enumerate(pairwise(moves), 1):
        after = following.get(move.month)
        if move.outcome != "promote" or after is None:
            continue
        percent = _above(scores[after], move.serving, before.serving)
        if percent >= HARMFUL_PERCENT:
            later = moves[place + 1] if place + 1 < len(moves) else None
            undone = None if later is None else later.serving != move.serving
            found.append(Harm(move.month, move.serving, round(percent, 2), undone))
    return found


def missed(
    moves: Sequence[Move], scores: Mapping[str, Scores], following: Mapping[str, str], trained: Mapping[str, str]
) -> list[str]:
    """The months whose challenger was not promoted, and would have been an improvement in the month after.

    `trained`: month → its challenger's version.
    """
    return [
        move.month
        for move in moves
        if move.outcome not in ("promote", "bootstrap")
        and (after := following.get(move.month))
        and (version := trained.get(move.month))
        and _above(scores[after], version, move.serving) <= -HARMFUL_PERCENT
    ]


def _above(scores: Scores, version: str, other: str) -> float:
    return 100 * (_error(scores, version) / _error(scores, other) - 1)


def _error(scores: Scores, version: str) -> float:
    """Of a version; where none serves, that of the simple forecast, which is the unit."""
    return float(scores[version]["error"]) if version else 1.0


def keep_notices(moves: Sequence[Move]) -> int:
    """Number of alerts about kept champions: one whenever this many runs in a row have kept production."""
    row, told = 0, 0
    for move in moves:
        row = row + 1 if move.outcome == "keep" else 0
        told += row >= POLICY.keeps_before_notice
    return told


def monitor_alarms(
    moves: Sequence[Move],
    scores: Mapping[str, Scores],
    following: Mapping[str, str],
    published: Mapping[str, Mapping[str, float | None]],
) -> list[str]:
    """The days on which the daily monitor begins an alarm about the model that serves.

    `published`: version → target → skill when it was published.
    """
    began: list[str] = []
    before: dict[str, Any] | None = None
    serving = ""
    for move in moves:
        after = following.get(move.month)
        if after is None:
            break
        if move.serving != serving:
            serving, before = move.serving, None
        for day in scores[after][serving]["days"] if serving else ():
            tests = evaluate_production(
                {target: {"skill": skill} for target, skill in day["skill"].items()},
                {"level": day["level"], "per_target": day["coverage"]} if day["coverage"] else None,
                published[serving],
                day=day["day"],
                windows=day["windows"],
                before=before,
            )
            alarm = any(test["alarm"] for test in tests)
            if alarm and not (before and before["alarm"]):
                began.append(day["day"])
            before = {"tests": tests, "alarm": alarm}
    return began
