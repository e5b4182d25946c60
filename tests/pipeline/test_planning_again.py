import json
from pathlib import Path

import pytest
from sample_documents import sample_comparison, sample_decision, sample_run

from bwpredict.config import RunConfig
from bwpredict.documents import write_document
from bwpredict.errors import GateRejected, WorkAreaError
from bwpredict.pipeline import steps
from bwpredict.pipeline.run_history import recent_runs
from bwpredict.store.files import sha256_of
from bwpredict.workspace.references import make_reference


def planned(work, **changes):
    return RunConfig.model_validate_json(Path(steps.plan(sample_run(run_id="run", **changes), work).path).read_bytes())


def test_a_run_that_is_planned_again_keeps_its_version_and_its_time_and_takes_the_rest_anew(tmp_path):
    first = planned(tmp_path)
    later = {"version": "v20271231_235959", "created_at": "2027-12-31T23:59:59+00:00", "code_version": "2.0.0"}
    again = planned(tmp_path, **later)
    assert again == first.model_copy(update={"code_version": "2.0.0"})


def test_a_plan_that_cannot_be_read_is_not_written_over(tmp_path):
    path = tmp_path / "run" / "run.json"
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(WorkAreaError, match="cannot be read"):
        planned(tmp_path)
    assert path.read_text() == "{"


def test_a_run_of_another_release_is_not_gone_on_with_but_shown_and_planned_again(tmp_path):
    first, path = planned(tmp_path), tmp_path / "run" / "run.json"
    document = json.loads(path.read_text())
    document["training"] |= {"highway_epochs": 60}
    path.write_text(json.dumps(document | {"colour": "blue"}))
    with pytest.raises(WorkAreaError, match=r"another release .* \(training.highway_epochs, colour\); clear the run's"):
        steps.snapshot(make_reference(path))
    assert [each.run for each in recent_runs(tmp_path, 5)] == [first]
    assert planned(tmp_path) == first


@pytest.mark.parametrize(
    ("changes", "publishes"),
    [
        ({}, True),
        ({"dry_run": True, "publish_past_months": True}, False),
        ({"backfill": True}, False),
        ({"backfill": True, "publish_past_months": True}, True),
    ],
)
def test_a_back_fill_publishes_only_where_that_is_asked_for_and_a_dry_run_never(changes, publishes):
    assert sample_run(**changes).publishes is publishes


def test_the_step_itself_refuses_to_publish_a_back_fill(tmp_path):
    steps.plan(sample_run(run_id="run", backfill=True), tmp_path)
    path = tmp_path / "run" / "decision.json"
    write_document(path, "decision", sample_decision(sample_comparison()))
    with pytest.raises(GateRejected, match="back-fill"):
        steps.publish(steps.Reference(str(path), sha256_of(path)))
