"""`--model NAME`: the commands on a registry, for one of several models."""

from __future__ import annotations

from pathlib import Path

import pytest
from challengers import V1, V2, a_challenger, published

from bwpredict.registry.promotion import read_production
from bwpredict.store.factory import open_store


@pytest.fixture
def registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where the models `default` (V1 serves) and `eu-west` (V2 serves, V1 below) are published."""
    (tmp_path / "models.yaml").write_text("models: [{name: eu-west, telemetry: nowhere}]")
    monkeypatch.setenv("BWPREDICT_MODELS", str(tmp_path / "models.yaml"))
    monkeypatch.setenv("BWPREDICT_REGISTRY", str(tmp_path / "registry"))
    places = {"default": str(tmp_path / "registry"), "eu-west": str(tmp_path / "registry" / "eu-west")}
    for name, place in places.items():
        published(open_store(place), a_challenger(tmp_path / name, V1))
    published(open_store(places["eu-west"]), a_challenger(tmp_path / "eu-west", V2, champion=V1))
    return places


def serving(registry: str) -> str | None:
    production = read_production(open_store(registry))
    return production.version if production else None


def test_a_rollback_and_a_promotion_of_one_model_leave_the_other_alone(cli, registries):
    assert cli("rollback", "--model", "eu-west")[0] == 0
    assert {name: serving(place) for name, place in registries.items()} == {"default": V1, "eu-west": V1}
    assert cli("promote", V2, "--model", "eu-west")[0] == 0
    assert {name: serving(place) for name, place in registries.items()} == {"default": V1, "eu-west": V2}
    assert cli("promote", V2)[0] == 2


@pytest.mark.parametrize("command", [("status",), ("verify",), ("gc", "--dry-run"), ("canary",)])
def test_the_other_commands_take_a_model_too(cli, registries, caplog, command):
    with caplog.at_level("INFO"):
        assert cli(*command, "--model", "eu-west")[0] == 0
    assert registries["eu-west"] in caplog.text


def test_the_registry_of_the_default_model_is_whole_although_others_lie_in_its_folder(cli, registries, caplog):
    with caplog.at_level("INFO"):
        assert cli("verify")[0] == 0
    assert "1 version," in caplog.text


def test_an_unknown_model_is_named(cli, registries):
    code, _, said = cli("status", "--model", "eu-wst")
    assert code == 2
    assert "'eu-wst' is not a model; there are: default, eu-west" in said


def test_registry_and_model_together_are_refused(cli, registries):
    code, _, said = cli("status", "--model", "eu-west", "--registry", "elsewhere")
    assert (code, "give one of them" in said) == (2, True)


def test_a_retraining_reads_the_telemetry_of_its_model_and_works_in_its_own_folder(cli, registries, tmp_path):
    code, _, said = cli("retrain", "--month", "2026-10", "--model", "eu-west", "--work", tmp_path / "work")
    assert code == 2
    assert "nowhere" in said
