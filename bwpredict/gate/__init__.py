"""The promotion gate: checks of accuracy and against the champion, decided by a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
