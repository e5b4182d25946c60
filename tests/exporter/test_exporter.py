"""The exporter with a real model and real telemetry files, its clock moved by hand, scraped over HTTP."""

from __future__ import annotations

import gzip
import logging
import shutil
import threading
import urllib.error
import urllib.request
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from challengers import V1, V2
from models import publish_stream_model
from prometheus_client.parser import text_string_to_metric_families

from bwpredict import schema
from bwpredict.errors import ModelError
from bwpredict.exporter.exporter import Exporter, board_path
from bwpredict.exporter.server import serving
from bwpredict.exporter.sources import open_source
from bwpredict.inference.stream_model import open_stream
from bwpredict.serving import stream as streams
from bwpredict.serving.delivery import deliver
from bwpredict.serving.stream import Stream
from bwpredict.store.factory import open_store

LINKS = {"0-100", "1-101", "2-102"}
THRESHOLDS = {"rtt_ms": [10.0, 1e6], "throughput_mbps": [100.0]}


def fetch(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:  # noqa: S310
        return answer.read(), answer.headers


def scrape(exporter, thresholds=THRESHOLDS):
    """(metric, labels but for the link's target) → value, as Prometheus' own parser reads it."""
    with serving(exporter, thresholds, "127.0.0.1:0") as port:
        text = fetch(f"http://127.0.0.1:{port}/metrics")[0].decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def figures(exporter):
    """The links' series alone: the exporter's own health differs from run to run."""
    return {key: value for key, value in scrape(exporter).items() if not key[0].startswith("bwpredict_exporter")}


def value(found, name, **labels):
    return found[name, *sorted(labels.items())]


def links_of(found, name="bwpredict_forecast"):
    return {dict(key[1:])["link"] for key in found if key[0] == name}


def at_minute(models, folder, now, **options):
    exporter = Exporter(models, open_source(str(folder)), **options)
    exporter.tick(now)
    return exporter


def test_a_scrape_tells_what_the_stream_forecasts(models, write, rows, clock):
    exporter = at_minute(models, write(0, 100), clock(99))
    found = scrape(exporter)
    stream = Stream(models)
    for minute in range(100):
        of_minute = rows.slice(3 * minute, 3).sort_by("node_id")
        samples = np.stack([of_minute[name].to_numpy() for name in schema.FEATURES], axis=1)
        at = of_minute["timestamp"][0].as_py()
        answer = stream.step([(0, 100), (1, 101), (2, 102)], samples, columns=schema.FEATURES, at=at)
    for place, target in enumerate(schema.TARGETS):
        named = answer.forecasts[target]
        for row, link in enumerate(("0-100", "1-101", "2-102")):
            ask = {"link": link, "target": target}
            for horizon, minutes in enumerate(("1", "5", "15", "30", "60")):
                told = [
                    value(found, "bwpredict_forecast", **ask, horizon_minutes=minutes, quantile=level)
                    for level in ("0.05", "0.5", "0.95")
                ]
                expected = answer.quantiles[row, horizon, :, place]
                if minutes == "15":
                    expected = [named.lower[row], named.value[row], named.upper[row]]
                assert told == pytest.approx(np.asarray(expected), rel=2e-3, abs=1e-6)
            assert value(found, "bwpredict_actual", **ask) == pytest.approx(of_minute[target][row].as_py(), rel=1e-6)
    assert value(found, "bwpredict_exporter_model_info", version=V1) == 1
    assert value(found, "bwpredict_exporter_links_known") == 3
    assert value(found, "bwpredict_exporter_links_mute") == 0
    assert value(found, "bwpredict_exporter_step_seconds") > 0


class Once(threading.Event):
    """Set as soon as somebody waits for it."""

    def wait(self, timeout=None):  # noqa: ARG002 - the name of the base class
        self.set()
        return True


def test_its_health_tells_warm_links_and_the_age_of_the_newest_sample(models, write, clock, monkeypatch):
    monkeypatch.setattr(streams, "open_stream", shorter_warm_up)
    exporter = at_minute(models, write(0, 60), clock(20))
    assert value(scrape(exporter), "bwpredict_exporter_links_warm") == 0
    exporter.follow(Once(), now=lambda: clock(61))
    found = scrape(exporter)
    assert value(found, "bwpredict_exporter_links_warm") == 3
    assert value(found, "bwpredict_exporter_newest_sample_age_seconds") == 125


def test_probabilities_and_thresholds_agree_with_the_quantiles(models, write, clock):
    found = scrape(at_minute(models, write(0, 60), clock(59)))
    for link in LINKS:
        ask = {"link": link, "target": "rtt_ms", "horizon_minutes": "15"}
        beyond = value(found, "bwpredict_exceedance_probability", **ask, threshold="1e+06")
        assert beyond < 0.05  # above the outer quantile
        low, high = (value(found, "bwpredict_forecast", **ask, quantile=level) for level in ("0.05", "0.95"))
        probability = value(found, "bwpredict_exceedance_probability", **ask, threshold="10")
        assert (probability > 0.95) == (low > 10)
        assert (probability > 0.05) == (high > 10)
    assert {dict(key[1:])["target"] for key in found if key[0] == "bwpredict_exceedance_probability"} == set(THRESHOLDS)


def test_an_anomaly_score_is_the_distance_from_the_forecast_of_fifteen_minutes_before(models, write, clock):
    folder = write(0, 60)
    before = scrape(at_minute(models, folder, clock(59)))
    absurd = 1e6  # ms: far above any bound
    write(60, 75, change=lambda table: with_last(table, "rtt_ms", absurd))
    found = scrape(at_minute(models, folder, clock(74)))
    for link in LINKS:
        ask = {"link": link, "target": "rtt_ms"}
        median, upper = (
            value(before, "bwpredict_forecast", **ask, horizon_minutes="15", quantile=level)
            for level in ("0.5", "0.95")
        )
        expected = (absurd - median) / (upper - median)
        assert value(found, "bwpredict_anomaly_score", **ask) == pytest.approx(expected, rel=1e-3)
        assert expected > 1
    assert value(found, "bwpredict_exporter_forecasts_judged_total", target="rtt_ms") == 3 * 60
    worse = value(found, "bwpredict_exporter_forecast_absolute_error_total", target="rtt_ms")
    assert worse > 3 * (absurd - 2000)


def with_last(table, column, number):
    """The table with `number` in the column of its newest minute."""
    newest = table["timestamp"].to_numpy() == table["timestamp"].to_numpy().max()
    changed = np.where(newest, number, table[column].to_numpy().astype(float))
    return table.set_column(table.column_names.index(column), column, pa.array(changed))


def test_a_link_without_a_score_yet_has_no_series_of_it(models, write, clock):
    found = scrape(at_minute(models, write(0, 10), clock(9)))
    assert links_of(found) == LINKS
    assert links_of(found, "bwpredict_anomaly_score") == set()


@pytest.mark.parametrize("after", [3, 40, 59])
def test_a_restart_with_its_state_gives_the_same_figures(models, write, clock, tmp_path, after):
    folder, state = write(0, 100), tmp_path / "state.npz"
    steady = Exporter(models, open_source(str(folder)))
    first = Exporter(models, open_source(str(folder)), state=state)
    for each in (steady, first):
        each.tick(clock(after))
    first.save()
    restarted = Exporter(models, open_source(str(folder)), state=state)
    assert figures(restarted) == figures(first)
    for minute in (after + 1, after + 20):  # the second one after an absence
        steady.tick(clock(minute))
        restarted.tick(clock(minute))
        assert figures(restarted) == figures(steady)
    assert links_of(figures(restarted), "bwpredict_anomaly_score") == LINKS


@pytest.mark.parametrize("broken", ["", ".figures"])
def test_a_broken_state_is_said_and_the_history_read(models, write, clock, tmp_path, caplog, broken):
    folder, state = write(0, 40), tmp_path / "state.npz"
    before = at_minute(models, folder, clock(39), state=state)
    before.save()
    state.with_name(state.name + broken).write_bytes(b"PK\x03\x04 half")
    after = at_minute(models, folder, clock(39), state=state)
    assert f"{state.name}{broken}: " in caplog.text
    if not broken:
        assert figures(after) == figures(before)
    write(40, 41)
    after.tick(clock(40))
    assert links_of(figures(after)) == LINKS


def test_no_minute_is_missed_while_the_source_is_away(models, write, clock, caplog, tmp_path):
    folder = write(0, 100)
    steady = at_minute(models, folder, clock(30))
    exporter = Exporter(models, open_source(str(folder)))
    exporter.tick(clock(30))
    folder.rename(tmp_path / "away")
    caplog.set_level(logging.INFO)
    for minute in range(31, 41):
        exporter.tick(clock(minute))
    assert len(caplog.messages) == 1
    assert value(scrape(exporter), "bwpredict_exporter_source_up") == 0
    assert links_of(figures(exporter)) == set()
    assert value(scrape(exporter), "bwpredict_exporter_links_mute") == 3
    (tmp_path / "away").rename(folder)
    for each in (exporter, steady):
        each.tick(clock(41))
    assert caplog.messages[1:] == ["The source answers again."]
    assert value(scrape(exporter), "bwpredict_exporter_source_up") == 1
    assert figures(exporter) == figures(steady)


def test_a_clock_that_jumped_ahead_and_came_back_stops_no_forecast(models, write, clock):
    folder = write(0, 100)
    exporter, steady = (Exporter(models, open_source(str(folder))) for _ in range(2))
    exporter.tick(clock(30))
    exporter.tick(clock(30) + 365 * 86_400)
    exporter.forget()
    assert links_of(figures(exporter)) == set()
    for minute in range(31, 41):
        exporter.tick(clock(minute))
    for minute in range(30, 41):
        steady.tick(clock(minute))
    assert figures(exporter) == figures(steady)
    exporter.tick(clock(20))
    for each in (exporter, steady):
        each.tick(clock(41))
    assert figures(exporter) == figures(steady)
    assert value(scrape(exporter), "bwpredict_exporter_late_samples_total") == 0


def test_forecasts_last_five_minutes_without_new_samples(models, write, clock):
    exporter = at_minute(models, write(0, 10), clock(9))
    for minute, there in ((14, LINKS), (15, set())):
        exporter.tick(clock(minute))
        assert links_of(figures(exporter)) == there


def test_late_repeated_and_foreign_samples_change_nothing(models, write, clock):
    folder = write(0, 50)
    clean, exporter = (Exporter(models, open_source(str(folder))) for _ in range(2))
    clean.tick(clock(49))
    (folder / "part-0-50.parquet").unlink()
    write(0, 45)
    exporter.tick(clock(44))
    write(44, 50, name="again")
    exporter.tick(clock(49))
    assert figures(exporter) == figures(clean)
    assert value(scrape(exporter), "bwpredict_exporter_late_samples_total") == 0


def test_a_sample_that_comes_after_a_newer_one_of_its_link_is_left_out_and_counted_once(models, write, clock):
    folder = write(0, 30)
    write(31, 32)
    exporter = at_minute(models, folder, clock(31))
    before = figures(exporter)
    write(30, 31, name="late")
    for _ in range(3):
        exporter.tick(clock(31))
    assert figures(exporter) == before
    assert value(scrape(exporter), "bwpredict_exporter_late_samples_total") == 3


def test_a_sample_that_arrives_minutes_after_those_of_other_links_is_taken(models, write, clock):
    folder = write(0, 30)
    write(30, 33, change=lambda table: table.filter(pa.compute.less(table["node_id"], 2)))
    exporter = at_minute(models, folder, clock(32))
    write(30, 33, name="slow", change=lambda table: table.filter(pa.compute.equal(table["node_id"], 2)))
    exporter.tick(clock(33))
    (folder / "part-30-33.parquet").unlink()
    complete = at_minute(models, write(30, 33), clock(33))
    assert figures(exporter) == pytest.approx(figures(complete), rel=1e-4)  # of other batches


def test_links_come_and_go(models, write, clock):
    folder = write(0, 20, change=lambda table: table.filter(pa.compute.less(table["node_id"], 2)))
    exporter = at_minute(models, folder, clock(19))
    assert links_of(figures(exporter)) == {"0-100", "1-101"}
    write(20, 40, change=lambda table: table.filter(pa.compute.greater(table["node_id"], 0)))
    exporter.tick(clock(39))
    found = scrape(exporter)
    assert links_of(found) == {"1-101", "2-102"}
    assert [value(found, f"bwpredict_exporter_links_{each}") for each in ("known", "mute")] == [3, 1]


def test_links_that_are_gone_for_good_are_forgotten_and_the_others_go_on_as_before(models, write, clock, monkeypatch):
    folder = write(0, 20, change=lambda table: table.filter(pa.compute.less(table["node_id"], 2)))
    exporter, other = (at_minute(models, folder, clock(19)) for _ in range(2))
    write(20, 60, change=lambda table: table.filter(pa.compute.greater(table["node_id"], 0)))
    monkeypatch.setattr("bwpredict.exporter.exporter.FORGET_AFTER_SECONDS", 600)
    for minute in range(20, 60):
        exporter.tick(clock(minute))
        other.tick(clock(minute))
        if minute == 40:
            exporter.forget()
    found = scrape(exporter)
    assert [value(found, f"bwpredict_exporter_links_{each}") for each in ("known", "mute")] == [2, 0]
    assert figures(exporter) == pytest.approx(figures(other), nan_ok=True)


def test_values_that_no_column_may_hold_are_missing_and_counted(models, write, clock):
    folder = write(0, 30)
    write(30, 31, change=lambda table: with_last(with_last(table, "packet_loss", 7.0), "rtt_ms", -1.0))
    exporter = at_minute(models, folder, clock(30))
    found = scrape(exporter)
    assert value(found, "bwpredict_exporter_invalid_values_total") == 6
    assert links_of(found) == LINKS
    assert {dict(key[1:])["target"] for key in found if key[0] == "bwpredict_actual"} == {
        "throughput_mbps",
        "jitter_ms",
    }


def test_minutes_that_were_read_but_not_followed_are_read_again(models, write, clock, monkeypatch):
    folder = write(0, 30)
    exporter, steady = (Exporter(models, open_source(str(folder))) for _ in range(2))
    for each in (exporter, steady):
        each.tick(clock(29))
    write(30, 32)
    step = Stream.step

    def fails_once(*given, **options):
        monkeypatch.setattr(Stream, "step", step)
        raise ModelError("ONNX Runtime cannot run it.")

    monkeypatch.setattr(Stream, "step", fails_once)
    exporter.tick(clock(31))
    assert exporter.figures.newest_at == int(clock(29)) - 5
    exporter.tick(clock(31))
    steady.tick(clock(31))
    assert figures(exporter) == figures(steady)


def test_a_half_written_file_is_waited_for(models, write, clock, caplog):
    folder = write(0, 30)
    exporter = at_minute(models, folder, clock(29))
    whole = write(30, 31) / "part-30-31.parquet"
    content = whole.read_bytes()
    whole.write_bytes(content[:200])
    exporter.tick(clock(30))
    assert value(scrape(exporter), "bwpredict_exporter_source_up") == 0
    assert "part-30-31.parquet" in caplog.text
    whole.write_bytes(content)
    exporter.tick(clock(30))
    assert value(scrape(exporter), "bwpredict_exporter_source_up") == 1
    assert exporter.figures.newest_at == int(clock(30)) - 5


def test_a_new_model_takes_over_while_the_exporter_runs(models, network, write, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "open_stream", shorter_warm_up)
    shutil.copytree(models.parent / "store", tmp_path / "store")
    store, dest = open_store(str(tmp_path / "store")), tmp_path / "dest"
    deliver(store, dest)
    exporter = at_minute(dest, write(0, 200), clock(59))
    publish_stream_model(store, tmp_path, V2, network, champion=V1)
    deliver(store, dest)
    versions = []
    for minute in range(60, 95):
        exporter.tick(clock(minute))
        found = scrape(exporter)
        assert links_of(found) == LINKS
        versions += [dict(key[1:])["version"] for key in found if key[0] == "bwpredict_exporter_model_info"]
    assert versions == [V1] * 29 + [V2] * 6
    assert not any(key[0] == "bwpredict_exporter_warming_model_info" for key in found)


def shorter_warm_up(*given, **options):
    return replace(open_stream(*given, **options), warm_up_minutes=30)


def test_a_model_that_cannot_be_served_is_refused_and_the_old_one_goes_on(models, write, clock, tmp_path, caplog):
    dest = tmp_path / "dest"
    shutil.copytree(models, dest, symlinks=True)
    exporter = at_minute(dest, write(0, 100), clock(59))
    shutil.copytree(dest / "versions" / V1, dest / "versions" / V2)
    (dest / "versions" / V2 / "model_metadata_production.json").unlink()
    (dest / "current").unlink()
    (dest / "current").symlink_to(f"versions/{V2}")
    for minute in (60, 61):
        exporter.tick(clock(minute))
    found = scrape(exporter)
    assert value(found, "bwpredict_exporter_model_accepted") == 0
    assert value(found, "bwpredict_exporter_model_info", version=V1) == 1
    assert links_of(found) == LINKS
    assert len([message for message in caplog.messages if f"{V1} still serves." in message]) == 1


def test_ready_only_once_the_history_is_read(models, write, clock, tmp_path):
    folder = write(0, 30)
    exporter = Exporter(models, open_source(str(folder)))
    with serving(exporter, {}, "127.0.0.1:0") as port:
        where = f"http://127.0.0.1:{port}"
        assert fetch(f"{where}/-/healthy")[0] == b"healthy\n"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            fetch(f"{where}/-/ready")
        exporter.tick(clock(29))
        assert fetch(f"{where}/-/ready")[0] == b"ready\n"
        for path, method in (("nothing", "GET"), ("metrics", "POST")):
            request = urllib.request.Request(f"{where}/{path}", method=method)  # noqa: S310
            with pytest.raises(urllib.error.HTTPError, match=r"40[45]"):
                urllib.request.urlopen(request, timeout=20)  # noqa: S310


def test_a_compressed_scrape_holds_the_same(models, write, clock):
    exporter = at_minute(models, write(0, 30), clock(29))
    with serving(exporter, THRESHOLDS, "127.0.0.1:0") as port:
        plain, headers = fetch(f"http://127.0.0.1:{port}/metrics")
        packed, packed_headers = fetch(f"http://127.0.0.1:{port}/metrics", **{"Accept-Encoding": "gzip"})
    assert headers["Content-Type"] == packed_headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert packed_headers["Content-Encoding"] == "gzip"
    steady = [line for line in plain.splitlines() if b"exporter_" not in line]
    assert [line for line in gzip.decompress(packed).splitlines() if b"exporter_" not in line] == steady


def test_the_figures_lie_beside_the_state(models, write, clock, tmp_path):
    exporter = at_minute(models, write(0, 10), clock(9), state=tmp_path / "state.npz")
    exporter.save()
    assert board_path(tmp_path / "state.npz").is_file()
