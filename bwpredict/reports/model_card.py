"""The model card: one self-contained HTML page for a run, rejected ones included, and its Markdown summary.

Everything shown comes from the run's documents. Their texts are escaped: a region or a
version is somebody else's text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from bwpredict.core.formatting import UNDEFINED, display_name, duration, link_name, number, readable_unit
from bwpredict.datasets.windows import split_sentence
from bwpredict.gate.change import change_sentence
from bwpredict.gate.decision import attempt_sentence, check_rows, shown_outcome
from bwpredict.reports import card_summary, champion_section
from bwpredict.reports.sorting import SORT_SCRIPT_SOURCE, SORT_SCRIPT_TEXT
from bwpredict.reports.tables import (
    INTERVAL_COLUMNS,
    METRICS,
    best_of,
    interval_rows,
    model_label,
    model_names,
    overall_rows,
    readable_figures,
    unforecastable,
)
from bwpredict.schema import TARGETS
from bwpredict.store.files import write_atomically

Document = Mapping[str, Any]
Pairs = list[tuple[str, str]]

_OUTCOMES = {
    "promote": ("good", "✓", "Promoted"),
    "bootstrap": ("good", "✓", "First model"),
    "forced": ("warn", "!", "Forced"),
    "keep": ("neutral", "=", "Production stays"),
    "reject": ("bad", "✗", "Rejected"),
}
"""`shown_outcome` → kind, symbol, title."""
_ORDER = {"fail": 0, "open": 1, "pass": 2, "info": 3, "not_applicable": 4}

_PICTURES = ("training_history", "predictions_scatter", "residuals", "horizon")


def model_card(
    path: Path,
    *,
    run: Document,
    decision: Document,
    comparison: Document,
    history: Document | None,
    snapshot: Document,
    validation: Document,
    metadata: Document,
    profile: Document | None = None,
    champion_profile: Document | None = None,
    pictures: Path | None = None,
    links: pd.DataFrame | None = None,
) -> Path:
    """Write the model card of one run to `path`, atomically.

    Args:
        run: the run configuration (`run.json`); the others are the documents of the same names.
        history: None for a model trained elsewhere.
        profile: of the snapshot; None: the card says nothing of drift.
        champion_profile: of the snapshot that the champion was trained on.
        pictures: the folder with the run's pictures, which are embedded as far as there are any.
        links: what `evaluation.by_link.accuracy_by_link` found; None: the card has no table of links.
    """
    difference, consumer = comparison.get("difference"), comparison.get("consumer")
    page = _template().render(
        run=run,
        decision=decision,
        outcome=_OUTCOMES[shown_outcome(decision)],
        attempt=attempt_sentence(decision),
        comparison=comparison,
        metadata=metadata,
        validation=validation,
        summary_answers=card_summary.summary_answers(decision, comparison, metadata),
        accuracy_rows=card_summary.accuracy_rows(links),
        tiles=list(_tiles(metadata, comparison)),
        checks=_checks(decision),
        targets=[_target(name, comparison) for name in metadata["targets"]],
        change=change_sentence(comparison),
        interval_rows=list(interval_rows(comparison["intervals"])) if comparison["intervals"] else [],
        training=_training(history) if history else _trained_elsewhere(metadata),
        loss=history.get("loss") if history else None,
        data=_data(snapshot, metadata),
        limits=list(_limits(metadata, comparison)),
        groups=_groups(run, metadata),
        difference_rows=champion_section.difference_rows(difference),
        difference_sentence=champion_section.difference_sentence(difference),
        link_sentences=list(champion_section.link_sentences(comparison)),
        link_rows=champion_section.link_rows(difference),
        slice_rows=champion_section.slice_rows(comparison),
        slices_left_out=champion_section.slices_left_out(comparison),
        consumer_columns=champion_section.consumer_columns(consumer),
        consumer_rows=champion_section.consumer_rows(consumer),
        drift_rows=list(champion_section.drift_rows(profile, champion_profile)),
        pictures=_pictures(pictures),
    )
    write_atomically(path, page.encode())
    return path


def _tiles(metadata: Document, comparison: Document) -> Iterator[dict[str, str]]:
    last_value = comparison["models"]["last_value"]["overall"]
    for name, value, threshold, simple in overall_rows(metadata["performance_metrics"]["overall"], last_value):
        yield {"name": name, "value": value, "note": f"guide: {threshold}; last value: {simple}"}
    skills = {
        target: figures.get("skill") for target, figures in comparison["models"]["challenger"]["per_target"].items()
    }
    known = {target: skill for target, skill in skills.items() if skill is not None}
    if known:
        weakest = min(known, key=lambda target: known[target])
        yield {"name": "Weakest skill", "value": number(known[weakest], 3), "note": display_name(weakest)}


def _checks(decision: Document) -> list[dict[str, str]]:
    """The checks, those that failed first."""
    rows = [
        {
            "mark": check["verdict"],
            "sentence": sentence,
            "headline": check.get("headline", ""),
            "value": value,
            "threshold": threshold,
        }
        for check, (_, sentence, value, threshold) in zip(decision["checks"], check_rows(decision), strict=True)
    ]
    return sorted(rows, key=lambda row: _ORDER.get(row["mark"], len(_ORDER)))


def _target(target: str, comparison: Document) -> dict[str, Any]:
    """One table: a row for each model, the best figure of each column marked."""
    models = comparison["models"]
    rows = {name: readable_figures(models[name]["per_target"][target], target) for name in model_names(comparison)}
    whole = [figures for name, figures in rows.items() if models[name]["share_scored"] == 1]
    best = {metric.key: best_of(metric, [figures.get(metric.key) for figures in whole]) for metric in METRICS}
    return {
        "name": display_name(target),
        "unit": f"MAE and RMSE in {readable_unit(target)[1]}",
        "note": _target_note(target, comparison),
        "rows": [
            {
                "name": model_label(name) + _scored_on(models[name]["share_scored"]),
                "emphasised": name == "challenger",
                "cells": [
                    {"text": metric.text(figures), "best": figures.get(metric.key, UNDEFINED) == best[metric.key]}
                    for metric in METRICS
                ],
            }
            for name, figures in rows.items()
        ],
    }


def _scored_on(share: float | None) -> str:
    return "" if share is None or share == 1 else f" ({100 * share:.1f} % of windows)"


def _target_note(target: str, comparison: Document) -> str:
    """What the pooled figures of one target hide: its baseline, samples without MAPE, and how links differ."""
    if target in comparison["absent_targets"]:
        return "The telemetry lacks this target, or training never saw it change: nothing was measured."
    figures = comparison["models"]["challenger"]["per_target"][target]
    notes = [f"Best baseline: {model_label(figures['baseline']).lower()}."]
    if figures["mape_share_left_out"]:
        notes.append(f"{100 * figures['mape_share_left_out']:.1f} % of the samples are below the floor of MAPE.")
    links = comparison["links"].get(target, {})
    if links:
        skills = (f"{rank} {number(link['skill'], 3)} ({link_name(link)})" for rank, link in links.items())
        notes.append(f"Skill by link: {', '.join(skills)}.")
    return " ".join(notes)


def _training(history: Document) -> Pairs:
    epochs = len(history["records"])
    speed = history["windows_per_second"]
    return [
        ("Epochs", f"{epochs}, {'stopped early' if history['stopped_early'] else 'all of them'}"),
        ("Kept", f"epoch {history['best_epoch']}"),
        ("Time", duration(history["duration_seconds"])),
        ("Speed", f"{number(speed)} windows/s"),
        ("Device", f"{history['device']}, {history['threads']} threads"),
        ("Parameters", number(history["parameters"])),
    ]


def _trained_elsewhere(metadata: Document) -> Pairs:
    """In the place of the training: whose file it is, and who states what of it."""
    model = metadata["trained_elsewhere"]
    return [
        ("Trained", "elsewhere; the run judged the file as it is"),
        ("File", model["name"]),
        ("SHA-256", model["sha256"]),
        ("File for streams", (model.get("stream") or {}).get("name", "none")),
        ("Written by", model.get("producer") or "not stated"),
        ("Trained through", model["trained_through"] or "not stated"),
        ("Stated by", model["stated_by"] or "nobody"),
        ("Trained on", model["trained_on"] or "not stated"),
        ("Imported by", model["imported_by"] or "unknown"),
        ("Numbers in the file", number(metadata["model_architecture"]["total_parameters"])),
    ]


def _data(snapshot: Document, metadata: Document) -> Pairs:
    filled, described = metadata["filled_features"], snapshot.get("description", {})
    in_sessions = ", in sessions" if described.get("sessions") else ""
    return [
        ("Snapshot", snapshot["snapshot_id"][:12]),
        ("Period", f"{_moment(snapshot['start'])} to {_moment(snapshot['end'])}"),
        ("Source", snapshot.get("telemetry_uri", "a file")),
        ("Objects", number(len(snapshot.get("objects", [])))),
        ("Rows", number(snapshot["rows"])),
        ("Links", number(snapshot["links"])),
        ("Duplicates removed", number(snapshot.get("duplicates_removed"))),
        ("Days without a row", number(len(snapshot.get("missing_days", [])))),
        ("Columns it lacks", ", ".join(described.get("absent_columns", [])) or "none"),
        ("Cadence", f"{metadata['contract']['cadence_seconds']} s{in_sessions}"),
        ("Filled features", ", ".join(f"{name} = {number(value)}" for name, value in filled.items()) or "none"),
    ]


def _moment(iso: str | None) -> str:
    return UNDEFINED if iso is None else iso[:16].replace("T", " ")


def _limits(metadata: Document, comparison: Document) -> Iterator[str]:
    """What the model must not be used for, as far as the run's own documents say."""
    contract, data = metadata["contract"], metadata["data"]
    yield (
        f"It forecasts {contract['horizon_minutes']} minutes ahead from {contract['window_size']} samples of one link,"
        f" {contract['cadence_seconds']} s apart and without a gap, in raw units. Nothing else was tested."
    )
    yield f"The calendar columns follow one convention: {contract['calendar']['sentence']}."
    if "trained_elsewhere" in metadata:
        yield "It was trained elsewhere: the days that it has seen were stated by its author, and are not verified."
    else:
        fitted = data["split"]["parts"]["train"]
        yield (
            f"It was fitted on {number(data['links'])} links, {_moment(fitted['start'])} to {_moment(fitted['end'])}"
            " UTC; its accuracy on other links was not measured."
        )
    if metadata["filled_features"]:
        names = ", ".join(metadata["filled_features"])
        yield f"The telemetry lacks {names}, or training never saw them change: the model learnt nothing from them."
    yield from unforecastable(comparison)
    if metadata["intervals"]["made"]:
        yield (
            "Its intervals assume that later telemetry is like that of the calibration span; if a network has changed"
            " since, they cover less than their nominal level."
        )
    else:
        yield "It gives point forecasts without intervals, so the uncertainty of a forecast is unknown."


def _groups(run: Document, metadata: Document) -> list[dict[str, Any]]:
    """Configuration and environment, one fold for each group."""
    groups: dict[str, Document] = {}
    groups["Run"] = {key: value for key, value in run.items() if not isinstance(value, Mapping)}
    groups |= {key.capitalize(): value for key, value in run.items() if isinstance(value, Mapping)}
    groups["Data"] = {"snapshot_id": metadata["data"]["snapshot_id"]}
    groups["Model file"] = metadata["onnx"] | {"parameters": metadata["model_architecture"]["total_parameters"]}
    groups["Environment"] = metadata["environment"]
    groups["Floors of MAPE"] = metadata["mape_floors"]
    return [
        {"name": name, "pairs": [(display_name(key), number(value, 6)) for key, value in values.items()]}
        for name, values in groups.items()
    ]


def _pictures(folder: Path | None) -> dict[str, Any]:
    """Each picture that there is, by its file's stem; those of the links as (target, picture)."""
    files = sorted(folder.glob("*.svg")) if folder else []
    found = {path.stem: Markup(path.read_text("utf-8")) for path in files}  # noqa: S704 - `figure_file` wrote them
    by_target = {display_name(name): found.get(f"link_forecasts_{name}") for name in TARGETS}
    return {name: found.get(name) for name in _PICTURES} | {
        "links": [(name, picture) for name, picture in by_target.items() if picture]
    }


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FunctionLoader(_resource)
    environment = jinja2.Environment(autoescape=True, loader=loader, undefined=jinja2.StrictUndefined)
    environment.globals |= {
        "sort_script": Markup(SORT_SCRIPT_TEXT),  # noqa: S704 - our own file
        "sort_script_source": SORT_SCRIPT_SOURCE,
        "metric_labels": [metric.label for metric in METRICS],
        "interval_columns": INTERVAL_COLUMNS,
        "all_targets": TARGETS,
        "split_sentence": split_sentence,
    }
    environment.filters |= {"display_name": display_name, "number": number, "moment": _moment}
    return environment.get_template("model_card.html")


@cache
def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
