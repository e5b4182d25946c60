"""The latency of a challenger that was timed on a busy machine."""

import math

import pytest
from gate_documents import FORCED, check, failed, undecided

LATENCY = {"p99_ms": 13.95, "busy": True, "reference": {"p50_ms": 0.2, "p99_ms": 8.0}}


def timed(judged, **changes):
    for key, value in {**LATENCY, **changes}.items():
        judged.set(f"latency/{key}", value)
    return judged


def test_a_slow_forecast_on_a_busy_machine_keeps_what_is_in_production(judged):
    decision = timed(judged).decide()
    assert (decision["outcome"], decision["passed"], undecided(decision)) == ("keep", False, ["latency_p99"])
    assert decision["reason"].startswith(
        "Production stays: Latency could not be measured because the machine was busy: a reference graph took up to"
    )


def test_a_slow_forecast_on_a_quiet_machine_is_rejected(judged):
    assert failed(timed(judged, busy=False).decide()) == ["latency_p99"]


def test_a_forecast_within_the_limit_passes_although_the_machine_was_busy(judged):
    decision = timed(judged, p99_ms=9.9).decide()
    assert check(decision, "latency_p99")["verdict"] == "pass"
    assert decision["outcome"] == "promote"


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1.0, "13", True])
def test_a_busy_machine_excuses_no_latency_that_is_no_number(judged, value):
    assert failed(timed(judged, p99_ms=value).decide()) == ["latency_p99"]


@pytest.mark.parametrize("value", [None, 1, "true", "yes"])
def test_only_a_statement_that_the_machine_was_busy_excuses(judged, value):
    assert failed(timed(judged, busy=value).decide()) == ["latency_p99"]


def test_a_broken_challenger_is_rejected_on_a_busy_machine_too(judged):
    assert timed(judged).differs("rtt_ms", 4.0).decide()["outcome"] == "reject"


@pytest.mark.parametrize("forced", [False, True])
def test_without_a_champion_that_decides_nothing_is_published_unmeasured(judged, forced):
    if not forced:
        judged.without_champion()
    decision = timed(judged).decide(**({"override": FORCED} if forced else {}))
    assert (decision["outcome"], failed(decision)) == ("reject", ["latency_p99"])
    assert "could not be measured because the machine was busy" in decision["reason"]
