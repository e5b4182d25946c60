"""Streams: the states of all links, minute by minute, with a real network in ONNX Runtime."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from challengers import V1, V2
from frames import whole_days
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import publish_model, publish_stream_model, restless_model
from tritonclient.grpc.model_config_pb2 import ModelConfig

from bwpredict import schema
from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.errors import InputError, ModelError
from bwpredict.inference.session import open_session
from bwpredict.inference.stream_model import forecast_stream, open_stream
from bwpredict.registry.layout import stream_onnx_name
from bwpredict.serving import stream as streams
from bwpredict.serving import triton
from bwpredict.serving.delivery import METADATA, STREAM_MODEL, deliver, resolve_current
from bwpredict.serving.stream import Stream
from bwpredict.store.factory import open_store

COLUMNS = schema.FEATURES
CLOSE = {"rtol": 2e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def frame():
    return whole_days(8, links=3)


@pytest.fixture(scope="module")
def network(frame):
    return restless_model(split_windows(index_windows(frame, 20, 15), SplitConfig()), std=0.05)


@pytest.fixture(scope="module")
def registry(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    store = open_store(str(folder / "store"))
    area = publish_stream_model(store, folder, V1, network)
    return store, area / stream_onnx_name(V1)


@pytest.fixture(scope="module")
def pulled(registry, tmp_path_factory):
    dest = tmp_path_factory.mktemp("pulled")
    deliver(registry[0], dest)
    return dest


@pytest.fixture
def stream(pulled):
    return Stream(pulled)


def links_of(frame):
    return [(int(node), int(peer)) for node, peer in frame.links[list(schema.LINK_KEY)].to_numpy()]


def minutes(frame, begin, count):
    """(unix second, [links, features]) of this many minutes."""
    of_each = len(frame.timestamps) // len(frame.links)
    values = np.asarray(frame.values).reshape(len(frame.links), of_each, -1)
    times = frame.timestamps[:of_each]
    for place in range(begin, begin + count):
        yield int(times[place]), values[:, place].astype(np.float32)


def walk(stream, frame, begin, count):
    for at, samples in minutes(frame, begin, count):
        answer = stream.step(links_of(frame), samples, columns=COLUMNS, at=at)
    return answer


def test_a_pulled_folder_holds_the_file_for_streams(pulled, registry):
    assert (pulled / "current" / STREAM_MODEL).read_bytes() == registry[1].read_bytes()


def test_steps_give_what_the_file_gives_for_the_same_history(stream, frame, registry):
    found = walk(stream, frame, 0, 60)
    index = index_windows(frame, 20, 15)
    last = index.starts + 19
    wanted = np.isin(last % (len(frame.timestamps) // 3), [59])
    expected = forecast_stream(open_stream(registry[1], threads=1), index.take(wanted), history_seconds=3600)
    values = np.stack([found.forecasts[name].value for name in schema.TARGETS], axis=1)
    np.testing.assert_allclose(values, expected.output, **CLOSE)
    assert found.quantiles.shape == (3, 5, 3, 4)
    assert found.horizons_minutes == (1, 5, 15, 30, 60)
    np.testing.assert_allclose(found.quantiles[:, 2, 1], values, **CLOSE)
    assert (np.diff(found.quantiles, axis=2) >= 0).all()
    assert (found.forecasts.valid_at == frame.timestamps[59] + 900).all()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(3)))
def test_the_order_of_links_does_not_matter(pulled, frame, order):
    one, other = Stream(pulled), Stream(pulled)
    links = links_of(frame)
    for at, samples in minutes(frame, 0, 4):
        straight = one.step(links, samples, columns=COLUMNS, at=at)
        mixed = other.step([links[place] for place in order], samples[list(order)], columns=COLUMNS, at=at)
    np.testing.assert_allclose(mixed.quantiles, straight.quantiles[list(order)], **CLOSE)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 400))
def test_minutes_that_are_skipped_are_minutes_without_values(pulled, frame, gap):
    skipped, told = Stream(pulled), Stream(pulled)
    for stream in (skipped, told):
        walk(stream, frame, 0, 25)
    nothing = np.full((3, len(COLUMNS)), np.nan, np.float32)
    for at, _ in minutes(frame, 25, gap):
        told.step(links_of(frame), nothing, columns=COLUMNS, at=at)
    one, other = (walk(stream, frame, 25 + gap, 1) for stream in (skipped, told))
    np.testing.assert_allclose(one.quantiles, other.quantiles, **CLOSE)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(20, 60), st.integers(1, 40)), max_size=4))
def test_intervals_after_gaps_are_those_of_a_stream_that_was_told_every_minute(pulled, frame, gaps):
    """Gaps: (link, first minute, length)."""
    skipped, told = Stream(pulled), Stream(pulled)
    links = links_of(frame)
    for minute, (at, samples) in enumerate(minutes(frame, 0, 110)):
        silent = {link for link, begin, length in gaps if begin <= minute < begin + length}
        there = [link for link in range(3) if link not in silent]
        samples[list(silent)] = np.nan
        other = told.step(links, samples, columns=COLUMNS, at=at)
        if there:
            one = skipped.step([links[k] for k in there], samples[there], columns=COLUMNS, at=at)
    assert one.links == links
    for name in schema.TARGETS:
        for bound in ("lower", "upper"):
            np.testing.assert_allclose(
                getattr(one.forecasts[name], bound), getattr(other.forecasts[name], bound), **CLOSE
            )
    np.testing.assert_allclose(skipped._fleet.intervals.log_factor, told._fleet.intervals.log_factor, atol=1e-5)
    np.testing.assert_array_equal(skipped._fleet.intervals.learnt, told._fleet.intervals.learnt)


def test_a_missing_value_does_not_take_the_forecast_away(stream, frame):
    walk(stream, frame, 0, 30)
    at, samples = next(minutes(frame, 30, 1))
    samples[0, :2] = np.nan
    answer = stream.step(links_of(frame), samples, columns=COLUMNS, at=at)
    assert np.isfinite(answer.quantiles).all()


def test_late_and_repeated_samples_are_left_out(stream, frame):
    walk(stream, frame, 0, 10)
    at, samples = next(minutes(frame, 9, 1))
    before = stream._fleet.state.copy()
    links = [*links_of(frame), (77, 78)]
    answer = stream.step(links, np.vstack((samples, samples[:1])), columns=COLUMNS, at=at)
    assert answer.late == links_of(frame)
    assert answer.links == [(77, 78)]
    np.testing.assert_array_equal(stream._fleet.state[:3], before)


def test_a_minute_that_comes_twice_for_every_link_gives_no_forecast(stream, frame):
    walk(stream, frame, 0, 10)
    answer = walk(stream, frame, 9, 1)
    assert (answer.links, answer.late) == ([], links_of(frame))
    assert answer.quantiles.shape == (0, 5, 3, 4)
    assert len(answer.forecasts["rtt_ms"].value) == 0
    assert np.isfinite(walk(stream, frame, 10, 1).quantiles).all()


def test_a_sample_from_the_future_is_left_out_and_does_not_make_later_ones_late(stream, frame):
    walk(stream, frame, 0, 10)
    at, samples = next(minutes(frame, 10, 1))
    before = stream._fleet.state.copy()
    links = [*links_of(frame), (77, 78)]
    answer = stream.step(links, np.vstack((samples, samples[:1])), columns=COLUMNS, at=at + 86400, now=at)
    assert (answer.early, answer.late, answer.links) == (links, [], [])
    assert answer.quantiles.shape == (0, 5, 3, 4)
    np.testing.assert_array_equal(stream._fleet.state, before)
    assert stream.links == links_of(frame)
    answer = stream.step(links_of(frame), samples, columns=COLUMNS, at=at, now=at)
    assert (answer.early, answer.late, answer.links) == ([], [], links_of(frame))


@pytest.mark.parametrize(("ahead", "taken"), [(-60, 3), (0, 3), (60, 3), (61, 0)])
def test_clocks_may_differ_by_one_cadence(stream, frame, ahead, taken):
    at, samples = next(minutes(frame, 0, 1))
    answer = stream.step(links_of(frame), samples, columns=COLUMNS, at=at, now=at - ahead)
    assert (len(answer.links), len(answer.early)) == (taken, 3 - taken)


def test_the_clock_tells_the_future_where_no_time_is_given(stream, frame):
    _, samples = next(minutes(frame, 0, 1))
    answer = stream.step(links_of(frame), samples, columns=COLUMNS, at=int(time.time()) + 3600)
    assert answer.early == links_of(frame)


def test_a_history_with_samples_from_the_future_is_refused(stream, frame):
    newest = int(frame.timestamps.max())
    with pytest.raises(InputError, match="the history's newest sample is 61 s in the future; expected unix seconds"):
        stream.warm_up(frame, now=newest - 61)
    assert stream.links == []


def test_a_link_that_was_never_seen_starts_from_nothing(stream, frame, pulled):
    walk(stream, frame, 0, 40)
    at, samples = next(minutes(frame, 40, 1))
    new = stream.step([(77, 78)], samples[:1], columns=COLUMNS, at=at)
    alone = Stream(pulled).step([(77, 78)], samples[:1], columns=COLUMNS, at=at)
    np.testing.assert_allclose(new.quantiles, alone.quantiles, **CLOSE)
    assert not new.warm.any()
    assert len(stream.links) == 4


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 59))
def test_a_restart_changes_nothing(pulled, frame, tmp_path, after):
    steady, first = Stream(pulled), Stream(pulled)
    walk(steady, frame, 0, 60)
    walk(first, frame, 0, after)
    restarted = Stream(pulled)
    restarted.restore(first.snapshot(tmp_path / "states.npz"))
    if after < 60:
        walk(restarted, frame, after, 60 - after)
    one, other = (walk(stream, frame, 60, 1) for stream in (steady, restarted))
    np.testing.assert_array_equal(one.quantiles, other.quantiles)
    for name in schema.TARGETS:
        np.testing.assert_array_equal(one.forecasts[name].lower, other.forecasts[name].lower)


def test_the_snapshot_of_another_model_is_refused(network, pulled, frame, tmp_path):
    store = open_store(str(tmp_path / "other"))
    publish_stream_model(store, tmp_path, V2, network)
    deliver(store, tmp_path / "dest")
    other = Stream(tmp_path / "dest")
    walk(other, frame, 0, 3)
    path = other.snapshot(tmp_path / "states.npz")
    stream = Stream(pulled)
    walk(stream, frame, 0, 3)
    with pytest.raises(ModelError, match=rf"holds the states of model {V2}.*expected those of {V1}"):
        stream.restore(path)
    assert len(stream.links) == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"no archive"])
def test_a_broken_snapshot_is_refused_with_a_sentence(stream, tmp_path, content):
    path = tmp_path / "states.npz"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is not a complete snapshot of a stream"):
        stream.restore(path)


def test_a_snapshot_of_an_earlier_format_is_refused_with_a_sentence(stream, frame, tmp_path, monkeypatch):
    walk(stream, frame, 0, 3)
    with monkeypatch.context() as earlier:
        earlier.setattr(streams, "_FORMAT", 1)
        path = stream.snapshot(tmp_path / "states.npz")
    with pytest.raises(ModelError, match="was written by another version of bwpredict; warm up from history"):
        stream.restore(path)
    assert len(stream.links) == 3


def test_warming_up_from_history_is_stepping_through_it(stream, pulled, frame):
    walk(stream, frame, 0, 100)
    rows = np.isin(np.arange(len(frame.timestamps)) % (len(frame.timestamps) // 3), range(100))
    history = replace(frame, values=frame.values[rows], timestamps=frame.timestamps[rows], link=frame.link[rows])
    other = Stream(pulled)
    other.warm_up(history)
    one, warmed = (walk(each, frame, 100, 1) for each in (stream, other))
    np.testing.assert_allclose(warmed.quantiles, one.quantiles, **CLOSE)
    with pytest.raises(InputError, match="a sample every 30 s; expected 60 s"):
        other.warm_up(replace(history, cadence_seconds=30))


def test_a_new_model_takes_over_once_it_is_warm(network, frame, tmp_path, monkeypatch):
    store, dest = open_store(str(tmp_path / "store")), tmp_path / "dest"
    publish_stream_model(store, tmp_path, V1, network)
    deliver(store, dest)
    stream = Stream(dest)
    monkeypatch.setattr(streams, "open_stream", shorter_warm_up)
    stream = Stream(dest)
    walk(stream, frame, 0, 40)
    assert not stream.reload()
    publish_stream_model(store, tmp_path, V2, network, champion=V1)
    deliver(store, dest)
    assert stream.reload()
    versions = []
    for at, samples in minutes(frame, 40, 35):
        versions.append(stream.step(links_of(frame), samples, columns=COLUMNS, at=at).forecasts.version)
        assert stream.warming in (V2, None)
    assert versions.index(V2) == 30
    assert stream.version == V2
    assert stream.warming is None
    fresh = Stream(dest)
    walk(fresh, frame, 40, 35)
    one, other = (walk(each, frame, 75, 1).forecasts for each in (stream, fresh))
    for name in schema.TARGETS:
        np.testing.assert_allclose(one[name].lower, other[name].lower, **CLOSE)
        np.testing.assert_allclose(one[name].upper, other[name].upper, **CLOSE)


def shorter_warm_up(*given, **options):
    return replace(open_stream(*given, **options), warm_up_minutes=30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": COLUMNS[::-1]}, "expected, in this order: throughput_mbps"),
        ({"samples": np.zeros((2, 9))}, r"the samples have the shape \[2, 9\] for 3 links"),
        ({"links": [(1, 2), (1, 2), (3, 4)]}, "a link appears twice"),
        ({"samples": np.full((3, 9), -1.0)}, r"throughput_mbps is -1; expected raw .* from 0"),
        ({"samples": np.full((3, 9), np.inf)}, "throughput_mbps is inf"),
    ],
)
def test_what_is_no_step_is_refused_and_changes_nothing(stream, frame, change, message):
    walk(stream, frame, 0, 3)
    at, samples = next(minutes(frame, 3, 1))
    given = {"links": links_of(frame), "samples": samples, "columns": COLUMNS} | change
    before = stream._fleet.state.copy()
    with pytest.raises(InputError, match=message):
        stream.step(given["links"], given["samples"], columns=given["columns"], at=at)
    np.testing.assert_array_equal(stream._fleet.state, before)
    assert len(stream.links) == 3


def test_a_version_without_a_file_for_streams_says_so(tmp_path):
    store = open_store(str(tmp_path / "store"))
    publish_model(store, tmp_path, V1)
    deliver(store, tmp_path / "dest")
    with pytest.raises(ModelError, match="has no model for streams; serve windows, or retrain"):
        Stream(tmp_path / "dest")


def triton_config(repository, name):
    """`config.pbtxt` as Triton's own protobufs read it."""
    return text_format.Parse((repository / name / "config.pbtxt").read_text(), ModelConfig())


def test_triton_gets_both_models_with_the_tensors_that_they_have(registry, cli, tmp_path):
    pull = ("pull", "--registry", registry[0].uri, "--dest", tmp_path / "dest", "--layout", "triton")
    assert cli(*pull)[0] == 0
    repository = tmp_path / "dest" / "triton"
    for name, held in (("bandwidth_lstm", {}), ("bandwidth_lstm_stream", {"state": "next_state"})):
        config = triton_config(repository, name)
        (version,) = config.version_policy.specific.versions
        session = ort.InferenceSession(repository / name / str(version) / "model.onnx")
        assert (config.name, config.backend, config.max_batch_size) == (name, "onnxruntime", 1024)
        assert {state.input_name: state.output_name for state in config.sequence_batching.state} == held
        for told, found, left_out in (
            (config.input, session.get_inputs(), held.keys()),
            (config.output, session.get_outputs(), held.values()),
        ):
            sizes = {one.name: [-1 if isinstance(size, str) else size for size in one.shape] for one in found}
            assert {one.name: [-1, *one.dims] for one in told} == {
                name: shape for name, shape in sizes.items() if name not in left_out
            }
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    assert cli(*pull)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_a_repository_that_cannot_be_written_leaves_the_usual_files_as_pulled(registry, cli, tmp_path):
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "triton").write_text("a file where the folder belongs")
    code, _, told = cli("pull", "--registry", registry[0].uri, "--dest", dest, "--layout", "triton")
    assert code == 2
    assert len(told.strip().splitlines()) == 1
    assert Stream(dest).version == V1


def test_what_triton_keeps_of_a_sequence_gives_the_forecasts_of_a_stream(pulled, frame, tmp_path):
    """The sequence batcher hands the state output of a request to the next one, and zeros to the first."""
    triton.write_repository(tmp_path, resolve_current(pulled))
    config = triton_config(tmp_path, "bandwidth_lstm_stream")
    (version,) = config.version_policy.specific.versions
    session = ort.InferenceSession(tmp_path / "bandwidth_lstm_stream" / str(version) / "model.onnx")
    (state,) = config.sequence_batching.state
    assert state.initial_state[0].zero_data
    assert config.sequence_batching.max_sequence_idle_microseconds > 3600 * 1_000_000
    kept, stream = np.zeros((3, *state.dims), np.float32), Stream(pulled)
    for at, samples in minutes(frame, 0, 30):
        quantiles, kept = session.run(["quantiles", state.output_name], {"input": samples[:, None], "state": kept})
        answer = stream.step(links_of(frame), samples, columns=COLUMNS, at=at)
    place = answer.horizons_minutes.index(15)
    assert np.allclose(quantiles[:, place, 1, 1], answer.forecasts["rtt_ms"].value, **CLOSE)


def test_triton_serves_what_is_in_production_though_it_is_no_newer(pulled, tmp_path):
    """A version with a model for streams, and back to one of before that has none."""
    folders = {version: tmp_path / "versions" / version for version in (V1, V2)}
    for version, folder in folders.items():
        shutil.copytree(resolve_current(pulled), folder)
        metadata = json.loads((folder / METADATA).read_text()) | {"version": version}
        (folder / METADATA).unlink()
        (folder / METADATA).write_text(json.dumps(metadata))
    (folders[V1] / STREAM_MODEL).unlink()

    def served(version):
        triton.write_repository(tmp_path / "triton", folders[version])
        models = sorted(path.name for path in (tmp_path / "triton").iterdir())
        return {
            name: list(triton_config(tmp_path / "triton", name).version_policy.specific.versions) for name in models
        }

    assert served(V2) == {"bandwidth_lstm": [20261101000000], "bandwidth_lstm_stream": [20261101000000]}
    assert served(V1) == {"bandwidth_lstm": [20261001000000]}


def test_triton_opens_a_model_once_however_often_the_watch_looks(pulled, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        triton, "open_session", lambda *given, **options: opened.append(1) or open_session(*given, **options)
    )
    triton._config.cache_clear()
    for _ in range(3):
        triton.write_repository(tmp_path, resolve_current(pulled))
    assert len(opened) == 2  # windows and streams
    (tmp_path / "bandwidth_lstm" / "config.pbtxt").unlink()
    triton.write_repository(tmp_path, resolve_current(pulled))
    assert triton_config(tmp_path, "bandwidth_lstm").name == "bandwidth_lstm"
