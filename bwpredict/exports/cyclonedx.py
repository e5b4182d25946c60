"""The model card of a published version as a CycloneDX 1.6 document: https://cyclonedx.org/docs/1.6/json/."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from bwpredict import __version__, schema
from bwpredict.core.formatting import display_name
from bwpredict.documents import decode_document
from bwpredict.registry.layout import DECISION_NAME, metadata_name, onnx_name
from bwpredict.registry.versions import Manifest, read_file, read_manifest
from bwpredict.store.base import Store

Document = dict[str, Any]

SPEC_VERSION = "1.6"
NAME = "bandwidth_predictor"


def model_card(store: Store, version: str) -> Document:
    """The document about `version`: parameters, telemetry, figures, limits, and the sha256 of each of its files.

    Raises:
        ConfigError, ObjectMissingError, ObjectCorruptError, DocumentError: the version cannot be read.
    """
    manifest = read_manifest(store, version)
    metadata = _read(store, manifest, metadata_name(version), "model_metadata")
    decision = _read(store, manifest, DECISION_NAME, "decision")
    digest = manifest.sha256[onnx_name(version)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "timestamp": metadata["created_at"],
            "tools": {"components": [{"type": "application", "name": "bwpredict", "version": __version__}]},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": f"{NAME}@{version}",
                "name": NAME,
                "version": version,
                "hashes": _sha256(digest),
                "modelCard": {
                    "modelParameters": _parameters(metadata),
                    "quantitativeAnalysis": {"performanceMetrics": list(_figures(metadata["performance_metrics"]))},
                    "considerations": _considerations(metadata),
                    "properties": _properties(
                        {"policy": decision["policy"]["name"], "decision": decision["reason"], "seed": metadata["seed"]}
                        | {name: metadata["run"][name] for name in ("month", "code_version")}
                    ),
                },
            },
        },
        "components": [
            {"type": "file", "bom-ref": f"{version}/{name}", "name": name, "hashes": _sha256(sha256)}
            for name, sha256 in manifest.sha256.items()
        ],
    }


def _read(store: Store, manifest: Manifest, name: str, kind: str) -> Document:
    return decode_document(kind, read_file(store, manifest, name), name=name)


def _sha256(digest: str) -> list[Document]:
    return [{"alg": "SHA-256", "content": digest}]


def _properties(values: Mapping[str, Any]) -> list[Document]:
    return [{"name": f"bwpredict:{name}", "value": str(value)} for name, value in values.items() if value is not None]


def _parameters(metadata: Mapping[str, Any]) -> Document:
    contract, data = metadata["contract"], metadata["data"]
    outputs = [contract["output"], *contract.get("further_outputs", [])]
    return {
        "approach": {"type": "supervised"},
        "task": "time series forecasting",
        "modelArchitecture": str(metadata["model_architecture"]["type"]),
        "datasets": [
            {
                "type": "dataset",
                "name": f"telemetry {data['start']} to {data['end']}",
                "contents": {"properties": _properties({key: data[key] for key in ("snapshot_id", "rows", "links")})},
            }
        ],
        "inputs": [{"format": _format(contract["input"])}],
        "outputs": [{"format": _format(tensor)} for tensor in outputs],
    }


def _format(tensor: Mapping[str, Any]) -> str:
    columns = ", ".join(" ".join(filter(None, (column["name"], column["unit"]))) for column in tensor["columns"])
    return f"{tensor['name']}: {tensor['dtype']}, columns {columns}"


def _figures(performance: Mapping[str, Any]) -> Iterator[Document]:
    for part, figures in {"overall": performance["overall"], **performance["per_target"]}.items():
        for name, value in figures.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                unit = schema.COLUMN[part].unit if name in ("mae", "rmse") else ""
                yield {"type": name, "value": f"{value} {unit}".strip(), "slice": part}


def _considerations(metadata: Mapping[str, Any]) -> Document:
    minutes = metadata["contract"]["horizon_minutes"]
    targets = ", ".join(display_name(target) for target in metadata["targets"])
    absent = [
        f"{display_name(target)} is not forecast: the telemetry lacks it, or training never saw it change."
        for target in metadata["performance_metrics"]["absent_targets"]
    ]
    return {
        "useCases": [f"Forecast {targets} of network links {minutes} minutes ahead."],
        "technicalLimitations": [*metadata.get("warnings", []), *absent],
    }
