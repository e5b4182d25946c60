import os
import threading

import pytest
from sample_documents import sample_comparison, sample_decision, sample_run, sample_validation

from bwpredict.documents import write_document
from bwpredict.errors import ConfigError, WorkAreaError
from bwpredict.pipeline.run_history import (
    attempt_at_month,
    downloadable_file,
    keeps_in_a_row,
    read_comparisons,
    recent_runs,
    run_summary,
)
from bwpredict.workspace.areas import workspace_lock
from bwpredict.workspace.artifacts import read_run


def an_area(work, run_id, at=0, **changes):
    area = work / run_id
    (area / "validation" / "data_docs").mkdir(parents=True)
    (area / "run.json").write_text(sample_run(run_id=run_id, **changes).model_dump_json())
    os.utime(area / "run.json", (at, at))
    return area


def test_the_latest_runs_come_first_and_other_folders_are_left_out(tmp_path):
    for at, name in enumerate(("first", "second", "third"), 1):
        an_area(tmp_path, name, at)
    (tmp_path / "another-model").mkdir()
    assert [run.run_id for run in recent_runs(tmp_path, 2)] == ["third", "second"]
    assert recent_runs(tmp_path / "nowhere", 2) == []


def test_a_run_whose_files_have_expired_in_the_store_of_work_areas_is_left_out(tmp_path, local_store, monkeypatch):
    monkeypatch.setenv("BWPREDICT_WORK_STORE", local_store.uri)
    monkeypatch.setenv("BWPREDICT_WORK", str(tmp_path / "worker"))
    for name in ("kept", "expired"):
        with workspace_lock(tmp_path / "worker" / name):
            an_area(tmp_path / "worker", name)
    local_store.delete(next(local_store.keys("files/expired/")))
    monkeypatch.setenv("BWPREDICT_WORK", str(tmp_path / "server"))
    assert [run.run_id for run in recent_runs(tmp_path / "server", 5)] == ["kept"]


def test_runs_are_read_side_by_side_as_a_slow_store_needs(tmp_path, monkeypatch):
    for name in ("first", "second"):
        an_area(tmp_path, name)
    meeting = threading.Barrier(2, timeout=30)
    monkeypatch.setattr("bwpredict.workspace.areas.fetch", lambda *_: meeting.wait())
    runs = recent_runs(tmp_path, 2)
    assert {run.run_id for run in runs} == {"first", "second"}
    assert read_comparisons(runs) == [{}, {}]


def test_a_run_tells_how_far_it_got(tmp_path):
    area = an_area(tmp_path, "run")
    assert run_summary(tmp_path, "run").verdict == "unfinished"
    write_document(area / "validation.json", "validation", sample_validation(broken=True))
    broken = run_summary(tmp_path, "run")
    assert (broken.verdict, "train on. packet_loss: 12 of 400" in broken.reason) == ("telemetry", True)
    write_document(area / "validation.json", "validation", sample_validation())
    write_document(area / "decision.json", "decision", sample_decision(sample_comparison(3.0)))
    decided = run_summary(tmp_path, "run")
    assert (decided.verdict, decided.reason) == ("reject", decided.decision["reason"])


def test_the_runs_in_which_production_stayed_are_counted_back_to_the_last_other_verdict(tmp_path):
    verdicts = ["keep", "promote", "keep", "dry", "unfinished", "other", "keep", "keep"]
    comparison = sample_comparison()
    kept = sample_decision(comparison) | {"outcome": "keep", "passed": False}
    kept["checks"][0] |= {"verdict": "open"}
    for at, verdict in enumerate(verdicts, 1):
        changes = {"dry_run": verdict == "dry", "model_name": "satellite" if verdict == "other" else "default"}
        area = an_area(tmp_path, f"run-{at}", at, created_at=f"2026-11-01T00:0{at}:00+00:00", **changes)
        if verdict != "unfinished":
            decision = sample_decision(comparison) if verdict in ("promote", "dry", "other") else kept
            write_document(area / "decision.json", "decision", decision)
    assert [keeps_in_a_row(tmp_path, f"run-{at}") for at in (8, 7, 3, 2, 1)] == [3, 2, 1, 0, 1]


def test_runs_that_judged_a_challenger_on_the_same_month_are_counted(tmp_path):
    runs = {
        "rejected": {},
        "dry": {"dry_run": True},
        "unfinished": {},
        "another-month": {"month": "2026-09"},
        "another-model": {"model_name": "satellite"},
        "this": {},
        "later": {},
    }
    decision = sample_decision(sample_comparison(3.0))
    for at, (name, changes) in enumerate(runs.items(), 1):
        area = an_area(tmp_path, name, at, created_at=f"2026-11-01T00:0{at}:00+00:00", **changes)
        if name != "unfinished":
            write_document(area / "decision.json", "decision", decision)
    (tmp_path / "later" / "decision.json").write_text("{}")  # broken, and still an attempt
    (tmp_path / "no-run").mkdir()
    (tmp_path / "no-run" / "run.json").write_text("{}")

    def attempt(name):
        return attempt_at_month(tmp_path, read_run(tmp_path / name))

    assert [attempt(name) for name in ("rejected", "dry", "this", "later")] == [1, 2, 3, 4]
    assert (attempt("another-month"), attempt("another-model")) == (1, 1)
    assert attempt("this") == 3  # a run that is decided again keeps its number


def test_attempts_whose_work_areas_are_gone_still_count(tmp_path):
    area = an_area(tmp_path, "second", created_at="2026-11-01T00:01:00+00:00")
    write_document(area / "decision.json", "decision", sample_decision(sample_comparison()) | {"attempt": 4})
    an_area(tmp_path, "this", created_at="2026-11-01T00:02:00+00:00")
    assert attempt_at_month(tmp_path, read_run(tmp_path / "this")) == 5


@pytest.mark.parametrize("run_id", ["nowhere", "..", "run/validation", ""])
def test_what_is_no_run_is_an_error_that_names_it(tmp_path, run_id):
    an_area(tmp_path, "run")
    with pytest.raises(WorkAreaError, match="has no run"):
        run_summary(tmp_path, run_id)


def test_pages_are_shown_and_nothing_else(tmp_path):
    area = an_area(tmp_path, "run")
    shown = ["model_card.html", "validation/data_docs/index.html", "validation/data_docs/a/b.html"]
    hidden = ["run.json", "best_model.pth", "validation/validation.json", "validation/data_docs/x.py"]
    (tmp_path / "secret.html").touch()
    (area / "validation" / "data_docs" / "a").mkdir()
    (area / "validation" / "data_docs" / "link.html").symlink_to(tmp_path / "secret.html")
    for name in [*shown, *hidden[1:]]:
        (area / name).touch()
    for name in shown:
        assert downloadable_file(tmp_path, "run", name) == area / name
    outside = ["../secret.html", "validation/data_docs/../../../secret.html", "validation/data_docs/link.html"]
    for name in [*hidden, *outside, "", ".", str(tmp_path / "secret.html"), "gone.html"]:
        with pytest.raises(ConfigError, match="is not a page"):
            downloadable_file(tmp_path, "run", name)


@pytest.mark.parametrize("run_id", ["..", ".", "", "run/.."])
def test_a_page_outside_every_run_is_not_shown(tmp_path, run_id):
    work = tmp_path / "work"
    an_area(work, "run")
    (tmp_path / "model_card.html").touch()
    (work / "model_card.html").touch()
    with pytest.raises(ConfigError, match="is not a page"):
        downloadable_file(work, run_id, "model_card.html")
