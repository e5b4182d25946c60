"""docker-compose.yaml as Docker reads it: the one source of what the integration tests start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = REPOSITORY / "docker-compose.yaml"


def services(variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every service by name, with `variables` put in."""
    return _filled(yaml.safe_load(COMPOSE.read_text())["services"], variables)


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    return interpolate(node, variables) if isinstance(node, str) else node


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """`${NAME:?why}` and `${NAME:-default}` as Compose fills them in; `$$` is a dollar sign."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name, how, rest = match[1], match[2], match[3]
        if how == ":?" and not variables.get(name):
            raise KeyError(f"{name}: {rest}")
        return variables.get(name) or rest

    return re.sub(r"\$\$|\$\{(\w+)(:[?-])([^}]*)\}", value, text)
