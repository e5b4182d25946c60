"""What a consumer would have done with the forecasts of challenger, champion and last value, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bwpredict.core.formatting import UNDEFINED, display_name, number
from bwpredict.reports.tables import model_label

Document = Mapping[str, Any]


def consumer_columns(consumer: Document | None) -> list[str]:
    """The heads of the columns behind the model's name."""
    if consumer is None:
        return []
    settings = [f"Regret: {display_name(name)}" for name in consumer["rules"]["settings"]]
    return ["Acts", "Overestimates", "By", "Regret", *settings]


def consumer_rows(consumer: Document | None) -> list[dict[str, Any]]:
    """A row for each model: its name, whether it is the challenger, and a text with the interval for each column."""
    if consumer is None:
        return []
    return [
        {
            "name": model_label(name),
            "emphasised": name == "challenger",
            "cells": [
                *(_cell(figures[key]) for key in ("acts", "overestimates", "overestimated_by", "regret")),
                *(_cell(figures["settings"].get(setting)) for setting in consumer["rules"]["settings"]),
            ],
        }
        for name, figures in consumer["models"].items()
    ]


def consumer_sentence(comparison: Document) -> str:
    """How to read the table, or why there is none."""
    if "consumer" not in comparison:
        return "This comparison was made by an earlier version, which did not simulate consumers."
    consumer = comparison["consumer"]
    if consumer is None:
        return "The telemetry lacks a target that the consumer's rules need."
    rules = consumer["rules"]
    return (
        f"The rules {rules['name']}, version {rules['version']}, replayed over the test days. Acts: windows with a"
        f" confidence of at least {rules['minimum_confidence']:g}; in all others the consumer keeps the settings that"
        " its last measurement implies. Overestimates: the share of these windows in which the throughput forecast was"
        " above the actual value, and by how much. Regret: the extra cost of the settings over those with perfect"
        f" knowledge, in percent of the latter. 95 % intervals over {consumer['days']['count']} test days."
    )


def _cell(figures: Document | None) -> str:
    if not figures or figures["percent"] is None:
        return UNDEFINED
    known = figures["low"] is not None and figures["high"] is not None
    ends = f" ({number(figures['low'], 3)} to {number(figures['high'], 3)})" if known else ""
    return f"{number(figures['percent'], 3)} %{ends}"
