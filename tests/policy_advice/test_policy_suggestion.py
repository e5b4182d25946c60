"""What is suggested for a network, by what was found there."""

from dataclasses import replace

import pytest
import yaml

from bwpredict import schema
from bwpredict.config import GatePolicy, load_policy
from bwpredict.policy_advice.attainable import MODELS, RIDGE, Findings, TargetFindings
from bwpredict.policy_advice.suggestion import Source, suggest

SOURCE = Source("0123456789abcdef" * 4, "data/telemetry", "2026-10-01T00:00:00+00:00", "2026-10-31T23:59:00+00:00")


def found(target="rtt_ms", *, correlation=0.99, within=0.8, mape=2.0, skill=0.1, noise=0.01, idle=0.0):
    figures = {"correlation": correlation, "within_link_correlation": within, "mape": mape, "wape": 3.0, "skill": 0.0}
    models = dict.fromkeys(MODELS, figures) | {RIDGE: figures | {"skill": skill}}
    return TargetFindings(target, models, "median_15_minutes", RIDGE, skill, noise, 0.004, idle)


def everywhere(*, absent=(), special=(), **figures):
    named = {one.target: one for one in special}
    targets = tuple(named.get(name) or found(name, **figures) for name in schema.TARGETS if name not in absent)
    averages = [sum(one.models[RIDGE][metric] for one in targets) / len(targets) for metric in ("correlation", "mape")]
    overall = dict.fromkeys(MODELS, tuple(averages))
    return Findings(targets, tuple(absent), overall, 40_000, 20, 6, 30_000, 7)


def policy_for(findings) -> GatePolicy:
    return suggest(findings, SOURCE).policy


def test_where_the_guide_is_within_reach_its_thresholds_stand():
    policy = policy_for(everywhere())
    assert policy.minimum_average_correlation == 0.98
    assert policy.minimum_accuracy_percent == 98
    assert policy.maximum_average_mape_percent == 5
    assert policy.within_link_correlation_margin == 0.02
    assert (policy.mape_excluded_targets, policy.minimum_skill_by_target, policy.minimum_skill) == ([], {}, 0)
    assert (policy.minimum_coverage, policy.maximum_coverage) == (0.85, 0.95)


def test_a_demand_that_nothing_meets_is_left_out_and_the_reason_says_what_was_best():
    suggestion = suggest(everywhere(correlation=0.31, mape=40.0, within=0.1), SOURCE)
    assert suggestion.policy.minimum_average_correlation is None
    assert suggestion.policy.minimum_accuracy_percent is None
    assert suggestion.policy.maximum_average_mape_percent is None
    assert suggestion.policy.within_link_correlation_margin is None
    assert "best average correlation measured is 0.31" in suggestion.text
    assert "Nothing measured meets the guide's demand" in suggestion.text


def test_correlation_and_mape_are_judged_apart():
    policy = policy_for(everywhere(mape=7.0))
    assert (policy.minimum_average_correlation, policy.maximum_average_mape_percent) == (0.98, None)


def test_the_mape_of_an_idle_target_is_left_out_and_the_others_still_count():
    suggestion = suggest(everywhere(special=[found("packet_loss", mape=300.0, idle=0.6)]), SOURCE)
    assert suggestion.policy.mape_excluded_targets == ["packet_loss"]
    assert suggestion.policy.maximum_average_mape_percent == 5
    (sentence,) = (one for one in suggestion.sentences if one.startswith("Packet loss"))
    assert "Its MAPE means nothing: 60%" in sentence
    assert "read the WAPE" in sentence


def test_with_every_target_idle_no_mape_is_demanded():
    policy = policy_for(everywhere(idle=0.5))
    assert policy.mape_excluded_targets == list(schema.TARGETS)
    assert policy.maximum_average_mape_percent is None


@pytest.mark.parametrize(
    ("skill", "noise", "minimum"),
    [(0.021, 0.01, None), (0.019, 0.01, -0.02), (-0.3, 0.011, -0.025), (0.0, 0.001, -0.01), (0.1, 0.4, -0.05)],
)
def test_where_nothing_beats_the_baseline_by_more_than_chance_the_skill_may_lie_under_zero_by_chance(
    skill, noise, minimum
):
    policy = policy_for(everywhere(special=[found("rtt_ms", skill=skill, noise=noise)]))
    assert policy.minimum_skill == 0
    assert policy.minimum_skill_by_target == ({} if minimum is None else {"rtt_ms": minimum})


def test_an_unknown_noise_gets_the_widest_margin_not_none():
    assert policy_for(everywhere(special=[found("rtt_ms", noise=None)])).minimum_skill_by_target == {"rtt_ms": -0.05}


def test_a_network_where_nothing_can_be_learnt_is_warned_about():
    warning = "also passes a model that only repeats the best baseline"
    assert warning in " ".join(suggest(everywhere(skill=-0.1), SOURCE).text.replace("\n#", "").split())
    assert warning not in " ".join(suggest(everywhere(), SOURCE).text.replace("\n#", "").split())


@pytest.mark.parametrize(("noise", "percent"), [(0.0001, 1.5), (0.01, 3.5), (0.3, 5.0), (None, 5.0)])
def test_the_margin_to_the_champion_is_what_chance_does_to_the_noisiest_target(noise, percent):
    noisy = replace(found("jitter_ms"), peer_noise=noise)
    assert policy_for(everywhere(special=[noisy])).champion_margin_percent == percent


def test_a_target_that_the_telemetry_lacks_is_said_to_be_unjudged():
    sentences = suggest(everywhere(absent=["throughput_mbps"]), SOURCE).sentences
    assert any(one.startswith("Throughput: missing from the telemetry") for one in sentences)


def test_each_target_gets_a_sentence_on_correlation_mape_and_skill():
    sentences = suggest(everywhere(mape=6.0), SOURCE).sentences
    for target, sentence in zip(("Throughput", "RTT", "Packet loss", "Jitter"), sentences, strict=False):
        assert sentence.startswith(f"{target}: a correlation of 0.98 is reached")
        assert "A MAPE below 5 % is not reached by anything measured: the best is 6 %" in sentence
        assert "has a skill of +0.100 over it, with a standard error of 0.01: better by more than chance" in sentence


@pytest.mark.parametrize(
    "findings",
    [everywhere(), everywhere(correlation=0.2, mape=90.0, within=None, skill=-0.1, idle=0.4), everywhere(noise=None)],
    ids=["wired", "satellite", "short"],
)
def test_the_document_is_the_policy_with_a_reason_above_every_line(tmp_path, findings):
    suggestion = suggest(findings, SOURCE)
    path = tmp_path / "suggested.yaml"
    path.write_text(suggestion.text)
    assert load_policy(path) == suggestion.policy
    assert suggestion.policy.name == "suggested-0123456789ab"
    assert set(yaml.safe_load(suggestion.text)) == set(GatePolicy.model_fields)
    lines = suggestion.text.splitlines()
    assert max(map(len, lines)) <= 120
    for number, line in enumerate(lines):
        if line and line[0] != "#" and not line.startswith("version"):
            assert lines[number - 1].startswith("# ")


def test_a_hostile_path_cannot_leave_the_comment(tmp_path):
    source = replace(SOURCE, origin="data\nminimum_skill: -1\x07\u2028name: guide")
    path = tmp_path / "suggested.yaml"
    path.write_text(suggest(everywhere(), source).text)
    assert load_policy(path) == policy_for(everywhere())


def test_the_same_findings_give_the_same_document():
    assert suggest(everywhere(), SOURCE) == suggest(everywhere(), SOURCE)
