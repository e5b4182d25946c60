"""OpenLineage's events of the retraining, by Airflow's provider and its file transport."""

from pathlib import Path

import pytest
from bwpredict_airflow.lineage import datasets
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import base_subset_dataset, dataset_type_dataset, dataset_version_dataset, tags_dataset

from bwpredict.documents import read_document
from bwpredict.registry.promotion import read_history
from bwpredict.registry.versions import read_manifest
from bwpredict.store.factory import open_store

FACETS = {
    "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet,
    "version": dataset_version_dataset.DatasetVersionDatasetFacet,
    "tags": tags_dataset.TagsDatasetFacet,
    "subset": base_subset_dataset.InputSubsetInputDatasetFacet,
}


@pytest.fixture
def published(scenarios):
    """The one event of the first month's publication that names datasets."""
    (event,) = [
        event
        for event in scenarios.lineage
        if event["job"]["name"] == "bandwidth_predictor_retrain.publish" and event["outputs"]
    ]
    return event


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_task_of_a_run_is_told_and_its_events_are_openlineages(scenarios):
    events = [as_types(event) for event in scenarios.lineage]
    told = {(event.job.name.rpartition(".")[2], event.eventType) for event in events}
    for task in ("snapshot", "train", "decide", "publish"):
        assert {(task, RunState.START), (task, RunState.COMPLETE)} <= told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_publication_names_the_telemetry_by_digest_and_the_version_that_came_of_it(scenarios, published):
    area = Path(scenarios.runs["bootstrap"]["area"])
    snapshot = read_document(area / "snapshot.json", "snapshot")
    version = read_history(open_store(str(scenarios.registry)))[0].version
    (telemetry,), (model,) = published["inputs"], published["outputs"]
    assert (telemetry["namespace"], telemetry["name"]) == ("file", snapshot["telemetry_uri"])
    assert telemetry["facets"]["version"]["datasetVersion"] == snapshot["snapshot_id"]
    days = telemetry["inputFacets"]["subset"]["inputCondition"]["partitions"]
    assert {day["dimensions"]["date"]: day["identifier"] for day in days} == {
        day["date"]: f"sha256:{day['sha256']}" for day in snapshot["days"]
    }
    assert (model["namespace"], model["name"]) == ("file", f"{scenarios.registry}/models")
    assert model["facets"]["datasetType"]["datasetType"] == "MODEL"
    assert model["facets"]["version"]["datasetVersion"] == version
    manifest = read_manifest(open_store(str(scenarios.registry)), version).sha256
    digests = {tag["key"]: tag["value"] for tag in model["facets"]["tags"]["tags"]}
    assert digests[f"bandwidth_lstm_{version}.onnx"] == f"sha256:{manifest[f'bandwidth_lstm_{version}.onnx']}"
    assert digests.keys() == manifest.keys() - {"provenance.json", "provenance.dsse.json"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_transport_that_fails_changes_nothing_and_is_logged(scenarios):
    assert scenarios.runs["promote"]["state"] == "success"
    assert "Failed to emit OpenLineage `RUNNING` event" in scenarios.log_of("promote")
    assert len(scenarios.runs["promote"]["asset_events"]) == 1


def test_a_champion_is_an_input_and_buckets_are_namespaces():
    statement = {
        "subject": [{"name": "model.onnx", "digest": {"sha256": "ab"}}],
        "predicate": {
            "buildDefinition": {
                "externalParameters": {
                    "version": "v2",
                    "telemetry": "s3://lake/telemetry/",
                    "registry": "s3://models/net/",
                },
                "resolvedDependencies": [
                    {"name": "snapshot", "digest": {"sha256": "5a"}},
                    {"name": "telemetry of 2026-10-01", "digest": {"sha256": "da"}},
                    {"name": "champion v1", "digest": {"sha256": "c1"}},
                ],
            }
        },
    }
    (telemetry, champion), model = datasets(statement)
    assert (telemetry.namespace, telemetry.name) == ("s3://lake", "telemetry")
    assert (champion.namespace, champion.name) == (model.namespace, model.name) == ("s3://models", "net/models")
    assert [each.facets["version"].datasetVersion for each in (champion, model)] == ["v1", "v2"]
    assert [(tag.key, tag.value) for tag in champion.facets["tags"].tags] == [("onnx", "sha256:c1")]


def as_types(event):
    """The event rebuilt from OpenLineage's own types, which take no field that they do not know."""
    inputs = [as_dataset(InputDataset, one) for one in event["inputs"]]
    outputs = [as_dataset(OutputDataset, one) for one in event["outputs"]]
    run, job = Run(event["run"]["runId"]), Job(event["job"]["namespace"], event["job"]["name"])
    return RunEvent(
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=run,
        job=job,
        eventType=RunState(event["eventType"]),
        inputs=inputs,
        outputs=outputs,
    )


def as_dataset(kind, document):
    parts = {
        part: {
            name: FACETS[name](**{key: value for key, value in facet.items() if not key.startswith("_")})
            for name, facet in document.get(part, {}).items()
        }
        for part in ("facets", "inputFacets", "outputFacets")
        if part in document
    }
    return kind(document["namespace"], document["name"], **parts)
