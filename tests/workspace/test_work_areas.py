"""Machines that share nothing but a store: each has a folder of its own for BWPREDICT_WORK."""

import json
import logging
import multiprocessing
import resource
import signal
import threading
from pathlib import Path

import pytest

from bwpredict.errors import (
    DocumentError,
    ObjectCorruptError,
    ObjectMissingError,
    OvertakenError,
    StoreError,
    StoreUnreachableError,
    UnknownOutcomeError,
)
from bwpredict.store.factory import open_store
from bwpredict.workspace import areas
from bwpredict.workspace.sync import AreaCopy


@pytest.fixture
def uri(store, monkeypatch):
    """The store that the work areas are shared by: a folder, then a bucket."""
    monkeypatch.setenv("BWPREDICT_WORK_STORE", store.uri)
    return store.uri


@pytest.fixture
def local_uri(local_store, monkeypatch):
    monkeypatch.setenv("BWPREDICT_WORK_STORE", local_store.uri)
    return local_store.uri


@pytest.fixture
def on(tmp_path, monkeypatch):
    """`on("a")` makes this process one of machine a; returns the area of the run there."""

    def machine(name: str) -> Path:
        monkeypatch.setenv("BWPREDICT_WORK", str(tmp_path / name))
        return tmp_path / name / "run"

    return machine


def write(area, **texts):
    for name, text in texts.items():
        path = area / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def step(area, part="", **texts):
    with areas.workspace_lock(area, part):
        write(area, **texts)


def files_in(area):
    paths = [path for path in area.rglob("*") if path.is_file()]
    return {path.relative_to(area).as_posix(): path.read_text() for path in paths}


def stored(uri):
    return json.loads(open_store(uri).read("areas/run.json")[0])["files"]


def test_what_a_step_wrote_on_one_machine_is_on_the_machine_of_the_next(uri, on):
    step(on("a"), run="plan", telemetry__day="rows")
    step(on("b"), run="another plan", model="weights")
    with areas.workspace_lock(on("c")):
        assert files_in(on("c")) == {"run": "another plan", "telemetry/day": "rows", "model": "weights"}


def test_only_what_changed_is_sent_and_what_it_replaced_is_deleted(uri, on):
    step(on("a"), run="plan", telemetry__day="rows")
    before = stored(uri)
    step(on("b"), run="another plan")
    after = stored(uri)
    assert after["telemetry/day"] == before["telemetry/day"]
    assert set(open_store(uri).keys("files/")) == {entry["object"] for entry in after.values()}
    etag = open_store(uri).read("areas/run.json")[1]
    step(on("b"))
    assert open_store(uri).read("areas/run.json")[1] == etag


def test_only_what_is_missing_or_differs_is_fetched(uri, on):
    step(on("a"), same="1", other="2", missing="3")
    area = on("b")
    write(area, same="1", other="?")
    untouched = (area / "same").stat()
    areas.fetch(area)
    assert files_in(area) == {"same": "1", "other": "2", "missing": "3"}
    assert (area / "same").stat().st_ino == untouched.st_ino


def test_a_reader_gets_the_files_that_it_names_and_sends_nothing(uri, on):
    step(on("a"), card="card", telemetry__day="rows")
    area = on("b")
    areas.fetch(area, "card", "not written yet")
    assert files_in(area) == {"card": "card"}
    write(area, card="changed here")
    areas.fetch(area, "card")
    assert files_in(area) == {"card": "card"}


def test_a_step_that_failed_has_sent_what_it_wrote(uri, on):
    def failing_step(area):
        with areas.workspace_lock(area):
            write(area, verdict="no")
            raise KeyError("the step's own")

    with pytest.raises(KeyError, match="the step's own"):
        failing_step(on("a"))
    areas.fetch(on("b"))
    assert files_in(on("b")) == {"verdict": "no"}


def test_what_a_step_deleted_is_gone_on_every_machine(uri, on):
    for name in ("b", "a"):
        step(on(name), old="1", kept="2")
    with areas.workspace_lock(on("a")):
        (on("a") / "old").unlink()
    write(on("b"), left_by_a_killed_step="3")
    step(on("b"))
    assert files_in(on("b")) == {"kept": "2"}
    assert set(stored(uri)) == {"kept"}


def test_what_can_be_made_again_and_what_is_unfinished_stays_on_its_machine(local_uri, on):
    own = {"frame-12ab__values": "1", "resume__train.ranks__values.npy": "2", "study__x.lock": "3", "a__.tmp": "4"}
    area = on("a")
    step(area, **own, run="plan")
    assert set(stored(local_uri)) == {"run"}
    step(area)
    assert files_in(area).keys() == {name.replace("__", "/") for name in own} | {"run"}


def test_parts_that_are_written_at_once_lose_nothing(store, tmp_path):
    names = [f"day-{number}" for number in range(12)]

    def check(name):
        copy = AreaCopy(store, tmp_path / name, "run")
        before = copy.update(f"shards/{name}")
        write(copy.area, **{f"shards__{name}__result": name})
        copy.send(before, f"shards/{name}", exclusive=False)

    AreaCopy(store, tmp_path / "plan", "run").put({}, (), {})
    threads = [threading.Thread(target=check, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = AreaCopy(store, tmp_path / "judge", "run")
    together.update("")
    assert files_in(together.area) == {f"shards/{name}/result": name for name in names}


def test_a_step_on_a_part_leaves_the_rest_of_the_area_alone(local_uri, on):
    area = on("a")
    step(area, run="plan")
    write(area, shards__2__unfinished="of a step on the same machine")
    step(area, "shards/1", shards__1__result="1")
    assert set(stored(local_uri)) == {"run", "shards/1/result"}
    assert (area / "shards/2/unfinished").exists()


def test_of_two_that_change_one_file_alone_the_later_is_told_and_sends_nothing(uri, on):
    def overtaken(area):
        with areas.workspace_lock(area, "study", exclusive=True):
            step(on("b"), study__journal="by b")
            write(on("a"), study__journal="by a", study__more="by a")

    step(on("a"), study__journal="begun")
    with pytest.raises(OvertakenError, match="journal"):
        overtaken(on("a"))
    areas.fetch(on("c"))
    assert files_in(on("c")) == {"study/journal": "by b"}


def test_a_file_that_is_shared_reaches_others_before_the_step_ends_and_goes_when_the_step_is_done(uri, on):
    area = on("a")
    step(area, **{"run.json": "plan"})
    with areas.workspace_lock(area):
        for state in ("epoch 1", "epoch 2"):
            on("a")
            write(area, **{"resume__train.pth": state})
            areas.share(area / "resume" / "train.pth")
            areas.fetch(on("b"))
            assert files_in(on("b"))["resume/train.pth"] == state
        on("a")
        (area / "resume" / "train.pth").unlink()
        (area / "resume").rmdir()
        write(area, model="weights")
    assert set(stored(uri)) == {"run.json", "model"}
    assert len(list(open_store(uri).keys("files/"))) == 2


def test_a_store_that_fails_while_a_file_is_shared_costs_a_warning(faulty_s3, s3_bucket, on, monkeypatch, caplog):
    monkeypatch.setenv("BWPREDICT_WORK_STORE", f"s3://{s3_bucket}/work")
    area = on("a")
    step(area, **{"run.json": "plan"})
    write(area, state="1")
    faulty_s3.choose = lambda asked: "503"
    with caplog.at_level(logging.WARNING):
        areas.share(area / "state")
    assert "would continue from an earlier point" in caplog.text
    faulty_s3.choose = None
    areas.share(area / "state")
    assert set(stored(f"s3://{s3_bucket}/work")) == {"run.json", "state"}


def test_files_that_did_not_all_arrive_are_seen_by_nobody(faulty_s3, s3_bucket, on, monkeypatch):
    monkeypatch.setenv("BWPREDICT_WORK_STORE", f"s3://{s3_bucket}/work")
    files = []

    def second_is_refused(asked):
        if asked.method == "PUT" and "/files/" in asked.key:
            files.append(asked.key)
        return "503" if asked.method == "PUT" and asked.key in files[1:] else ""

    step(on("a"), one="old", two="old")
    faulty_s3.choose = second_is_refused
    with pytest.raises(UnknownOutcomeError):
        step(on("a"), one="new", two="new")
    assert len(files) > 1
    faulty_s3.choose = None
    areas.fetch(on("b"))
    assert files_in(on("b")) == {"one": "old", "two": "old"}


def test_a_worker_whose_disk_is_full_says_so_and_another_one_goes_on(uri, on):
    step(on("a"), first="x" * 5000)
    before, full = stored(uri), on("full")
    # A limit on the size of files ends writes as a full disk does.
    with (
        multiprocessing.get_context("spawn").Pool(1, small_files_only) as pool,
        pytest.raises(StoreError, match=r"File too large; free some space and run again\.$"),
    ):
        pool.apply(step, (full,))
    assert stored(uri) == before
    step(on("b"), second="more")
    assert stored(uri).keys() == {"first", "second"}


def small_files_only():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def test_a_bucket_that_is_not_there_is_one_sentence(s3_environment, on, monkeypatch):
    monkeypatch.setenv("BWPREDICT_WORK_STORE", "s3://no-such-bucket/work")
    with pytest.raises(StoreUnreachableError, match=r"no-such-bucket") as failed:
        step(on("a"), run="plan")
    assert str(failed.value).count("\n") == 0
    assert files_in(on("a")) == {}


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", ".ssh/key", ""])
def test_a_document_that_names_files_outside_the_area_is_refused(local_uri, on, name):
    entry = {"sha256": "0" * 64, "size_bytes": 1, "object": "files/x"}
    open_store(local_uri).write("areas/run.json", json.dumps({"files": {name: entry}}).encode(), if_etag=None)
    with pytest.raises(DocumentError, match="work_area"):
        areas.fetch(on("a"))


def test_bytes_that_are_not_those_that_were_sent_are_refused(local_uri, on):
    step(on("a"), model="weights")
    key = stored(local_uri)["model"]["object"]
    (Path(local_uri) / key).write_text("WEIGHTS")
    with pytest.raises(ObjectCorruptError, match="model"):
        areas.fetch(on("b"))
    assert files_in(on("b")) == {}


def test_a_file_that_has_gone_from_the_store_is_an_error_that_names_the_area(uri, on):
    step(on("a"), model="weights")
    open_store(uri).delete(stored(uri)["model"]["object"])
    with pytest.raises(ObjectMissingError, match=r"areas/run\.json: names a file that no longer exists"):
        areas.fetch(on("b"))


def test_an_area_from_before_the_store_was_set_is_kept_and_sent(local_uri, on):
    area = on("a")
    write(area, **{"run.json": "plan", "telemetry__day": "rows"})
    areas.share(area / "run.json")
    assert not list(open_store(local_uri).keys())
    step(area, model="weights")
    assert set(stored(local_uri)) == {"run.json", "telemetry/day", "model"}


def test_a_folder_elsewhere_is_not_shared(local_uri, on, tmp_path):
    on("a")
    elsewhere = tmp_path / "mine" / "run"
    step(elsewhere, run="plan")
    assert not list(open_store(local_uri).keys())
    assert areas.portable_path(elsewhere / "run") == str(elsewhere / "run")
    assert areas.local_path(str(elsewhere / "run")) == elsewhere / "run"


def test_a_path_means_the_same_file_on_every_machine(local_uri, on):
    path = areas.portable_path(on("a") / "shards" / "1" / "result.json")
    assert path == "run/shards/1/result.json"
    elsewhere = on("b")
    assert areas.local_path(path) == elsewhere / "shards" / "1" / "result.json"


def test_without_a_store_a_path_is_the_file_s_own_and_nothing_is_copied(on, tmp_path, monkeypatch):
    monkeypatch.delenv("BWPREDICT_WORK_STORE", raising=False)
    area = on("a")
    step(area, run="plan")
    areas.fetch(area, "other")
    areas.share(area / "run")
    assert areas.portable_path(area / "run") == str(area / "run")
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {"a", "a/run", "a/run/run"}


def test_the_latest_areas_come_first_and_those_of_other_models_are_left_out(local_uri, on, tmp_path):
    work = on("a").parent
    for name in ("first", "eu-west/other", "second", "third"):
        step(work / name, **{"run.json": name})
    on("b")
    work = tmp_path / "b"
    assert areas.newest_areas(work, 2) == [work / "third", work / "second"]
    assert areas.newest_areas(work / "eu-west", 2) == [work / "eu-west" / "other"]
