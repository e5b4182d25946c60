"""The values, rendered by helm with Airflow's own chart: `make test-chart` brings both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
VALUES = REPOSITORY / "deploy" / "kubernetes" / "values.yaml"
CHART, HELM = REPOSITORY / "build" / "chart" / "airflow", REPOSITORY / "build" / "chart" / "helm"
KUBERNETES = "1.33"
Document = dict[str, Any]

pytestmark = pytest.mark.skipif(not CHART.is_dir(), reason="make test-chart brings helm and the chart")


@pytest.fixture(scope="module")
def rendered() -> list[Document]:
    """Helm also checks the values by the chart's own schema."""
    command = [HELM, "template", "airflow", CHART, "--namespace", "airflow", "--values", VALUES]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [document for document in yaml.safe_load_all(output) if document]


def test_every_object_is_what_kubernetes_asks_for(rendered):
    assert {document["kind"] for document in rendered} >= {"Deployment", "StatefulSet", "Job", "ConfigMap"}
    for document in [*rendered, pod_template(rendered)]:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_every_process_of_airflow_has_our_image_settings_secret_and_scratch(rendered):
    names = {variable["name"]: variable["value"] for variable in yaml.safe_load(VALUES.read_text())["env"]}
    processes = [one for one in containers(rendered) if "AIRFLOW__CORE__FERNET_KEY" in environment(one)]
    assert len(processes) >= 5
    for process in processes:
        assert process["image"] == "bwpredict:0.2.0"
        assert environment(process).items() >= names.items()
        assert {"secretRef": {"name": "bwpredict"}} in process["envFrom"]
        assert "work" in {mount["name"] for mount in process["volumeMounts"]}


def test_secrets_are_those_of_the_page_and_nobody_gets_a_known_password(rendered):
    found = {
        (source["name"], source["key"])
        for container in containers(rendered)
        for variable in container.get("env", [])
        if (source := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    assert found == {
        ("airflow-metadata", "connection"),
        ("airflow-fernet-key", "fernet-key"),
        ("airflow-api-secret-key", "api-secret-key"),
        ("airflow-jwt-secret", "jwt-secret"),
    }
    jobs = [document["metadata"]["name"] for document in rendered if document["kind"] == "Job"]
    assert jobs == ["airflow-run-airflow-migrations"]


def test_the_chart_knows_every_key():
    """Its schema lets unknown keys pass, which helm then ignores."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert list(unknown(yaml.safe_load(VALUES.read_text()), schema, "")) == []
    assert list(unknown({"executer": "KubernetesExecutor"}, schema, "")) == [".executer"]


def unknown(values: Document, schema: Document, where: str) -> Iterator[str]:
    """The keys that the schema does not name; free objects such as `config` have none to name."""
    named = schema.get("properties")
    if named is None:
        return
    for key, value in values.items():
        if key not in named:
            if not isinstance(schema.get("additionalProperties"), dict):
                yield f"{where}.{key}"
        elif isinstance(value, dict):
            yield from unknown(value, named[key], f"{where}.{key}")


def pod_template(rendered: list[Document]) -> Document:
    """The pod that the executor makes for each task."""
    (text,) = (
        document["data"]["pod_template_file.yaml"]
        for document in rendered
        if document["kind"] == "ConfigMap" and "pod_template_file.yaml" in document["data"]
    )
    template: Document = yaml.safe_load(text)
    return template


def containers(rendered: list[Document]) -> Iterator[Document]:
    """Of every pod, that of tasks included."""
    for document in [*rendered, {"spec": {"template": pod_template(rendered)}}]:
        pod = document.get("spec", {}).get("template", {}).get("spec", {})
        yield from [*(pod.get("containers") or []), *(pod.get("initContainers") or [])]


def environment(container: Document) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in container.get("env", [])}
