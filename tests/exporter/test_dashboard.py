"""The Grafana dashboard in `monitoring/`: its queries parse, and ask for metrics and labels that are exported."""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from itertools import combinations

import pytest
import yaml
from test_alert_rules import FOLDER, KNOWN, promtool
from test_exporter import at_minute, scrape

from bwpredict.exporter.exposition import exposition

DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = {each["name"] for each in DASHBOARD["templating"]["list"]}


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        apart = any(one[a] + one[b] <= other[a] or other[a] + other[b] <= one[a] for a, b in (("x", "w"), ("y", "h")))
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)


def test_every_variable_is_declared():
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert used == VARIABLES


def test_series_that_are_styled_are_series_of_their_panel():
    for panel in PANELS:
        legends = {target["legendFormat"] for target in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in legends
            for each in override["properties"]:
                assert each["id"] != "custom.fillBelowTo" or each["value"] in legends


def test_promtool_parses_every_query(tmp_path):
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$link", "1-2").replace("$target", "rtt_ms")}
        for number, query in enumerate(QUERIES)
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = promtool("check", "rules", tmp_path / "rules.yml")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_metrics_that_exist(query):
    asked = set(re.findall(r"\bbwpredict_\w+", query))
    assert asked
    assert asked <= KNOWN


def test_its_selectors_name_labels_and_values_that_are_exported(models, write, clock):
    exported = defaultdict(set)
    for name, *labels in scrape(at_minute(models, write(0, 40), clock(39))):
        for label, value in labels:
            exported[name, label].add(value)
    for query in QUERIES:
        for name, selector in re.findall(r"(bwpredict_\w+)\{([^}]*)\}", query):
            for label, value in re.findall(r'(\w+)="([^"]*)"', selector):
                assert value.startswith("$") or value in exported[name, label], (name, label, value)
                assert exported[name, label], (name, label)


def test_promtool_finds_one_fault_in_a_scrape_the_label_that_users_know_from_summaries(models, write, clock):
    promtool("--version")
    exporter = at_minute(models, write(0, 40), clock(39))
    text = b"".join(exposition(exporter.figures, {"rtt_ms": [10.0]}, exporter.health.registry))
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    found = set(checked.stderr.decode().splitlines())  # once for each series
    assert found == {'bwpredict_forecast non-summary metrics should not have "quantile" label'}
