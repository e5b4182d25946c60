"""Checks that fail closed: they pass only on a value that is there, is of the right type, finite and possible."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bwpredict import schema

Comparison = Literal[">=", ">", "<=", "<", "=="]
Verdict = Literal["pass", "fail", "open", "not_applicable", "info"]
Figure = float | bool | None

_COMPARISONS: dict[Comparison, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
}
_LARGEST_INTEGER = 2**53
"""Above it, an integer has no exact float64."""


@dataclass(frozen=True)
class Check:
    """One line of a decision: `value` `comparison` `threshold`, and the verdict."""

    id: str
    """Unique in the decision: `<kind>`, or `<kind>.<target>`."""
    sentence: str
    """What must hold, in words."""
    value: Figure
    """None: could not be computed."""
    comparison: Comparison
    threshold: Figure
    verdict: Verdict
    """`open`: the test days do not settle it. `not_applicable` and `info` do not decide."""
    severity: Literal["error", "warning"] = "error"
    target: str | None = None
    unit: str = ""
    interval: tuple[float, float] | None = None
    """95 % interval of what was estimated, in `unit`; None: there is none."""
    headline: str = ""
    """What was found, in a sentence for people; empty: the sentence and the value say it."""

    def document(self) -> dict[str, Any]:
        """The check as it appears in the decision document."""
        document = asdict(self)
        return document | {"interval": None if self.interval is None else list(self.interval)}


def check_threshold(
    kind: str,
    sentence: str,
    value: Any,
    comparison: Comparison,
    threshold: float | None,
    *,
    target: str | None = None,
    unit: str = "",
    low: float = -math.inf,
    high: float = math.inf,
    interval: tuple[float, float] | None = None,
) -> Check:
    """A numeric check. It fails where the value or the threshold is not a number, or the value not in [low, high]."""
    figure, bound = number_in(value, low, high), number_in(threshold)
    verdict: Verdict = "fail"
    if figure is None or bound is None:
        what = "The value" if figure is None else "The threshold"
        sentence = f"{sentence} {what} could not be computed."
    elif _COMPARISONS[comparison](figure, bound):
        verdict = "pass"
    name = _id(kind, target)
    return Check(name, sentence, figure, comparison, bound, verdict, target=target, unit=unit, interval=interval)


def check_flag(kind: str, sentence: str, fact: Any) -> Check:
    """A check of a fact. It fails on anything but True."""
    known = fact if isinstance(fact, bool) else None
    if known is None:
        sentence = f"{sentence} Whether it is so could not be computed."
    return Check(kind, sentence, known, "==", threshold=True, verdict="pass" if fact is True else "fail")


def info_check(
    kind: str,
    sentence: str,
    value: Any,
    comparison: Comparison,
    threshold: float | None,
    *,
    verdict: Literal["not_applicable", "info"] = "info",
    target: str | None = None,
    unit: str = "",
    interval: tuple[float, float] | None = None,
) -> Check:
    """Figures that stand in the decision without deciding anything."""
    figure, bound = number_in(value), number_in(threshold)
    name = _id(kind, target)
    return Check(name, sentence, figure, comparison, bound, verdict, "warning", target, unit, interval)


def number_in(value: Any, low: float = -math.inf, high: float = math.inf) -> float | None:
    """A finite number within [low, high]; None for anything else, a boolean and a text included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return None
    return value if math.isfinite(value) and low <= value <= high else None


def nested_value(document: Any, *keys: Any) -> Any:
    """The value under `keys` of nested mappings, or None where there is none."""
    for key in keys:
        if not isinstance(document, Mapping) or not isinstance(key, str):
            return None
        document = document.get(key)
    return document


def absent_targets(comparison: Any) -> list[str]:
    """The targets that the telemetry lacks; none where the document does not divide all targets in two."""
    absent, measured = (nested_value(comparison, name) for name in ("absent_targets", "targets"))
    if not isinstance(absent, list) or not isinstance(measured, list) or not measured:
        return []
    return absent if sorted([*absent, *measured]) == sorted(schema.TARGETS) else []


def _id(kind: str, target: str | None) -> str:
    return kind if target is None else f"{kind}.{target}"
