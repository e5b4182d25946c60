"""What the gate asks of a model that was trained elsewhere, and how the decision tells of it."""

from __future__ import annotations

import copy

import pytest
from gate_documents import SHA256, check, failed

from bwpredict.config import GatePolicy
from bwpredict.gate.overrides import publication_reason

GUEST = {
    "name": "mine.onnx",
    "sha256": SHA256,
    "size_bytes": 9000,
    "trained_through": "2026-09-30",
    "trained_on": "",
    "stated_by": "anna",
    "imported_by": "bob",
    "counts_as_seen_through": "2026-09-30",
}


@pytest.fixture
def guest(judged):
    """A guest that passes: there is nothing that its file could be compared with."""
    judged.set("parity/reference", None).set("parity/max_relative_error", None).set("parity/max_batch_effect", 1e-6)
    return judged


def test_a_guest_that_passes_is_promoted_and_the_decision_says_whose_word_it_rests_on(guest):
    decision = guest.decide(imported=GUEST)
    assert decision["outcome"] == "promote"
    sentence = "mine.onnx was trained elsewhere. According to anna, it was trained on no day after 2026-09-30."
    assert decision["trained_elsewhere"]["sentence"] == sentence
    assert decision["reason"].endswith(sentence)
    assert publication_reason(decision, {"approved_by": "carl"}) == f"{sentence} carl approved the publication."


def test_a_model_of_a_run_says_nothing_of_it(judged):
    decision = judged.decide()
    assert decision["trained_elsewhere"] is None
    assert publication_reason(decision, None) is None
    assert not {"training_days_stated", "batch_effect", "stream_file"} & {one["id"] for one in decision["checks"]}


@pytest.mark.parametrize("champion", [True, False])
def test_without_a_statement_it_is_rejected_whatever_its_figures_are(guest, champion):
    if not champion:
        guest.without_champion()
    decision = guest.decide(imported=GUEST | {"trained_through": None, "stated_by": ""})
    assert (decision["outcome"], failed(decision)) == ("reject", ["training_days_stated"])
    assert "Nobody has stated the days that mine.onnx was trained on" in decision["reason"]


def test_a_model_of_a_run_cannot_do_without_parity(guest):
    assert failed(guest.decide()) == ["parity"]


@pytest.mark.parametrize(
    ("effect", "jumps", "verdict"),
    [
        (9e-4, False, "pass"),
        (2e-3, False, "fail"),
        (2e-3, True, "pass"),
        (0.06, True, "fail"),
        (None, True, "fail"),
        (float("nan"), False, "fail"),
    ],
)
def test_forecasts_alone_and_in_a_batch_must_agree(guest, effect, jumps, verdict):
    guest.set("parity/max_batch_effect", effect).set("parity/jumps", jumps)
    assert check(guest.decide(imported=GUEST), "batch_effect")["verdict"] == verdict


class TestStreams:
    def streams(self, guest, **modes):
        stream = copy.deepcopy(guest.documents["comparison"])
        guest.set("comparison/stream", stream | {"modes": modes})
        return guest

    def test_a_guest_over_windows_must_hold_against_a_champion_that_streams(self, guest):
        self.streams(guest, challenger="windows", champion="stream")
        decision = guest.decide(imported=GUEST)
        assert decision["outcome"] == "promote"
        assert check(decision, "stream_champion_mean")["sentence"].startswith("For consumers of streams: ")
        assert "The champion has one" in check(decision, "stream_file")["sentence"]
        guest.set("comparison/stream/difference/weighted/percent", 9.0)
        guest.set("comparison/stream/difference/weighted/low", 8.0)
        guest.set("comparison/stream/difference/weighted/high", 10.0)
        worse = guest.decide(imported=GUEST, policy=GatePolicy())
        assert worse["outcome"] == "reject"
        assert "stream_champion_mean" in failed(worse)

    def test_its_own_stream_is_asked_nothing_that_it_does_not_have(self, guest):
        decision = self.streams(guest, challenger="windows", champion="stream").decide(imported=GUEST)
        names = {one["id"] for one in decision["checks"]}
        assert not {"stream_parity", "stream_non_finite_forecasts"} & names
        assert not [name for name in names if name.startswith("stream_skill")]
