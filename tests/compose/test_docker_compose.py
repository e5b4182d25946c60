import base64
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile"
TEXT = (REPOSITORY / "docker-compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
BUILT = {name: service for name, service in SERVICES.items() if "build" in service}
SERVING = {name: service for name, service in BUILT.items() if service["build"]["target"] == "serving"}
AIRFLOW = {name: service for name, service in BUILT.items() if name not in SERVING}


def test_the_production_set_is_complete():
    assert set(SERVICES) == {
        *("postgres", "redis", "s3", "buckets", "init"),
        *("api-server", "scheduler", "dag-processor", "triggerer", "worker", "gpu-worker"),
        *("models", "exporter", "statsd", "pushgateway", "prometheus", "alertmanager", "grafana", "mail"),
    }
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["mail"]


def test_the_file_is_what_the_compose_specification_asks_for():
    check = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*check, str(REPOSITORY / "docker-compose.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_a_mistake_in_the_file_would_be_found(tmp_path: Path):
    wrong = tmp_path / "docker-compose.yaml"
    wrong.write_text(TEXT.replace("healthcheck:", "healthchek:", 1))
    check = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    assert subprocess.run([*check, str(wrong)], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str):
    assert re.search(r":(\S*\d\S*)$", SERVICES[name]["image"])
    assert "latest" not in SERVICES[name]["image"]


def test_what_a_service_waits_for_exists_and_can_become_so():
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]


def test_every_named_volume_is_declared():
    mounted = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    used = {
        volume.split(":")[0] for volume in mounted if not volume.startswith(("/", "./"))
    }  # a path alone is an anonymous one
    assert used == set(yaml.safe_load(TEXT)["volumes"])


def test_every_secret_is_required_and_none_has_a_default():
    for line in TEXT.splitlines():
        if re.match(r"\s*\w*(PASSWORD|SECRET|KEY)\w*:", line):
            assert re.search(r"\$\{\w+:\?", line), line
    assert not re.search(r"\$\{\w*(PASSWORD|SECRET|KEY)\w*(:?-|\})", TEXT)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_limits_of_memory_and_processors(name: str):
    assert set(SERVICES[name]["deploy"]["resources"]["limits"]) == {"cpus", "memory"}


@pytest.mark.parametrize(
    "name", sorted({*BUILT, "pushgateway", "prometheus", "alertmanager", "grafana"} - {"init", "buckets"})
)
def test_every_service_is_watched_hardened_and_restarted(name: str):
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_what_is_written_lies_on_volumes_or_in_memory():
    worker = SERVICES["worker"]
    paths = {volume.split(":")[-1] for volume in worker["volumes"]} | {at.split(":")[0] for at in worker["tmpfs"]}
    assert {"/tmp", "/opt/airflow", "/opt/airflow/work"} <= paths  # noqa: S108 - inside the container


def test_airflow_s_folder_in_memory_belongs_to_the_image_s_user():
    """Docker gives a tmpfs the mode of the image's folder, but not its owner (moby/moby#39466)."""
    for service in AIRFLOW.values():
        assert "/opt/airflow:uid=50000,gid=50000" in service["tmpfs"]


def test_the_image_builds_from_pinned_bases_for_an_ordinary_user_and_passes_the_linter():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("hadolint")), str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    lines = DOCKERFILE.read_text().splitlines()
    stages = {line.split()[-1]: line.split()[1] for line in lines if line.startswith("FROM")}
    assert all(base in stages or re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base) for base in stages.values())
    assert {service["build"]["target"] for service in BUILT.values()} <= set(stages)
    assert [line for line in lines if line.startswith("USER")] == ["USER 50000"] * 2


def test_every_file_that_a_command_names_is_in_the_folder_that_is_mounted():
    named = {
        (name, path)
        for name, service in SERVICES.items()
        for word in service.get("command", [])
        for path in re.findall(r"/etc/bwpredict/([\w./-]+)", word)
    }
    assert {path for _, path in named} == {"thresholds.yml", "prometheus.yml", "alertmanager.yml"}
    for name, path in named:
        assert (REPOSITORY / "monitoring" / path).is_file()
        assert "./monitoring:/etc/bwpredict:ro" in SERVICES[name]["volumes"]


def test_prometheus_scrapes_services_of_the_set_and_tells_its_alertmanager():
    config = yaml.safe_load((REPOSITORY / "monitoring/prometheus.yml").read_text())
    jobs = [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
    targets = {target for job in jobs for each in job["static_configs"] for target in each["targets"]}
    assert targets >= {"exporter:9108", "pushgateway:9091", "statsd:9102", "alertmanager:9093"}
    assert {target.split(":")[0] for target in targets} <= {*SERVICES, "localhost"}
    assert AIRFLOW["worker"]["environment"]["BWPREDICT_PUSHGATEWAY"] == "http://pushgateway:9091"
    alerts = yaml.safe_load((REPOSITORY / "monitoring/alertmanager.yml").read_text())
    assert alerts["global"]["smtp_smarthost"].split(":")[0] in SERVICES


def test_consumers_know_the_buckets_and_no_secret_of_airflow():
    assert set(SERVING) == {"models", "exporter"}
    for service in SERVING.values():
        assert not [name for name in service["environment"] if name.startswith("AIRFLOW")]
        assert service["environment"].items() <= AIRFLOW["worker"]["environment"].items()


def test_the_image_holds_what_the_dockerfile_copies_and_nothing_of_this_checkout_besides():
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        name
        for line in DOCKERFILE.read_text().splitlines()
        if line.startswith("COPY") and "--from" not in line
        for name in line.split()[1:-1]
    }
    assert copied == allowed


def test_nothing_but_this_host_reaches_the_published_ports():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_training_has_a_worker_of_its_own_with_a_gpu():
    reserved = {
        name: service["deploy"]["resources"]["reservations"]["devices"]
        for name, service in SERVICES.items()
        if "reservations" in service["deploy"]["resources"]
    }
    assert list(reserved) == ["gpu-worker"]
    assert [device["capabilities"] for device in reserved["gpu-worker"]] == [["gpu"]]
    assert SERVICES["gpu-worker"]["build"]["target"] == "cuda"
    command = SERVICES["gpu-worker"]["command"]
    assert command[command.index("--queues") + 1] == "gpu"
    assert command[command.index("--concurrency") + 1] == "1"
    command = SERVICES["worker"]["command"]
    assert command[command.index("--queues") + 1] == "default"


def test_all_airflow_processes_share_one_environment_and_a_store_for_work_areas_but_no_two_a_folder():
    shared = SERVICES["scheduler"]["environment"]
    for service in AIRFLOW.values():
        assert shared.items() <= service["environment"].items()
    assert shared["BWPREDICT_WORK_STORE"].startswith("s3://")
    mounted = [volume for service in AIRFLOW.values() for volume in service.get("volumes", [])]
    assert mounted == [shared["BWPREDICT_WORK"]] * 2


@pytest.mark.usefixtures("s3_environment")
def test_the_buckets_are_made_at_start_and_kept_at_the_next():
    program = SERVICES["buckets"]["command"]
    for _ in range(2):
        subprocess.run([sys.executable, *program[1:]], check=True)
    made = {bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]}
    values = map(str, AIRFLOW["buckets"]["environment"].values())
    wanted = {"/".join(value.split("/")[:3]) for value in values if value.startswith("s3://")}
    assert {f"s3://{name}" for name in made} >= wanted


def test_make_env_writes_a_secret_for_each_that_is_asked_for_and_never_overwrites(tmp_path: Path):
    (tmp_path / "docker-compose.yaml").write_text(TEXT)
    command = [sys.executable, str(REPOSITORY / "scripts" / "make_env.py")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    written = (tmp_path / ".env").read_text()
    values = dict(line.split("=", 1) for line in written.splitlines())
    assert set(values) == set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert len(set(values.values())) == len(values)
    assert len(base64.urlsafe_b64decode(values["AIRFLOW_FERNET_KEY"])) == 32
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    again = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    assert again.returncode == 2
    assert (tmp_path / ".env").read_text() == written
