"""A published version's provenance as OpenLineage datasets, emitted by Airflow's provider.

Nothing is emitted unless the extra `openlineage` is installed and the provider has a transport.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bwpredict.documents import read_document
from bwpredict.registry.layout import STATEMENT_NAME
from bwpredict.workspace.references import Reference, local_file

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset

logger = logging.getLogger(__name__)

_DAY, _CHAMPION = "telemetry of ", "champion "
"""How `bwpredict.provenance.statement` names these dependencies."""


def emit_lineage(published: Mapping[str, str]) -> None:
    """Emit what the version was made from, as an event of the running task. A failure is logged and changes nothing."""
    try:
        from airflow.providers.openlineage.api import emit_dataset_lineage, is_openlineage_active
    except ModuleNotFoundError:
        return
    try:
        if is_openlineage_active():
            statement = read_document(local_file(Reference(**published), STATEMENT_NAME), "provenance")
            inputs, output = datasets(statement)
            emit_dataset_lineage(inputs=[*inputs], outputs=[output], raise_on_error=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, the model is in production
        logger.warning("OpenLineage: the version's lineage was not emitted: %s", error)


def datasets(statement: Mapping[str, Any]) -> tuple[list[InputDataset], OutputDataset]:
    """The telemetry with each day's digest, the champion, and the version with the digest of each of its files."""
    from openlineage.client.event_v2 import InputDataset, OutputDataset

    build = statement["predicate"]["buildDefinition"]
    run, used = build["externalParameters"], {one["name"]: one for one in build["resolvedDependencies"]}
    files = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    inputs = [
        InputDataset(
            *_namespace_and_name(run["telemetry"]),
            facets=_facets("FILE", used["snapshot"]["digest"]["sha256"], {}),
            inputFacets={"subset": _days(used)},
        )
    ]
    models = _namespace_and_name(f"{run['registry'].rstrip('/')}/models")
    for name, one in used.items():
        if name.startswith(_CHAMPION):
            facets = _facets("MODEL", name.removeprefix(_CHAMPION), {"onnx": one["digest"]["sha256"]})
            inputs.append(InputDataset(*models, facets=facets))
    return inputs, OutputDataset(*models, facets=_facets("MODEL", run["version"], files))


def _namespace_and_name(uri: str) -> tuple[str, str]:
    """As OpenLineage names objects: `s3://bucket` and the key, or `file` and the path."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "file":
        return "file", (rest if separator else uri).rstrip("/")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key.rstrip("/") or "/"


def _facets(kind: str, version: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """Type and version of a dataset, and the sha256 of its files as tags."""
    from openlineage.client.facet_v2 import dataset_type_dataset, dataset_version_dataset, tags_dataset

    tags = [
        tags_dataset.TagsDatasetFacetFields(name, f"sha256:{digest}", "bwpredict") for name, digest in digests.items()
    ]
    return {
        "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet(kind),
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(version),
        **({"tags": tags_dataset.TagsDatasetFacet(tags)} if tags else {}),
    }


def _days(used: Mapping[str, Mapping[str, Any]]) -> Any:
    """The partitions that were read, each identified by the digest of its rows."""
    from openlineage.client.facet_v2 import base_subset_dataset as subset

    days = [
        subset.Partition({"date": name.removeprefix(_DAY)}, f"sha256:{one['digest']['sha256']}")
        for name, one in used.items()
        if name.startswith(_DAY)
    ]
    return subset.InputSubsetInputDatasetFacet(subset.PartitionSubsetCondition(days))
