"""Telemetry from a real Prometheus server that holds real series."""

from __future__ import annotations

import copy

import pyarrow.parquet as pq
import pytest
import yaml
from monitored_links import DAY, GAP, LINKS, MAPPING, at, minutes, value

from bwpredict.errors import ConfigError, StoreUnreachableError, TelemetryError
from bwpredict.ingestion.landing import ingest_days
from bwpredict.ingestion.prometheus import PrometheusMapping, PrometheusSource, load_mapping
from bwpredict.schema import COLUMN_NAMES
from bwpredict.store.factory import open_store
from bwpredict.telemetry import snapshot

FIRST, PAST = at(0), at(0) + 86_400


def source(url, **changes):
    return PrometheusSource(PrometheusMapping.model_validate({"url": url, **copy.deepcopy(MAPPING), **changes}))


@pytest.fixture(scope="module")
def rows(prometheus):
    return source(prometheus).read_day(FIRST, PAST).to_pandas().set_index(["node_id", "peer_id"])


def test_every_sample_comes_back_with_its_time_unit_and_labels(rows):
    for link in LINKS:
        of_link = rows.loc[link]
        assert of_link["timestamp"].tolist() == [at(minute) for minute in minutes(link)]
        expected = [1000 * value("link_rtt_seconds", link, minute) for minute in minutes(link)]
        assert of_link["rtt_ms"].tolist() == pytest.approx(expected)
        assert of_link["bytes_tx"].tolist() == [round(value("link_tx_bytes", link, m)) for m in minutes(link)]
        assert set(of_link["az"]) == {"us-east-1a"}
        assert set(of_link["dwcp_mode"]) == {"standard"}


def test_a_gap_stays_a_gap_though_prometheus_would_fill_it(rows):
    missing = {at(minute) for minute in GAP}
    assert missing.isdisjoint(rows.loc[LINKS[0]]["timestamp"])
    assert missing <= set(rows.loc[LINKS[1]]["timestamp"])


@pytest.mark.parametrize("max_points", [1440, 1000, 7])
def test_queries_are_cut_to_what_the_server_allows_and_give_the_same(prometheus, rows, max_points):
    span = (FIRST, FIRST + 3600) if max_points == 7 else (FIRST, PAST)
    chunked = source(prometheus, max_points=max_points).read_day(*span).to_pandas().set_index(["node_id", "peer_id"])
    expected = rows[rows["timestamp"] < span[1]]
    assert chunked.equals(expected)


def test_a_step_of_seconds_needs_more_points_than_the_server_gives_at_once(prometheus, rows):
    """17,280 points a day; in one query the server refuses them."""
    by_seconds = source(prometheus, step_seconds=5)
    assert by_seconds.read_day(FIRST, PAST).num_rows == len(rows)
    with pytest.raises(TelemetryError, match="exceeded maximum resolution of 11,000 points"):
        source(prometheus, step_seconds=5, max_points=100_000).read_day(FIRST, PAST)


def test_a_day_lands_whole_once_and_can_be_pulled_when_prometheus_forgot(prometheus, store, tmp_path):
    days = [DAY.date()]
    assert ingest_days(store, days, source(prometheus).read_day).written == days
    content = store.read("date=2026-11-02/part-0.parquet")[0]
    assert ingest_days(store, days, forgotten).there_already == days
    assert store.read("date=2026-11-02/part-0.parquet")[0] == content
    snapshot.take_snapshot(store, "", DAY, DAY.replace(day=3), tmp_path / "work")
    pulled = pq.read_table(tmp_path / "work" / "telemetry" / "date=2026-11-02" / "part-0.parquet", partitioning=None)
    assert pulled.column_names == list(COLUMN_NAMES)
    assert pulled.num_rows == 2 * 1440 - len(GAP)


def forgotten(_first, _past):
    raise AssertionError("a day that is there must not be asked for")


def test_a_day_without_samples_is_not_written(prometheus, local_store):
    before = DAY.date().replace(day=1)
    assert ingest_days(local_store, [before], source(prometheus).read_day).empty == [before]
    assert list(local_store.keys()) == []


def test_a_server_that_refuses_at_first_is_asked_again(prometheus, tmp_path):
    from faulty_proxy import failing_first

    with failing_first(prometheus, times=2) as url:
        assert source(url).read_day(FIRST, FIRST + 600).num_rows == 20


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"metrics": {"rtt_ms": {"metric": "link_rtt_second"}}}, ConfigError, "Did you mean 'link_rtt_seconds'"),
        ({"labels": MAPPING["labels"] | {"node_id": "nod"}}, ConfigError, "have no label 'nod'; they have:"),
        ({"labels": MAPPING["labels"] | {"node_id": "region"}}, TelemetryError, "'us-east'; expected a whole number"),
        ({"labels": {"node_id": "link_type_", "peer_id": "peer"}}, ConfigError, "have no label"),
        ({"metrics": {"rtt_ms": {"metric": "link_rtt_seconds{=}"}}}, TelemetryError, "refuses the query"),
    ],
)
def test_a_wrong_mapping_is_one_sentence(prometheus, changes, error, says):
    wrong = source(prometheus, **changes)
    with pytest.raises(error) as refused:
        asked(wrong)
    assert says in str(refused.value)


def asked(one):
    one.check()
    one.read_day(FIRST, FIRST + 600)


def test_two_series_of_one_link_are_refused(prometheus):
    twice = {"rtt_ms": {"metric": "link_rtt_seconds", "function": "last_over_time"}}
    constant = source(prometheus, metrics=twice, labels=MAPPING["labels"] | {"node_id": "one", "peer_id": "one"})
    with pytest.raises(TelemetryError, match="has two series of link"):
        constant.read_day(FIRST, FIRST + 600)


def test_a_server_that_does_not_answer_is_one_sentence_without_its_secrets():
    nobody = source("http://user:s3cr3t@127.0.0.1:1")
    with pytest.raises(StoreUnreachableError, match=r"http://127\.0\.0\.1:1: does not answer") as refused:
        nobody.check()
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"constants": {}}, "does not map dwcp_mode"),
        ({"constants": {"dwcp_mode": "standard", "colour": "red"}}, "colour: unknown column"),
        ({"constants": {"dwcp_mode": "standard", "az": "a"}}, "az: mapped twice"),
        ({"labels": {"node_id": "node"}}, "node_id and peer_id"),
        ({"urll": "x"}, "urll"),
        ({"url": "prometheus:9090"}, "url"),
    ],
)
def test_a_mapping_file_that_is_incomplete_is_refused_by_name(tmp_path, changes, says):
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump({"url": "http://x", **MAPPING, **changes}))
    with pytest.raises(ConfigError, match=says) as refused:
        load_mapping(path)
    assert str(path) in str(refused.value)


def test_the_mapping_of_the_docs_is_complete(tmp_path):
    from pathlib import Path

    docs = (Path(__file__).parents[2] / "docs" / "telemetry-sources.md").read_text()
    for number, block in enumerate(docs.split("```yaml\n")[1:]):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block.partition("```")[0])
        if "metrics:" in path.read_text():
            load_mapping(path)
        else:
            from bwpredict.ingestion.sql import load_mapping as load_sql_mapping

            load_sql_mapping(path)


def test_days_of_the_command_line(cli, prometheus, tmp_path, caplog):
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump({"url": prometheus, **MAPPING}))
    options = ("--mapping", path, "--telemetry", tmp_path / "store")
    assert cli("collect", "prometheus", "--start", "2026-11-02", *options)[0] == 0
    assert [info.key for info in open_store(str(tmp_path / "store")).list()] == ["date=2026-11-02/part-0.parquet"]
    for arguments, says in (
        (("--start", "2026-11-02", "--end", "2026-11-01"), "comes before"),
        (("--start", "2999-01-01"), "is not over yet"),
        (("--start", "x"), "is not a day"),
    ):
        code, _, said = cli("collect", "prometheus", *arguments, *options)
        assert (code, said.count("\n")) == (2, 1)
        assert says in said
