"""`bwpredict pull` and `promote --require-signature`, as a person runs them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from challengers import V1, V2
from fixtures_s3 import asking_for_credentials
from models import publish_model
from s3_users import WRITE, Users, use_file

from bwpredict.cli.main import main
from bwpredict.errors import BwPredictError
from bwpredict.serving.delivery import MODEL, read_pair
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run_(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["bwpredict", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return int(ended.value.code or 0), said

    return run_


def test_pull_brings_the_model_and_the_go_constants(store: Store, run: Run, tmp_path: Path) -> None:
    dest, go = tmp_path / "dest", tmp_path / "service" / "config.go"
    assert run("pull", "--registry", store.uri, "--dest", dest, "--go-config", go, "--go-package", "forecast")[0] == 0
    assert (dest / MODEL).is_file()
    assert "package forecast\n" in go.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--every-seconds", 0], "--every-seconds 0: expected more than 0"),
        (["--watch", "--accept-contract"], "give it without --watch"),
        (["--require-signature"], "no trusted key is given; set BWPREDICT_TRUSTED_KEYS"),
    ],
)
def test_pull_says_what_it_cannot_do(store: Store, run: Run, tmp_path: Path, options: list[object], said: str) -> None:
    code, message = run("pull", "--registry", store.uri, "--dest", tmp_path / "dest", *options)
    assert (code, said in message) == (2, True)
    assert not (tmp_path / "dest").exists()


def test_another_contract_is_refused_until_accepted(store: Store, run: Run, tmp_path: Path) -> None:
    pull = ("pull", "--registry", store.uri, "--dest", tmp_path / "dest")
    run(*pull)
    publish_model(store, tmp_path, V2, champion=V1, window_size=30)
    code, said = run(*pull)
    assert (code, "window_size is 30, built for 20" in said) == (2, True)
    assert run(*pull, "--accept-contract")[0] == 0


def test_promote_can_require_a_signature(run: Run, tmp_path: Path, keys, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path / "signed"))
    publish_model(store, tmp_path, V1)
    publish_model(store, tmp_path, V2, champion=V1, key=keys.private)
    monkeypatch.setenv("BWPREDICT_TRUSTED_KEYS", str(keys.public))
    code, said = run("promote", V1, "--registry", store.uri, "--require-signature")
    assert (code, f"{V1}: is not signed" in said) == (2, True)
    assert run("promote", V2, "--registry", store.uri, "--require-signature")[0] == 0


def test_a_watcher_takes_new_keys_from_their_file(
    s3_server: str, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, dest, keys = f"s3://{s3_bucket}/registry", tmp_path / "dest", tmp_path / "credentials"
    users = Users(s3_server)
    with asking_for_credentials(s3_server):
        key = users.add("consumer", WRITE)
        use_file(key, keys, monkeypatch)
        publish_model(open_store(registry), tmp_path, V1)
        command = [sys.executable, "-m", "bwpredict", "pull", "--registry", registry, "--dest", str(dest), "--watch"]
        with subprocess.Popen([*command, "--every-seconds", "0.5"]) as watcher:
            try:
                _wait_for(V1, dest)
                use_file(users.rotated(key), keys, monkeypatch)
                publish_model(open_store(registry), tmp_path, V2, champion=V1)
                _wait_for(V2, dest)
            finally:
                watcher.terminate()


def _wait_for(version: str, dest: Path) -> None:
    deadline = time.monotonic() + 120
    while _served(dest) != version:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _served(dest: Path) -> str | None:
    try:
        return str(read_pair(dest)[1]["version"])
    except (BwPredictError, OSError):
        return None
