"""The checks of the model for streams: the same questions as of the one for windows, each model as consumers run it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bwpredict.config import GatePolicy
from bwpredict.gate import Document
from bwpredict.gate.accuracy import baseline_checks, regret_check
from bwpredict.gate.champion import champion_checks
from bwpredict.gate.check import Check, check_threshold, nested_value

_CHALLENGER_ON_WINDOWS = " The challenger has no model for streams; it is compared on windows."
_CHAMPION_ON_WINDOWS = " The champion has no model for streams; it is compared on windows."


def stream_checks(
    comparison: Document, parity: Document, policy: GatePolicy, case: str, because: str
) -> Iterator[Check]:
    """None where neither the challenger has a model for streams nor the champion that it is compared with.

    A challenger without one is compared on windows with the champion as a stream: what consumers of streams would get
    instead.

    Args:
        comparison, parity: the documents; `stream` in them is what is judged.
        policy: its limits for windows hold for streams too.
        case: one of the gate's `CASES`; `because` is its sentence.
    """
    stream, of_parity = (nested_value(document, "stream") for document in (comparison, parity))
    if stream is None and of_parity is None:
        return
    if nested_value(stream, "modes", "challenger") == "windows":
        for check in champion_checks(stream or {}, policy, case, because):
            yield _renamed(check, "For consumers of streams", _CHALLENGER_ON_WINDOWS)
        return
    on_windows = nested_value(stream, "modes", "champion") == "windows"
    yield _parity_check(of_parity, policy)
    sentence = "As a stream: all forecasts must be finite and keep physical bounds."
    for count in ("non_finite_forecasts", "out_of_bounds_forecasts"):
        found = nested_value(stream, "models", "challenger", count)
        yield check_threshold(f"stream_{count}", sentence, found, "==", 0, low=0, unit="forecasts")
    judged = stream or {}
    against = champion_checks(judged, policy, case, because)
    for check in (*baseline_checks(judged, policy), regret_check(judged, policy), *against):
        told = _CHAMPION_ON_WINDOWS if on_windows and check.id.startswith("champion") else ""
        yield _renamed(check, "As a stream", told)


def _parity_check(of_parity: Any, policy: GatePolicy) -> Check:
    """With torch; a model trained elsewhere is compared with itself, in other steps and beside other links."""
    jumps = nested_value(of_parity, "jumps")
    bound = policy.maximum_parity_error_quantized if jumps is True else policy.maximum_parity_error
    kind, what = (
        ("stream_parity", "between ONNX Runtime and torch")
        if jumps is None
        else ("stream_step_effect", "between streams followed alone, side by side, and in longer steps")
    )
    sentence = f"As a stream: the largest relative difference {what} must be at most {bound:g}."
    return check_threshold(kind, sentence, nested_value(of_parity, "max_relative_error"), "<=", bound, low=0)


def _renamed(check: Check, mode: str, told: str) -> Check:
    return replace(
        check,
        id=f"stream_{check.id}",
        sentence=f"{mode}: {check.sentence}{told}",
        headline=check.headline and f"{mode}: {check.headline}",
    )
