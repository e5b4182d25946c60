"""The alert rules in `monitoring/`: by promtool, and against the metrics that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bwpredict.exporter.exposition import HELP
from bwpredict.exporter.health import Health
from bwpredict.exporter.thresholds import load_thresholds
from bwpredict.monitoring.prometheus import METRICS

FOLDER = Path(__file__).resolve().parents[2] / "monitoring"
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
KNOWN = (
    {*HELP, *METRICS}
    | {sample.name for family in Health().registry.collect() for sample in family.samples}
    | {f"{family.name}_total" if family.type == "counter" else family.name for family in Health().registry.collect()}
)


def promtool(*arguments):
    if not shutil.which("promtool"):
        pytest.skip("needs Prometheus (scripts/services.sh installs it)")
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_promtool_accepts_the_rules_and_their_tests():
    checked = promtool("check", "rules", FOLDER / "alerts.yml")
    assert checked.returncode == 0, checked.stderr
    tested = promtool("test", "rules", FOLDER / "alerts.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_the_tests_notice_a_rule_that_never_fires(rule, tmp_path):
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    for group in rules["groups"]:
        for each in group["rules"]:
            if each["alert"] == rule["alert"]:
                each["expr"] = f"({each['expr']}) and on () vector(1) == 0"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())
    tests["tests"] = [each for each in tests["tests"] if rule["alert"] in str(each["alert_rule_test"])]
    (tmp_path / "alerts.test.yml").write_text(yaml.safe_dump(tests))
    tested = promtool("test", "rules", tmp_path / "alerts.test.yml")
    assert tested.returncode != 0
    assert f"alertname: {rule['alert']}" in tested.stdout + tested.stderr


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_asks_for_metrics_that_exist(rule):
    asked = set(re.findall(r"\bbwpredict_\w+", rule["expr"]))
    assert asked
    assert asked <= KNOWN


def test_the_rules_ask_for_thresholds_that_are_exported():
    thresholds = load_thresholds(FOLDER / "thresholds.yml")
    exported = {(target, f"{value:g}") for target, values in thresholds.items() for value in values}
    pattern = r'bwpredict_exceedance_probability\{target="(\w+)", horizon_minutes="15", threshold="([^"]+)"\}'
    assert exported == {found for rule in RULES for found in re.findall(pattern, rule["expr"])}
