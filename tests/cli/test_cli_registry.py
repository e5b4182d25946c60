"""`bwpredict gc` and `bwpredict verify`, as a person runs them."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from challengers import NOW, V1, V2, V3, three_published

from bwpredict import __version__
from bwpredict.cli.main import main
from bwpredict.registry.promotion import rollback
from bwpredict.registry.versions import list_versions
from bwpredict.store.factory import open_store

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line; gives the exit code and what was said."""

    def run_(*arguments: object) -> tuple[int, str]:
        caplog.clear()
        monkeypatch.setattr(sys, "argv", ["bwpredict", *map(str, arguments)])
        with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as exit_:
            main()
        code = exit_.value.code
        return (code if isinstance(code, int) else int(bool(code))), caplog.text + capsys.readouterr().err

    return run_


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """V2 serves, V1 is below it, V3 was rolled back; all written a month ago."""
    store = open_store(str(tmp_path / "root"))
    three_published(store, tmp_path)
    rollback(store, promoted_by="me", now=NOW)
    for path in (tmp_path / "root").rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return tmp_path / "root"


def test_gc_tells_what_it_would_delete_and_then_deletes_it(run: Run, root: Path) -> None:
    code, said = run("gc", "--registry", root, "--keep", 0, "--dry-run")
    assert code == 0
    assert "1 version would be deleted" in said
    assert V3 in said
    assert list_versions(open_store(str(root))) == [V1, V2, V3]

    code, said = run("gc", "--registry", root, "--keep", 0)
    assert (code, "1 version deleted" in said) == (0, True)
    assert list_versions(open_store(str(root))) == [V1, V2]
    assert run("verify", "--registry", root)[0] == 0


def test_gc_keeps_twelve_versions_unless_told_otherwise(run: Run, root: Path) -> None:
    assert "0 versions deleted" in run("gc", "--registry", root)[1]


def test_gc_refuses_a_negative_number(run: Run, root: Path) -> None:
    code, said = run("gc", "--registry", root, "--keep", -1)
    assert code == 2
    assert "must not be negative" in said


def test_status_tells_the_latest_moves_and_versions_and_how_many_there_are(run: Run, root: Path) -> None:
    code, said = run("status", "--registry", root, "--moves", 2)
    assert code == 0
    assert f"{V2} is in production since " in said
    assert f"3 published versions, the newest first: {V3}, {V2}" in said


def test_status_shows_the_latest_move_first_with_its_reason(cli, root: Path) -> None:
    assert cli("promote", V3, "--registry", root, "--reason", "better on the new links")[0] == 0
    _, table, _ = cli("status", "--registry", root)
    rows = [line for line in table.splitlines() if line[:1].isdigit()]
    assert [int(row.split()[0]) for row in rows] == [5, 4, 3, 2, 1]
    moves = json.loads(cli("status", "--registry", root, "--json")[1])["history"]
    assert moves[0]["reason"] == "better on the new links"


def test_json_output_holds_what_the_text_says(cli, root: Path) -> None:
    code, printed, _ = cli("status", "--registry", root, "--json")
    document = json.loads(printed)
    assert (code, document["production"]["version"], document["versions"]) == (0, V2, [V3, V2, V1])
    assert [move["kind"] for move in document["history"]] == ["rollback", "promotion", "promotion", "bootstrap"]
    planned = json.loads(cli("gc", "--registry", root, "--keep", 0, "--dry-run", "--json")[1])
    assert (planned["dry_run"], planned["versions"]) == (True, [V3])
    assert json.loads(cli("verify", "--registry", root, "--json")[1])["problems"] == []


def test_verify_with_json_still_ends_with_exit_code_1_on_a_problem(cli, root: Path) -> None:
    next((root / "models" / V1).glob("*.onnx")).write_bytes(b"other")
    code, printed, _ = cli("verify", "--registry", root, "--json")
    assert code == 1
    assert V1 in json.loads(printed)["problems"][0]


@pytest.mark.parametrize("command", ["status", "verify", "gc", "rollback"])
def test_a_registry_that_does_not_exist_is_an_error(cli, tmp_path: Path, command: str) -> None:
    code, _, said = cli(command, "--registry", tmp_path / "nowhere")
    assert (code, "nowhere: no such folder; expected a registry" in said) == (2, True)
    assert not (tmp_path / "nowhere").exists()


def test_the_version_is_printed(cli) -> None:
    assert cli("--version")[:2] == (0, f"bwpredict {__version__}\n")


def test_the_table_of_moves_has_every_version_in_full_on_eighty_columns(cli, root: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, table, _ = cli("status", "--registry", root)
    assert all(version in table for version in (V1, V2, V3))
    assert "…" not in table


def test_verify_names_what_is_damaged_and_fails(run: Run, root: Path) -> None:
    code, said = run("verify", "--registry", root)
    assert (code, "3 versions, 36 files, 4 moves of production: no problems" in said) == (0, True)

    (root / "models" / V1 / "profile.json").write_bytes(b"damaged")
    (root / "models" / V3 / "model_card.html").unlink()
    code, said = run("verify", "--registry", root)
    assert code == 1
    assert f"PROBLEM {root}/models/{V1}/profile.json: the bytes do not match" in said
    assert f"PROBLEM {root}/models/{V3}/model_card.html: is gone" in said
    assert "2 problems" in said


def test_verify_notes_an_unfinished_upload_and_does_not_fail_for_it(run: Run, root: Path) -> None:
    (root / "models" / "v20260101_000000").mkdir()
    (root / "models" / "v20260101_000000" / "best_model.pth").write_bytes(b"half")
    code, said = run("verify", "--registry", root)
    assert code == 0
    assert "note: models/v20260101_000000 has no MANIFEST.json" in said


@pytest.mark.parametrize("command", ["gc", "verify"])
def test_a_registry_that_cannot_be_is_named(run: Run, command: str) -> None:
    code, said = run(command, "--registry", "ftp://models")
    assert code == 2
    assert "ftp://models" in said
