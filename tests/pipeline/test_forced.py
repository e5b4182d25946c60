"""A forced publication says who forced it and why: on the card, in the history and in the provenance."""

import re
from pathlib import Path

import pytest
from published_versions import published_month
from sample_documents import (
    VERSION,
    sample_comparison,
    sample_decision,
    sample_history,
    sample_metadata,
    sample_run,
    sample_snapshot,
    sample_validation,
)

from bwpredict.documents import read_document, write_document
from bwpredict.gate.overrides import Override
from bwpredict.pipeline import steps
from bwpredict.registry.layout import metadata_name, onnx_name, required_files
from bwpredict.registry.promotion import read_history
from bwpredict.registry_views.overview import overview
from bwpredict.reports.model_card import model_card
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of

WHY = "anna overrode the comparison with the champion: the champion is broken."


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "registry"))


@pytest.fixture
def area(store, tmp_path):
    """A run that anna forced past the champion, up to its decision."""
    champion = published_month(store, tmp_path, 0).version
    run = sample_run(run_id="forced", registry=store.uri)
    area = Path(steps.plan(run, tmp_path / "work").path).parent
    for name in required_files(VERSION):
        (area / name).write_text(f"{name} of {VERSION}")
    comparison = sample_comparison() | {"champion_version": champion}
    write_document(area / "snapshot.json", "snapshot", sample_snapshot())
    write_document(area / metadata_name(VERSION), "model_metadata", sample_metadata(comparison, run=run))
    write_document(area / "comparison.json", "comparison", comparison)
    forced = sample_decision(
        comparison, override=Override(champion=True, by="anna", reason="the champion is broken")
    ) | {"challenger_sha256": sha256_of(area / onnx_name(VERSION))}
    write_document(area / "decision.json", "decision", forced)
    return area


def test_history_overview_and_provenance_name_the_person_the_reason_and_who_approved(area, store):
    path = area / "decision.json"
    reference = steps.approve(steps.Reference(str(path), sha256_of(path)), "bert")
    steps.publish(reference)
    move = read_history(store)[-1]
    assert move.version == VERSION
    assert WHY in move.reason
    assert move.reason.endswith("bert approved the publication.")
    shown = overview(store).versions[0]
    assert (shown.version, shown.outcome) == (VERSION, "forced")
    assert WHY in shown.reason
    provenance = read_document(area / "provenance.json", "provenance")
    people = provenance["predicate"]["buildDefinition"]["internalParameters"]["people"]
    assert (people["override"]["by"], people["override"]["reason"]) == ("anna", "the champion is broken")
    assert people["approval"]["approved_by"] == "bert"


def test_the_card_is_amber_and_says_how_the_model_compares(area, tmp_path):
    comparison = read_document(area / "comparison.json", "comparison")
    decision = read_document(area / "decision.json", "decision")
    page = model_card(
        tmp_path / "card.html",
        run=sample_run().model_dump(mode="json"),
        decision=decision,
        comparison=comparison,
        history=sample_history(),
        snapshot=sample_snapshot(),
        validation=sample_validation(),
        metadata=sample_metadata(comparison),
    ).read_text()
    assert decision["reason"].startswith("Forced: ")
    assert WHY in page
    assert re.search(r'class="verdict warn".*?Forced', page, re.DOTALL)
