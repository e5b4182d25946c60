"""The files for Kubernetes, against its schemas and through Airflow's own pod generator."""

import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "deploy" / "kubernetes"
VALUES: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text())
GPU_POD: dict[str, Any] = yaml.safe_load((FOLDER / "gpu-pod.yaml").read_text())
COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())
MONITORING = REPOSITORY / "monitoring"
MONITORING_SET: list[dict[str, Any]] = list(yaml.safe_load_all((MONITORING / "kubernetes.yaml").read_text()))
KUBERNETES = "1.33"


@pytest.mark.parametrize("name", ["gpu-pod.yaml", "work-claim.yaml"])
def test_every_manifest_is_what_kubernetes_asks_for(name: str):
    kubernetes_validate.validate(yaml.safe_load((FOLDER / name).read_text()), KUBERNETES, strict=True)


def test_the_monitoring_set_is_what_kubernetes_asks_for():
    for manifest in MONITORING_SET:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_monitoring_set_runs_the_images_and_files_of_the_compose_file():
    pods = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in of_kind("Deployment")}
    images = {one["name"]: one["image"] for pod in pods.values() for one in pod["containers"]}
    services = COMPOSE["services"]
    pinned = {name: image for name, image in images.items() if not image.startswith("bwpredict")}
    assert set(pinned) == {"pushgateway", "prometheus", "alertmanager", "grafana"}
    assert pinned == {name: services[name]["image"] for name in pinned}
    generator = yaml.safe_load((MONITORING / "kustomization.yaml").read_text())["configMapGenerator"]
    volumes = [volume for pod in pods.values() for volume in pod["volumes"]]
    mounted = {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}
    assert mounted == {each["name"] for each in generator}
    generated = {MONITORING / name for each in generator for name in each["files"]}
    beside = {MONITORING / name for name in ("alerts.test.yml", "kubernetes.yaml", "kustomization.yaml")}
    assert generated == {path for path in MONITORING.rglob("*") if path.is_file()} - beside


def test_the_targets_of_prometheus_are_services_of_the_monitoring_set():
    ports = {(each["metadata"]["name"], each["spec"]["ports"][0]["port"]) for each in of_kind("Service")}
    for name, port in ports - {("statsd", 9102)}:
        pod = next(each for each in of_kind("Deployment") if each["metadata"]["name"] == f"bwpredict-{name}")
        assert pod["spec"]["template"]["spec"]["containers"][-1]["ports"] == [{"containerPort": port}]
    config = (MONITORING / "prometheus.yml").read_text()
    asked = {(name, int(port)) for name, port in re.findall(r"\b([a-z]+):(\d+)\b", config) if name != "localhost"}
    assert asked <= ports


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in MONITORING_SET if manifest["kind"] == kind]


def test_a_mistake_in_a_manifest_would_be_found():
    wrong = {**GPU_POD, "spec": {**GPU_POD["spec"], "toleration": []}}
    with pytest.raises(kubernetes_validate.ValidationError, match="toleration"):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_the_executor_makes_a_pod_with_a_card_of_the_template():
    pytest.importorskip("airflow.providers.cncf.kubernetes")
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    pod = PodGenerator.construct_pod(
        dag_id="bandwidth_predictor_retrain",
        task_id="train",
        pod_id="bandwidth-predictor-retrain-train-1",
        try_number=1,
        kube_image=None,
        date=datetime(2026, 11, 1, tzinfo=UTC),
        args=["python", "-m", "airflow.sdk.execution_time.execute_workload"],
        pod_override_object=None,
        base_worker_pod=PodGenerator.deserialize_model_file(str(FOLDER / "gpu-pod.yaml")),
        namespace="airflow",
        scheduler_job_id="1",
        run_id="manual__2026-11-01",
    )
    made = PodGenerator.serialize_pod(pod)
    kubernetes_validate.validate(made, KUBERNETES, strict=True)
    container = made["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["image"] == GPU_POD["spec"]["containers"][0]["image"]
    assert made["metadata"]["labels"]["task_id"] == "train"


@pytest.mark.parametrize(("queue", "routed"), [("gpu", True), ("default", False)])
def test_the_policy_gives_tasks_of_the_queue_gpu_the_pod_with_a_card(queue: str, *, routed: bool):
    scope: dict[str, Any] = {}
    exec(VALUES["airflowLocalSettings"], scope)  # noqa: S102 - as Airflow does
    task = SimpleNamespace(queue=queue, executor_config={})
    scope["task_policy"](task)
    inside = "/opt/bwpredict/deploy/kubernetes/gpu-pod.yaml"
    assert task.executor_config == ({"pod_template_file": inside} if routed else {})
    assert "COPY deploy deploy" in (REPOSITORY / "Dockerfile").read_text()


def test_pods_with_and_without_a_card_get_the_same_settings_and_volumes():
    container = GPU_POD["spec"]["containers"][0]
    assert [variable for variable in VALUES["env"] if variable not in container["env"]] == []
    assert all(volume in GPU_POD["spec"]["volumes"] for volume in VALUES["volumes"])
    assert all(mount in container["volumeMounts"] for mount in VALUES["volumeMounts"])
    assert yaml.safe_load(VALUES["extraEnvFrom"]) == container["envFrom"]


def test_the_settings_are_those_of_the_compose_file():
    values = {variable["name"]: variable["value"] for variable in VALUES["env"]}
    shared = {name: value for name, value in COMPOSE["x-environment"].items() if name in values and "${" not in value}
    assert len(shared) >= 6
    assert {name: values[name] for name in shared} == shared
    secret = {"BWPREDICT_ALERT_URLS"}
    assert {name for name in COMPOSE["x-environment"] if name.startswith("BWPREDICT_")} - secret <= set(values)


def test_the_pod_may_write_nothing_but_its_volumes_and_runs_as_the_images_user():
    security = GPU_POD["spec"]["containers"][0]["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert f"USER {GPU_POD['spec']['securityContext']['runAsUser']}" in (REPOSITORY / "Dockerfile").read_text()


def test_no_secret_has_a_value_in_the_files():
    for path in FOLDER.glob("*.yaml"):
        text = path.read_text()
        assert "password" not in text.lower()
        assert "AWS_SECRET_ACCESS_KEY" not in text
