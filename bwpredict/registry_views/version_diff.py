"""The difference of two versions: settings, data, code and gate, as their documents describe them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bwpredict.core.formatting import count_of, display_name, duration, number, quantity
from bwpredict.registry_views.overview import VersionDocuments

_SECTIONS = {
    "Gate": ("policy", "outcome", "champion_version", "reason"),
    "Training": ("trained_elsewhere", "training_config", "training_duration_seconds", "seed", "compression"),
    "Model": ("model_architecture", "onnx", "intervals", "features", "targets"),
    "Data": ("data", "filled_features", "mape_floors"),
    "Code and machine": ("code_version", "environment", "created_at"),
}
_LONGEST = 160
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


@dataclass(frozen=True)
class Difference:
    """One value that is not the same in both; `nothing` stands for a value that one of them lacks."""

    section: str
    name: str
    left: str
    right: str


def judged_together(left: VersionDocuments, right: VersionDocuments) -> VersionDocuments | None:
    """The one of the two that was judged against the other, on the same test days; None: neither was."""
    for one, other in ((right, left), (left, right)):
        if one.decision["champion_version"] == other.version and "champion" in one.comparison.get("models", {}):
            return one
    return None


def differences(left: VersionDocuments, right: VersionDocuments) -> list[Difference]:
    """What differs, in the order of a reader's interest; equal versions have none."""
    both = [{**documents.decision, **documents.metadata} for documents in (left, right)]
    return [
        Difference(section, _label(name), *(_text(name, value) for value in values))
        for section, roots in _SECTIONS.items()
        for root in roots
        for name, values in _paired(root, *(document.get(root) for document in both))
        if values[0] != values[1]
    ]


def _paired(root: str, left: Any, right: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    flat = dict(_flat(root, left)), dict(_flat(root, right))
    for name in dict.fromkeys([*flat[0], *flat[1]]):
        yield name, (flat[0].get(name), flat[1].get(name))


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value


def _label(path: str) -> str:
    """The path in words, without the document's part that its section stands for."""
    words = " · ".join(display_name(part) for part in path.split(".")[path.count(".") > 0 :])
    return words.removesuffix(" seconds").removesuffix(" bytes")


def _text(path: str, value: Any) -> str:
    """The value with its unit, as people write it."""
    if value is None:
        return "nothing"
    if isinstance(value, str) and _TIME.fullmatch(value):
        return f"{value[:10]} {value[11:16]} UTC"
    if isinstance(value, int | float) and path.endswith("_seconds"):
        return duration(value)
    if isinstance(value, int | float) and path.endswith("_bytes"):
        return quantity(value, "bytes_tx")
    if isinstance(value, list | dict):
        plain = isinstance(value, list) and all(isinstance(one, str | int | float) for one in value)
        value = ", ".join(map(number, value)) if plain else count_of(len(value), "entry")
    text = number(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
