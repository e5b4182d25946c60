"""The announcement of a new model: its version, and how good it is."""

from __future__ import annotations

from typing import Any

from bwpredict.documents import decode_document
from bwpredict.registry.layout import metadata_name
from bwpredict.registry.pointer import Production
from bwpredict.registry.versions import read_file, read_manifest
from bwpredict.store.base import Store


def announcement(store: Store, made: Production) -> dict[str, Any]:
    """Version, checksum, kind of move and the figures on the test span; small, and plain JSON.

    Raises:
        ObjectMissingError, ObjectCorruptError, DocumentError: the version's metadata cannot be read.
    """
    name = metadata_name(made.version)
    metadata = decode_document("model_metadata", read_file(store, read_manifest(store, made.version), name), name=name)
    performance = metadata["performance_metrics"]
    return {
        "version": made.version,
        "sha256": made.sha256,
        "month": made.month,
        "kind": made.kind,
        "replaced": made.replaced,
        "metrics": {
            **{key: performance["overall"][key] for key in ("average_correlation", "average_mape")},
            "skill": {target: figures.get("skill") for target, figures in performance["per_target"].items()},
        },
    }
