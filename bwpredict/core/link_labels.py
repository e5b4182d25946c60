"""Labels of links, `<node_id>-<peer_id>`, as commands and metrics have them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_LABEL = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


def parse_label(label: str) -> tuple[int, int] | None:
    """`node_id` and `peer_id`; None for a text that is no label."""
    match = _LABEL.fullmatch(label)
    return (int(match[1]), int(match[2])) if match else None


def unknown_link(label: str, known: Iterable[str], where: str) -> str:
    """The sentence that refuses a link that is not among those of `where`, with the labels closest to it."""
    sentence = f"{label}: no such link (<node_id>-<peer_id>) {where}"
    closest = difflib.get_close_matches(label, sorted(known), n=3, cutoff=0)
    return f"{sentence}; the closest are {', '.join(closest)}." if closest else f"{sentence}, which has no samples."
