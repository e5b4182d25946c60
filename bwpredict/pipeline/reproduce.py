"""Train a published version again from its pinned telemetry, code and seed, and compare the models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bwpredict import schema
from bwpredict.config import RunConfig, load
from bwpredict.datasets.windows import Split
from bwpredict.documents import decode_document, read_document
from bwpredict.errors import ConfigError
from bwpredict.inference.onnx_model import forecast_with_bounds
from bwpredict.pipeline import challenger
from bwpredict.registry.layout import DECISION_NAME, metadata_name, onnx_name, stream_onnx_name
from bwpredict.registry.versions import fetch, read_file, read_manifest
from bwpredict.reports.metadata import measure_environment
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of
from bwpredict.telemetry import snapshot
from bwpredict.workspace.artifacts import CHECKPOINT, HISTORY, SNAPSHOT

Document = dict[str, Any]

PUBLISHED = "published"
"""Folder with the files of the registry, beside those that are made again."""
_OF_TRAINING = ("device", "threads")


def reproduce(
    store: Store, version: str, area: Path, *, code_version: str, other_code: bool = False, telemetry: str = ""
) -> Document:
    """Train `version` again in the empty folder `area`, and compare its models with the published ones.

    Args:
        code_version: of the code that runs.
        other_code: continue even if other code made the version.
        telemetry: store with the telemetry; empty: the one that the version was trained on.

    Returns:
        `identical`; `files`, whether each has the same bytes; `changed`, what of code and environment is not as
        published; and where bytes differ `forecasts`, by target the mean and the largest absolute difference over the
        test windows, in its unit, and the mean in percent of the published MAE (None: undefined).

    Raises:
        ConfigError: the version was trained elsewhere, or by other code.
        SnapshotError: the telemetry is no longer what the version's snapshot pins.
        ObjectMissingError, ObjectCorruptError: as `fetch`.
    """
    published = area / PUBLISHED
    manifest, name = read_manifest(store, version), metadata_name(version)
    metadata = decode_document("model_metadata", read_file(store, manifest, name), name=name)
    _require_reproducible(metadata, code_version, other_code=other_code)  # before anything is written
    fetch(store, version, [name, SNAPSHOT, DECISION_NAME, onnx_name(version)], published)
    run = load(RunConfig, metadata["run"], origin=f"{store.uri}: the run of {version}")
    snapshot.restore(open_store(telemetry or run.telemetry), read_document(published / SNAPSHOT, "snapshot"), area)
    split = _make_again(store, run, metadata, area)
    names = [name for name in (onnx_name(version), stream_onnx_name(version)) if name in manifest.sha256]
    files = {name: sha256_of(area / name) == manifest.sha256[name] for name in names}
    identical = all(files.values())
    return {
        "version": version,
        "registry": store.uri,
        "identical": identical,
        "files": files,
        "changed": _changed(metadata, area, code_version),
        "forecasts": None if identical else _compare(area, version, split, run, metadata),
    }


def _require_reproducible(metadata: Mapping[str, Any], code_version: str, *, other_code: bool) -> None:
    version, made_by = metadata["version"], metadata["code_version"]
    if "trained_elsewhere" in metadata:
        raise ConfigError(f"{version}: was trained elsewhere, so it cannot be trained again here.")
    if made_by != code_version and not other_code:
        raise ConfigError(
            f"{version}: was trained by code {made_by}, and this is {code_version}; run that code, or add --other-code."
        )


def _make_again(store: Store, run: RunConfig, metadata: Mapping[str, Any], area: Path) -> Split:
    """Train and export as the run did, with as many threads; returns the windows."""
    split = challenger.read_split(area, run)
    if threads := metadata["environment"].get("threads"):
        torch.set_num_threads(threads)  # sums depend on how they are split over threads
    challenger.fit(area, split, run, _fetch_champion(store, area) if run.training.warm_start else None)
    challenger.export_onnx(area, split, run, metadata["data"]["snapshot_id"])
    return split


def _fetch_champion(store: Store, area: Path) -> Path | None:
    """The checkpoint that the version's warm start began with; None: there was none."""
    champion = read_document(area / PUBLISHED / DECISION_NAME, "decision")["champion_version"]
    if champion is None or CHECKPOINT not in read_manifest(store, champion).sha256:
        return None
    return fetch(store, champion, [CHECKPOINT], area / champion)[0]


def _changed(metadata: Mapping[str, Any], area: Path, code_version: str) -> Document:
    """What can change the bytes and is not as it was: `published` and `here`, by name."""
    history = read_document(area / HISTORY, "training_history")
    here = measure_environment(challenger.LOCK) | {name: history[name] for name in _OF_TRAINING}
    then = metadata["environment"] | {"code_version": metadata["code_version"]}
    return {
        name: {"published": then.get(name), "here": found}
        for name, found in {"code_version": code_version, **here}.items()
        if then.get(name) != found
    }


def _compare(area: Path, version: str, split: Split, run: RunConfig, metadata: Mapping[str, Any]) -> Document:
    index = split["test"].spread(run.maximum_test_windows)
    then, now = (forecast_with_bounds(folder / onnx_name(version), index) for folder in (area / PUBLISHED, area))
    differences = np.abs(now.output - then.output)
    figures = metadata["performance_metrics"]["per_target"]
    return {
        target: {
            "unit": schema.COLUMN[target].unit,
            "mean": (mean := float(differences[:, place].mean())),
            "largest": float(differences[:, place].max()),
            "percent_of_mae": 100 * mean / mae if (mae := figures[target]["mae"]) else None,
        }
        for place, target in enumerate(schema.TARGETS)
        if target in figures
    }
