"""The pages of a version and a run that a person forced past the champion, without a server."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from published_versions import published_month
from sample_documents import sample_comparison, sample_decision, sample_run

from bwpredict.documents import write_document
from bwpredict.gate.overrides import Override
from bwpredict.pipeline.run_history import run_summary
from bwpredict.registry.promotion import read_production
from bwpredict.registry_views.overview import version_documents
from bwpredict.store.factory import open_store

sys.path.append(str(Path(__file__).resolve().parents[2] / "plugins"))
render = pytest.importorskip("bwpredict_airflow.webapp.render")

COMPARISON = sample_comparison(0.9)
DECISION = sample_decision(COMPARISON, override=Override(champion=True, by="anna", reason="the champion is broken"))
WHY = "anna overrode the comparison with the champion: the champion is broken."


def shown(template, **values):
    return render.render_page("default", template, **values).body.decode()


@pytest.mark.parametrize(("forced", "notice"), [(True, "warn"), (False, "good")])
def test_a_version_that_serves_is_amber_if_it_was_forced_and_says_who_forced_it_and_why(tmp_path, forced, notice):
    store = open_store(str(tmp_path / "registry"))
    first = published_month(store, tmp_path, 0)
    changes = ("outcome", "case", "force_bootstrap", "override", "checks", "reason") if forced else ()
    made = published_month(store, tmp_path, 1, champion=first.version, **{name: DECISION[name] for name in changes})
    found = version_documents(store, made.version)
    page = shown(
        "version.html",
        may=SimpleNamespace(move=False, retrain=False),
        found=found,
        production=read_production(store),
        rivals=render.model_comparison(found.comparison),
        validation=render.validation(found.validation),
    )
    assert f'<section class="notice {notice}">' in page
    assert ('<span class="badge warn">! forced</span> Forced: ' in page, WHY in page) == (forced, forced)


def test_a_forced_run_is_amber_and_says_who_forced_it_and_why(tmp_path):
    area = tmp_path / "forced"
    area.mkdir()
    (area / "run.json").write_text(sample_run(run_id="forced").model_dump_json())
    write_document(area / "decision.json", "decision", DECISION)
    run = run_summary(tmp_path, "forced")
    page = shown("run.html", run=run, step=None, validation=None, dag_id="bandwidth_predictor_retrain")
    assert '<section class="notice warn">' in page
    assert '<span class="badge warn">! forced</span>' in page
    assert WHY in page
