"""The Grafana dashboards in `monitoring/`: what Grafana's types know, and queries for metrics that are exported."""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from itertools import combinations

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from test_alert_rules import FOLDER, KNOWN, promtool
from test_exporter import at_minute, scrape

from bwpredict.exporter.exposition import exposition

BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "grafana/dashboards").glob("*.json"))}
PANELS = [panel for board in BOARDS.values() for panel in board["panels"]]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
NOT_OURS = {"ALERTS", "scrape_duration_seconds"}
VALUES = {"link": "0-100", "target": "rtt_ms", "model": "default"}

register_default_plugins()


def filled_in(query):
    """A query as Grafana sends it."""
    for name, value in VALUES.items():
        query = query.replace(f"${name}", value)
    return query


@pytest.mark.parametrize("name", BOARDS)
def test_grafanas_types_know_every_key_and_panel(name):
    board = BOARDS[name]
    known = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert list(unknown(board, known)) == []


def unknown(given, known, path=()):
    """The paths at which the types did not keep what was given."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            yield from unknown(value, known.get(key), (*path, key))
    elif isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        for number, (one, other) in enumerate(zip(given, known, strict=True)):
            yield from unknown(one, other, (*path, number))
    elif given != known:
        yield path


def test_a_misspelt_key_would_be_found():
    board = json.loads(json.dumps(BOARDS["link"]))
    board["panels"][0]["fieldConfig"]["defaults"]["custom"]["lineWith"] = 3
    known = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert list(unknown(board, known)) == [("panels", 0, "fieldConfig", "defaults", "custom", "lineWith")]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_ids_of_their_own_and_do_not_overlap(name):
    panels = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = any(one[a] + one[b] <= other[a] or other[a] + other[b] <= one[a] for a, b in (("x", "w"), ("y", "h")))
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("name", BOARDS)
def test_every_variable_is_declared_and_has_a_value(name):
    declared = {each["name"] for each in BOARDS[name]["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(BOARDS[name])))
    assert used == declared
    assert declared - {"datasource"} <= set(VALUES)


def test_links_between_dashboards_lead_somewhere():
    uids = {board["uid"] for board in BOARDS.values()}
    assert set(re.findall(r"/d/([\w-]+)", json.dumps(PANELS))) == {"bwpredict-link"} <= uids


def test_grafana_finds_the_data_source_and_the_dashboards():
    provisioning = FOLDER / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/bwpredict.yml").read_text())["providers"]
    compose = yaml.safe_load((FOLDER.parent / "docker-compose.yaml").read_text())["services"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose
    assert "./monitoring:/etc/bwpredict:ro" in compose["grafana"]["volumes"]
    inside = provider["options"]["path"].removeprefix("/etc/bwpredict/")
    assert (FOLDER / inside).is_dir()
    assert compose["grafana"]["environment"]["GF_PATHS_PROVISIONING"] == "/etc/bwpredict/grafana/provisioning"


def test_series_that_are_styled_are_series_of_their_panel():
    for panel in PANELS:
        if panel["type"] == "table":
            continue
        legends = {target["legendFormat"] for target in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in legends
            for each in override["properties"]:
                assert each["id"] != "custom.fillBelowTo" or each["value"] in legends


def test_promtool_parses_every_query(tmp_path):
    rules = [{"record": f"query:{number}", "expr": filled_in(query)} for number, query in enumerate(QUERIES)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = promtool("check", "rules", tmp_path / "rules.yml")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_metrics_that_exist(query):
    asked = set(re.findall(r"\b(?:bwpredict_\w+|ALERTS|scrape_\w+)", query))
    assert asked
    assert asked <= KNOWN | NOT_OURS


def test_its_selectors_name_labels_and_values_that_are_exported(models, write, clock):
    exported = defaultdict(set)
    for name, *labels in scrape(at_minute(models, write(0, 40), clock(39))):
        for label, value in labels:
            exported[name, label].add(value)
    live = {name for name, _ in exported}
    for query in map(filled_in, QUERIES):
        for name, selector in re.findall(r"(bwpredict_\w+)\{([^}]*)\}", query):
            for label, value in re.findall(r'(\w+)="([^"]*)"', selector):
                assert name not in live or value in exported[name, label], (name, label, value)


def test_promtool_finds_one_fault_in_a_scrape_the_label_that_users_know_from_summaries(models, write, clock):
    promtool("--version")
    exporter = at_minute(models, write(0, 40), clock(39))
    text = b"".join(exposition(exporter.figures, {"rtt_ms": [10.0]}, exporter.health.registry))
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    found = set(checked.stderr.decode().splitlines())  # once for each series
    assert found == {'bwpredict_forecast non-summary metrics should not have "quantile" label'}
