"""Two runs for one month publish one model: the run that comes second finds the other's model in production."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bwpredict.config import RunConfig
from bwpredict.documents import decode_document, read_document
from bwpredict.errors import AlreadyPublishedError
from bwpredict.registry.layout import metadata_name
from bwpredict.registry.pointer import Production, read_production
from bwpredict.registry.versions import read_file, read_manifest
from bwpredict.store.base import Store

Document = dict[str, Any]


def require_no_twin(store: Store, area: Path, run: RunConfig, champion: str | None) -> None:
    """Refuse a challenger that equals its champion: the same snapshot, training configuration and code.

    Raises:
        AlreadyPublishedError: with a sentence that names the version in production.
    """
    serving = _of_the_same_month(store, run)
    if serving is None or serving.version != champion:
        return
    name = metadata_name(serving.version)
    served = decode_document("model_metadata", read_file(store, read_manifest(store, serving.version), name), name=name)
    if not run.training.warm_start and _inputs(served) == _inputs(
        read_document(area / metadata_name(run.version), "model_metadata")
    ):
        raise AlreadyPublishedError(
            f"{serving.version} is in production already, trained on the same telemetry of {run.month} with the same "
            f"configuration and code, so {run.version} was not published."
        )


def refuse_if_overtaken(store: Store, run: RunConfig, champion: str | None) -> None:
    """Explain a lost publication: another run published a model of the same month after this run's comparison.

    Raises:
        AlreadyPublishedError: that is so.
    """
    serving = _of_the_same_month(store, run)
    if serving and serving.version != champion:
        raise AlreadyPublishedError(
            f"In the meantime, {serving.promoted_by} put {serving.version}, also trained for {run.month}, into "
            f"production, so {run.version} was not published. Trigger the month again to compare with it."
        )


def _of_the_same_month(store: Store, run: RunConfig) -> Production | None:
    """What serves, if another run trained it for the same month."""
    serving = read_production(store)
    return serving if serving and serving.month == run.month and serving.version != run.version else None


def _inputs(metadata: Mapping[str, Any]) -> Document:
    """What determines a model."""
    return {
        "snapshot": metadata["data"]["snapshot_id"],
        "trained_elsewhere": metadata.get("trained_elsewhere"),
        "quantized": bool(metadata["run"].get("quantize")),
        **{key: metadata[key] for key in ("training_config", "model_architecture", "code_version")},
    }
