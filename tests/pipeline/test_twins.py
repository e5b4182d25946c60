"""Two runs for one month: the second one finds the first one's model in production, and publishes nothing."""

from pathlib import Path

import pytest
from sample_documents import sample_comparison, sample_decision, sample_metadata, sample_run, sample_snapshot

from bwpredict.documents import write_document
from bwpredict.errors import AlreadyPublishedError, ConflictError
from bwpredict.pipeline import steps
from bwpredict.registry.layout import metadata_name, onnx_name, required_files
from bwpredict.registry.promotion import read_history
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of

FIRST, SECOND = "v20261101_000001", "v20261101_000002"


@pytest.fixture
def registry(tmp_path):
    return str(tmp_path / "registry")


@pytest.fixture
def decided(tmp_path, registry):
    """A run up to its decision to publish: give its version, its champion, and what differs in it."""

    def decide(version, champion=None, **changes):
        run = sample_run(run_id=f"run-{version}", version=version, registry=registry, **changes)
        area = Path(steps.plan(run, tmp_path / "work").path).parent
        for name in required_files(version):
            (area / name).write_text(f"{name} of {version}")
        write_document(area / "snapshot.json", "snapshot", sample_snapshot())
        comparison = sample_comparison()
        write_document(area / metadata_name(version), "model_metadata", sample_metadata(comparison, run=run))
        decision = sample_decision(comparison) | {
            "version": version,
            "month": run.month,
            "champion_version": champion,
            "challenger_sha256": sha256_of(area / onnx_name(version)),
            **({} if champion else {"outcome": "bootstrap", "case": "no_champion"}),
        }
        path = area / "decision.json"
        write_document(path, "decision", decision)
        return steps.Reference(str(path), sha256_of(path))

    return decide


def versions_that_served(registry):
    return [made.version for made in read_history(open_store(registry))]


def test_of_two_runs_for_one_month_at_the_same_time_one_publishes_and_the_other_says_who_did(decided, registry):
    first, second = decided(FIRST), decided(SECOND)
    steps.publish(first)
    why = f"run run-{FIRST} put {FIRST}, also trained for 2026-10, .* so {SECOND} was not published"
    with pytest.raises(AlreadyPublishedError, match=why):
        steps.publish(second)
    assert versions_that_served(registry) == [FIRST]
    assert not (Path(second.path).parent / "publication.json").exists()


def test_a_later_run_for_the_same_month_with_nothing_changed_publishes_no_second_model(decided, registry):
    steps.publish(decided(FIRST))
    with pytest.raises(AlreadyPublishedError, match=f"{FIRST} is in production already"):
        steps.publish(decided(SECOND, champion=FIRST))
    assert versions_that_served(registry) == [FIRST]


@pytest.mark.parametrize("change", [{"training": {"seed": 8}}, {"code_version": "2.0.0"}, {"month": "2026-11"}])
def test_a_later_run_with_another_seed_code_or_month_publishes(decided, registry, change):
    steps.publish(decided(FIRST))
    steps.publish(decided(SECOND, champion=FIRST, **change))
    assert versions_that_served(registry) == [FIRST, SECOND]


def test_a_retry_of_the_run_that_published_is_no_twin(decided, registry):
    first = decided(FIRST)
    assert steps.publish(first) == steps.publish(first)
    assert versions_that_served(registry) == [FIRST]


def test_a_run_that_another_month_overtook_has_to_compare_again(decided):
    second = decided(SECOND)
    steps.publish(decided(FIRST, month="2026-11"))
    with pytest.raises(ConflictError, match="compare again") as refused:
        steps.publish(second)
    assert not isinstance(refused.value, AlreadyPublishedError)
