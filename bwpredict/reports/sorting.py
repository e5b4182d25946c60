"""The script that sorts tables, and what a Content-Security-Policy calls it, so that no other script runs."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

SORT_SCRIPT = "sort_tables.js"
"""Name of the file, beside this one."""
SORT_SCRIPT_TEXT = resources.files(__package__).joinpath(SORT_SCRIPT).read_text("utf-8")
SORT_SCRIPT_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(SORT_SCRIPT_TEXT.encode()).digest()).decode()}'"
