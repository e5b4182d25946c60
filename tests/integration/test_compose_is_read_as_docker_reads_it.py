"""What these tests take from docker-compose.yaml is what Docker's own parser finds in it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from compose import COMPOSE, REPOSITORY, services

# The package's own entry point hides the exit code.
PROGRAM = next(REPOSITORY.glob("build/docker-compose/lib/python*/site-packages/compose/docker-compose"), None)


def config(folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    if PROGRAM is None:
        pytest.skip("needs Docker Compose (make test-integration installs it)")
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    command = [PROGRAM, "--file", COMPOSE, "--env-file", ".env", "--profile", "dev", "config", "--format", "json"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_services_commands_environments_checks_and_mounts_are_the_same(tmp_path: Path):
    names = re.findall(r"\$\{(\w+):\?", COMPOSE.read_text())
    variables = {name: f"secret-{number}" for number, name in enumerate(names)}
    done = config(tmp_path, variables)
    assert done.returncode == 0, done.stderr
    docker: dict[str, Any] = json.loads(done.stdout.replace("$$", "$"))["services"]
    ours = services(variables)
    assert set(docker) == set(ours)
    for name, service in ours.items():
        read = docker[name]
        assert read.get("command") == service.get("command"), name
        assert read.get("environment", {}) == service.get("environment", {}), name
        assert read.get("healthcheck", {}).get("test") == service.get("healthcheck", {}).get("test"), name
        assert read["image"] == service["image"]
        mounted = {volume["target"] for volume in read.get("volumes", [])}
        assert mounted == {volume.removesuffix(":ro").split(":")[-1] for volume in service.get("volumes", [])}
    assert {volume["source"] for volume in docker["grafana"]["volumes"]} == {"grafana", str(REPOSITORY / "monitoring")}


def test_a_secret_that_is_missing_is_named(tmp_path: Path):
    done = config(tmp_path, {})
    assert done.returncode != 0
    assert "make secrets writes it" in done.stderr
