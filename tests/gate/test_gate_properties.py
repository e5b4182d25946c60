"""What holds for the gate whatever stands in the documents."""

import copy
import subprocess
import sys
from itertools import pairwise

import pytest
from gate_documents import CHAMPION, FORCED, Judgement, apart, failed, undecided
from hypothesis import given, settings
from hypothesis import strategies as st

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.gate.overrides import Override

NOT_NUMBERS = [None, float("nan"), float("inf"), float("-inf"), "0.99", "", True, False, [], {}, [0.99], 10**400]
CHALLENGER = "comparison/models/challenger"
NUMBERS = [
    "comparison/test/windows",
    f"{CHALLENGER}/non_finite_forecasts",
    f"{CHALLENGER}/out_of_bounds_forecasts",
    f"{CHALLENGER}/overall/average_correlation",
    f"{CHALLENGER}/overall/average_mape",
    f"{CHALLENGER}/overall/accuracy_percent",
    *(f"{CHALLENGER}/per_target/{target}/{key}" for target in schema.TARGETS
      for key in ("mae", "skill", "within_link_correlation")),
    *(f"comparison/models/champion/per_target/{target}/mae" for target in schema.TARGETS),
    *(f"comparison/difference/per_target/{target}/{key}" for target in schema.TARGETS
      for key in ("percent", "low", "high", "pooled/percent", "pooled/high")),
    *(f"comparison/difference/weighted/{key}" for key in ("percent", "low", "high")),
    "comparison/difference/links/judged", "comparison/difference/links/undefined",
    *(f"comparison/slices/rows/1/per_target/{target}/worse_by_at_least" for target in schema.TARGETS),
    *(f"comparison/models/mean_15_minutes/per_target/{target}/within_link_correlation" for target in schema.TARGETS),
    "parity/max_relative_error",
    "latency/p99_ms",
]  # fmt: skip
FACTS = ["parity/onnx_checker", "parity/all_finite", "parity/bounds_kept", "parity/order_kept"]
NAMES = ["comparison/challenger_version", "comparison/challenger_sha256", "comparison/champion_version"]
PARENTS = [
    "comparison", "comparison/test", "comparison/models", "comparison/models/challenger", "comparison/models/champion",
    f"{CHALLENGER}/overall", f"{CHALLENGER}/per_target", "comparison/models/mean_15_minutes", "parity", "latency",
    *(f"{CHALLENGER}/per_target/{target}" for target in schema.TARGETS),
]  # fmt: skip
POSSIBLE = {
    f"{CHALLENGER}/overall/average_correlation": (-1, 1),
    f"{CHALLENGER}/overall/average_mape": (0, None),
    f"{CHALLENGER}/overall/accuracy_percent": (-100, 100),
    f"{CHALLENGER}/per_target/rtt_ms/skill": (None, 1),
    f"{CHALLENGER}/per_target/rtt_ms/mae": (0, None),
    f"{CHALLENGER}/per_target/rtt_ms/within_link_correlation": (-1, 1),
    "comparison/models/champion/per_target/rtt_ms/mae": (0, None),
    f"{CHALLENGER}/non_finite_forecasts": (0, None),
    "parity/max_relative_error": (0, None),
    "latency/p99_ms": (0, None),
}


@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=str)
def test_what_is_no_finite_number_never_passes(path, value):
    decision = Judgement().set(path, value).decide()
    assert decision["outcome"] == "reject"
    assert failed(decision)


@pytest.mark.parametrize("path", FACTS)
@pytest.mark.parametrize("value", [None, False, 1, 1.0, "true", "yes", [True], float("nan")])
def test_what_is_not_true_is_no_fact(path, value):
    assert Judgement().set(path, value).decide()["outcome"] == "reject"


@pytest.mark.parametrize("path", [*NUMBERS, *FACTS, *NAMES, *PARENTS[1:8], "parity/cases"])
def test_a_missing_key_never_passes(path):
    assert Judgement().drop(path).decide()["outcome"] == "reject"


@pytest.mark.parametrize("path", [*NUMBERS, *FACTS, *NAMES, *PARENTS[1:8], "parity/cases"])
def test_forcing_a_bootstrap_excuses_a_gap_in_the_comparison_with_the_champion_and_no_other(path):
    against = ("/champion", "/difference/", "/slices/")
    excused = path.endswith("/mae") or (any(part in path for part in against) and not path.endswith("champion_version"))
    assert Judgement().drop(path).decide(override=FORCED)["passed"] == excused


@pytest.mark.parametrize("path", PARENTS)
@pytest.mark.parametrize("value", [None, {}, [], "", 0, float("nan")], ids=str)
def test_an_empty_or_broken_part_never_passes(path, value):
    assert Judgement().set(path, value).decide()["outcome"] == "reject"


@pytest.mark.parametrize("path", POSSIBLE)
def test_a_value_that_is_not_possible_never_passes(path):
    low, high = POSSIBLE[path]
    for value in ([] if low is None else [low - 1e-6, low - 1e9]) + ([] if high is None else [high + 1e-6, 1e9]):
        assert Judgement().set(path, value).decide()["outcome"] == "reject"


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*NUMBERS, *FACTS]),
        st.sampled_from(NOT_NUMBERS) | st.floats() | st.integers() | st.text(max_size=3),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
)
def test_whatever_stands_in_the_documents_there_is_a_decision_and_it_agrees_with_its_checks(changes, force):
    judged = Judgement()
    for path, value in changes.items():
        judged.set(path, value)
    decision = judged.decide(override=Override(champion=force))
    assert (decision["outcome"] == "reject") == bool(failed(decision))
    assert decision["passed"] == (not failed(decision) and not undecided(decision))
    for one in decision["checks"]:
        if one["verdict"] == "pass":
            assert one["value"] is not None
            assert one["threshold"] is not None


QUALITY = st.fixed_dictionaries(
    {
        "correlation": st.floats(0.9, 1),
        "mape": st.floats(0, 8),
        "mae": st.floats(0.5, 1.2),
        "within_link_correlation": st.floats(0.6, 1),
        "skill": st.floats(-0.3, 0.9),
        "p99_ms": st.floats(0.1, 15),
        "windows": st.integers(1, 2000),
    }
)
WEIGHTS = {"throughput_mbps": 2.0, "rtt_ms": 1.0, "packet_loss": 0.0, "jitter_ms": 1.0}
LESS_IS_BETTER = {"mape", "mae", "p99_ms"}


def judged_at(quality):
    judged = Judgement()
    overall = f"{CHALLENGER}/overall"
    judged.set(f"{overall}/average_correlation", quality["correlation"])
    judged.set(f"{overall}/accuracy_percent", 100 * quality["correlation"])
    judged.set(f"{overall}/average_mape", quality["mape"])
    judged.set("latency/p99_ms", quality["p99_ms"]).set("comparison/test/windows", quality["windows"])
    return judged.on_each_target(
        "challenger", **{key: quality[key] for key in ("mae", "within_link_correlation", "skill", "mape")}
    )


@settings(max_examples=150, deadline=None)
@given(QUALITY, QUALITY, st.booleans())
def test_a_better_challenger_never_fails_a_check_that_a_worse_one_passes(one, other, force):
    better = {key: min(one[key], other[key]) if key in LESS_IS_BETTER else max(one[key], other[key]) for key in one}
    of_better = failed(judged_at(better).decide(override=Override(champion=force)))
    assert set(of_better) <= set(failed(judged_at(one).decide(override=Override(champion=force))))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 0.999), min_size=2, max_size=6))
def test_a_stricter_policy_never_passes_what_a_milder_one_rejects(minima):
    judged = Judgement().on_each_target("challenger", skill=0.5)
    verdicts = [judged.decide(GatePolicy(minimum_skill=minimum))["passed"] for minimum in sorted(minima)]
    assert all(before or not after for before, after in pairwise(verdicts))


@settings(max_examples=50, deadline=None)
@given(st.floats(0.8, 1.2), st.floats(0, 5), st.floats(0, 50))
def test_of_two_models_at_most_one_is_superior_to_the_other(ratio, half_width, margin):
    policy = GatePolicy(
        champion_rule="superior",
        champion_margin_percent=margin,
        pooled_margin_percent=margin,
        slice_margin_percent=None,
    )
    verdicts = []
    for own, theirs in ((ratio, 1.0), (1.0, ratio)):
        judged = Judgement().on_each_target("challenger", mae=own).on_each_target("champion", mae=theirs)
        for target in schema.TARGETS:
            judged.compared(target, half_width)
        judged.documents["comparison"]["difference"]["weighted"] |= apart(100 * (own / theirs - 1), half_width)
        verdicts.append(judged.decide(policy)["passed"])
    assert not all(verdicts)


@settings(max_examples=100, deadline=None)
@given(st.floats(-9, 9), st.floats(-9, 9), st.floats(0, 3), st.sampled_from(["non-inferior", "superior", "expected"]))
def test_a_smaller_difference_from_the_champion_never_fails_where_a_larger_one_passes(one, other, half_width, rule):
    policy = GatePolicy(champion_rule=rule, target_weights=WEIGHTS)
    of = []
    for percent in sorted((one, other)):
        judged = Judgement()
        for target in schema.TARGETS:
            judged.differs(target, percent, half_width)
            judged.set(f"comparison/slices/rows/0/per_target/{target}/worse_by_at_least", percent)
        judged.documents["comparison"]["difference"]["weighted"] |= apart(percent, half_width) | {"weights": WEIGHTS}
        decision = judged.decide(policy)
        of.append((set(failed(decision)), {*failed(decision), *undecided(decision)}))
    assert of[0][0] <= of[1][0]
    assert of[0][1] <= of[1][1]


def test_swapped_models_swap_the_verdict():
    judged = Judgement().on_each_target("challenger", mae=1.0).on_each_target("champion", mae=1.2)
    assert judged.decide()["outcome"] == "promote"
    models = judged.documents["comparison"]["models"]
    models["challenger"], models["champion"] = models["champion"], models["challenger"]
    kinds = ("champion_error", "champion_pooled")
    assert failed(judged.decide()) == [f"{kind}.{target}" for kind in kinds for target in schema.TARGETS]
    for target in schema.TARGETS:
        judged.compared(target)
    assert judged.decide()["outcome"] == "reject"


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_only_a_comparison_that_says_there_is_no_champion_has_none(named, compared, problem, force):
    judged = Judgement()
    judged.set("comparison/champion_version", CHAMPION if named else None)
    judged.set("comparison/champion_problem", "cannot be run" if problem else None)
    if not compared:
        judged.drop("comparison/models/champion")
    decision = judged.decide(override=Override(champion=force))
    assert (decision["case"] == "no_champion") == (not named and not compared and not problem)
    assert (decision["outcome"] == "promote") == (named and compared and not problem and not force)


def test_the_decision_does_not_change_its_documents():
    judged = Judgement().set("latency/p99_ms", 30.0)
    before = copy.deepcopy(judged.documents)
    judged.decide()
    assert judged.documents == before


def test_the_gate_imports_nothing_heavy():
    heavy = {"torch", "onnx", "onnxruntime", "pandas", "scipy", "matplotlib", "great_expectations"}
    program = f"import sys, bwpredict.gate.decision; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
