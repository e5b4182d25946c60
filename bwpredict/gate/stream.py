"""The checks of the model for streams: the same questions as of the one for windows, each model as consumers run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bwpredict.config import GatePolicy
from bwpredict.gate.accuracy import baseline_checks, regret_check
from bwpredict.gate.champion import champion_checks
from bwpredict.gate.check import Check, check_threshold, nested_value

Document = Mapping[str, Any]

_CHAMPION_ON_WINDOWS = " The champion has no model for streams; it is compared on windows."


def stream_checks(
    comparison: Document, parity: Document, policy: GatePolicy, case: str, because: str
) -> Iterator[Check]:
    """None where the challenger has no model for streams: then nobody can run it as one.

    Args:
        comparison, parity: the documents; `stream` in them is what is judged.
        policy: its limits for windows hold for streams too.
        case: one of the gate's `CASES`; `because` is its sentence.
    """
    stream, of_parity = (nested_value(document, "stream") for document in (comparison, parity))
    if stream is None and of_parity is None:
        return
    on_windows = nested_value(stream, "modes", "champion") == "windows"
    yield check_threshold(
        "stream_parity",
        "As a stream: the largest relative difference between ONNX Runtime and torch must be at most"
        f" {policy.maximum_parity_error:g}.",
        nested_value(of_parity, "max_relative_error"),
        "<=",
        policy.maximum_parity_error,
        low=0,
    )
    for count in ("non_finite_forecasts", "out_of_bounds_forecasts"):
        yield check_threshold(
            f"stream_{count}",
            "As a stream: all forecasts must be finite and keep physical bounds.",
            nested_value(stream, "models", "challenger", count),
            "==",
            0,
            low=0,
            unit="forecasts",
        )
    judged = stream or {}
    for check in (
        *baseline_checks(judged, policy),
        regret_check(judged, policy),
        *champion_checks(judged, policy, case, because),
    ):
        told = _CHAMPION_ON_WINDOWS if on_windows and check.id.startswith("champion") else ""
        yield replace(
            check,
            id=f"stream_{check.id}",
            sentence=f"As a stream: {check.sentence}{told}",
            headline=check.headline and f"As a stream: {check.headline}",
        )
