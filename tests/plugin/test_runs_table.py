"""The table of runs, without a server: parameters, figures, search and CSV."""

import csv
import io
import sys
from pathlib import Path

import pytest
from sample_documents import sample_comparison, sample_decision, sample_run, sample_validation

from bwpredict.documents import write_document
from bwpredict.pipeline.run_history import recent_runs

sys.path.append(str(Path(__file__).resolve().parents[2] / "plugins"))
runs = pytest.importorskip("bwpredict_airflow.webapp.runs")


@pytest.fixture
def summaries(tmp_path):
    """A run with its own parameters that was rejected, and one that its telemetry stopped."""
    for run_id, error, changes in (("tuned", 3.0, {"training": {"epochs": 20, "seed": 11}}), ("broken", None, {})):
        area = tmp_path / run_id
        area.mkdir()
        (area / "run.json").write_text(sample_run(run_id=run_id, **changes).model_dump_json())
        write_document(area / "validation.json", "validation", sample_validation(broken=error is None))
        if error:
            comparison = sample_comparison(error)
            reason = {"reason": "=Rejected: an average MAPE of 7 %."}
            write_document(area / "comparison.json", "comparison", comparison)
            write_document(area / "decision.json", "decision", sample_decision(comparison) | reason)
    return recent_runs(tmp_path, 10)


def test_each_run_has_the_parameters_that_differ_and_its_figures(summaries):
    rows = {row["run_id"]: row for row in runs.run_rows(summaries)}
    assert rows["tuned"]["changed_parameters"] == "epochs 20, seed 11"
    assert rows["broken"]["changed_parameters"] == ""
    assert rows["tuned"]["skill.rtt_ms"] == pytest.approx(-0.5, abs=0.05)
    assert rows["tuned"]["error_against_champion.low"] > 100
    assert (rows["broken"]["verdict"], rows["broken"]["average_mape"]) == ("telemetry", None)


def test_runs_are_found_by_verdict_and_by_any_text(summaries):
    def found(**search):
        return {row["run_id"] for row in runs.run_rows(summaries, **search)}

    assert found(verdict="reject") == found(find=" SEED 11") == {"tuned"}
    assert found(find="2026-10") == {"tuned", "broken"}
    assert found(find="nothing like it") == set()


def test_the_csv_has_every_parameter_and_no_formula(summaries):
    rows = list(csv.DictReader(io.StringIO(runs.as_csv(runs.run_rows(summaries)))))
    tuned = next(row for row in rows if row["run_id"] == "tuned")
    assert (tuned["training.epochs"], tuned["split.test_days"]) == ("20", "7")
    assert float(tuned["skill.rtt_ms"]) < 0
    assert tuned["reason"].startswith("'=Rejected")
    assert runs.as_csv([]) == "run_id\r\n"
