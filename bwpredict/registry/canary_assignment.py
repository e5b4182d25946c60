"""Which links a canary candidate serves: a stable hash of the link against the candidate's share of the traffic.

Any consumer can do the same in a few lines, in any language:

1. `digest` = SHA-256 of the text `"<node_id>:<peer_id>"`, both in decimal, in ASCII.
2. `place` = its first 8 bytes as a big-endian unsigned integer, shifted right by 11 bits, over 2**53: in [0, 1).
3. The candidate serves the link where `place < share`; production serves the others.

53 bits fit a double, so every language gets the same answer. A link keeps its arm as long as the share stays, and
a larger share only adds links.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Arm = Literal["production", "canary"]

_BITS = 53


def assign_arm(node_id: int, peer_id: int, share: float) -> Arm:
    """The arm that serves the link; `share` 0 (no canary) is production for all, 1 the candidate for all."""
    return "canary" if link_position(node_id, peer_id) < share else "production"


def link_position(node_id: int, peer_id: int) -> float:
    """The link's place in [0, 1): uniform over links, and never changes."""
    digest = hashlib.sha256(f"{node_id}:{peer_id}".encode("ascii")).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / 2.0**_BITS
