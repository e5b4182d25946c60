"""`Predictor`: named forecasts from numpy, refusals with their reason, and reloads that no caller notices."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from challengers import NOW, V1, V2
from models import AT, publish_model, windows

from bwpredict import schema
from bwpredict.errors import ContractChangedError, InputError, ModelError, SignatureError
from bwpredict.inference.confidence import confidence, overall_confidence
from bwpredict.provenance.signing import TrustedKeys
from bwpredict.registry.promotion import promote
from bwpredict.serving.delivery import deliver
from bwpredict.serving.predictor import Forecasts, Predictor
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store


@pytest.fixture
def dest(store: Store, tmp_path: Path) -> Path:
    deliver(store, tmp_path / "dest")
    return tmp_path / "dest"


@pytest.fixture
def predictor(dest: Path) -> Predictor:
    return Predictor(dest)


def ask(predictor: Predictor, raw: np.ndarray | None = None, **changes) -> Forecasts:
    return predictor.predict(
        windows() if raw is None else raw, **{"columns": schema.FEATURES, "newest_at": AT, "now": AT + 5, **changes}
    )


def test_forecasts_come_by_name_with_unit_interval_and_confidence(predictor: Predictor) -> None:
    found = ask(predictor)
    rtt = found["rtt_ms"]
    assert (found.version, found.interval_level, list(found.targets)) == (V1, 0.9, list(schema.TARGETS))
    assert rtt.unit == "ms"
    np.testing.assert_allclose([rtt.value[0], rtt.lower[0], rtt.upper[0]], [20, 18, 22], rtol=1e-6)
    np.testing.assert_array_equal(found.valid_at, [AT + 900] * 3)


def test_the_confidence_is_that_of_the_documented_formula(predictor: Predictor) -> None:
    found = ask(predictor)
    output, lower, upper = (
        np.stack([getattr(found[name], part) for name in schema.TARGETS], axis=1)
        for part in ("value", "lower", "upper")
    )
    np.testing.assert_array_equal(found["jitter_ms"].confidence, confidence(output, lower, upper)[:, 3])
    np.testing.assert_array_equal(found.confidence, overall_confidence(output, lower, upper))


def spoilt(column: str, value: float) -> np.ndarray:
    raw = windows()
    raw[1, 7, schema.FEATURES.index(column)] = value
    return raw


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (windows()[0], r"are \[20, 9\]; expected an array of \[n, 20, 9\]"),
        (windows()[:, :19], r"\[3, 19, 9\]"),
        (windows()[:, :, :8], r"\[3, 20, 8\]"),
        (windows()[:0], "n at least 1"),
        (windows().tolist(), "are list"),
        (windows().astype(np.int64), "of type int64"),
        (spoilt("rtt_ms", np.nan), "window 1, sample 7: rtt_ms is nan; expected a finite number"),
        (spoilt("queue_depth", np.inf), "queue_depth is inf"),
        (spoilt("throughput_mbps", -0.5), r"throughput_mbps is -0\.5; expected 0 or more \(Mbit/s, raw"),
        (spoilt("packet_loss", 1.5), r"packet_loss is 1\.5; expected 0 to 1 \(share, raw"),
        (spoilt("time_of_day", 0.52), r"time_of_day is 0\.52; expected a whole number"),
        (spoilt("day_of_week", 7), "day_of_week is 7; expected 0 to 6"),
    ],
)
def test_windows_that_the_model_was_not_made_for_are_refused(predictor: Predictor, raw: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ask(predictor, raw)


def test_another_order_of_columns_is_refused(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="expected, in this order: throughput_mbps, rtt_ms"):
        ask(predictor, columns=sorted(schema.FEATURES))


def test_samples_that_are_too_old_or_from_the_future_are_refused(predictor: Predictor) -> None:
    ask(predictor, now=AT + 300)
    with pytest.raises(InputError, match="window 0: its newest sample is 301 s old; expected at most 300 s"):
        ask(predictor, now=AT + 301)
    with pytest.raises(InputError, match="61 s in the future"):
        ask(predictor, now=AT - 61)
    with pytest.raises(InputError, match="window 2"):
        ask(predictor, newest_at=[AT, AT, AT - 600])


@pytest.mark.parametrize("newest_at", [[AT], "today", [AT, AT, np.nan], None])
def test_times_that_are_none_are_refused(predictor: Predictor, newest_at: object) -> None:
    with pytest.raises(InputError, match="unix seconds, one or 3"):
        ask(predictor, newest_at=newest_at)


def test_a_collector_in_local_time_is_found_out(predictor: Predictor) -> None:
    raw = windows()
    raw[:, :, 4] = (raw[:, :, 4] + 1) % 24
    with pytest.raises(InputError, match=r"time_of_day of its newest sample is .* the hour in UTC"):
        ask(predictor, raw)


def test_a_folder_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model; run `bwpredict pull --dest"):
        Predictor(tmp_path)


def test_a_new_version_is_taken_on_reload_and_not_before(
    store: Store, dest: Path, predictor: Predictor, tmp_path
) -> None:
    assert not predictor.reload()
    publish_model(store, tmp_path, V2, champion=V1, factor=2)
    deliver(store, dest)
    assert ask(predictor)["rtt_ms"].value[0] == 20
    assert predictor.reload()
    assert (predictor.version, ask(predictor)["rtt_ms"].value[0]) == (V2, 40)


def test_a_model_of_another_contract_is_refused_and_the_last_one_goes_on(
    store: Store, dest: Path, predictor: Predictor, tmp_path: Path
) -> None:
    publish_model(store, tmp_path, V2, champion=V1, factor=2, horizon_minutes=30)
    deliver(store, dest, accept_contract=True)
    with pytest.raises(ContractChangedError, match="horizon_minutes is 30, built for 15"):
        predictor.reload()
    assert ask(predictor).version == V1


def test_a_pair_that_does_not_belong_together_is_refused(dest: Path) -> None:
    folder = (dest / "current").resolve()
    (folder / f"bandwidth_lstm_{V1}.onnx").write_bytes(b"another model")
    with pytest.raises(ModelError, match=r"is not the model that model_metadata_production.json beside it describes"):
        Predictor(dest)


def test_where_a_signature_is_required_an_unsigned_model_never_serves(
    dest: Path, tmp_path: Path, keys, strangers_keys
) -> None:
    with pytest.raises(SignatureError, match="is not signed"):
        Predictor(dest, trusted=TrustedKeys.load(str(keys.public)))
    signed = open_store(str(tmp_path / "signed"))
    publish_model(signed, tmp_path / "signed work", V1, key=keys.private)
    deliver(signed, tmp_path / "signed dest")
    assert Predictor(tmp_path / "signed dest", trusted=TrustedKeys.load(str(keys.public))).version == V1
    with pytest.raises(SignatureError, match="not signed by a trusted key"):
        Predictor(tmp_path / "signed dest", trusted=TrustedKeys.load(str(strangers_keys.public)))


def test_under_load_every_answer_is_whole_and_of_one_version_through_many_reloads(
    store: Store, dest: Path, tmp_path: Path
) -> None:
    factors, before = {V1: 1.0}, V1
    for number in range(2, 6):
        version = f"v202611{number:02}_000000"
        publish_model(store, tmp_path, version, champion=before, factor=number)
        factors[version] = float(number)
        before = version
    later = [version for version in factors if version != V1]
    predictor, stop, answers = Predictor(dest), threading.Event(), []

    def load() -> None:
        raw = windows(64)
        while not stop.is_set():
            found = ask(predictor, raw)
            answers.append((found.version, {float(value) for value in found["rtt_ms"].value}, found["rtt_ms"].upper[0]))

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(load) for _ in range(4)]
        watching = predictor.watch(stop, seconds=0.01)
        for version in [*later, *reversed(later[:-1])]:
            promote(store, version, promoted_by="me", now=NOW)
            deliver(store, dest)
            while predictor.version != version:
                assert not any(caller.done() for caller in callers)
            seen = len(answers)
            while len(answers) < seen + 8:
                assert not any(caller.done() for caller in callers)
        stop.set()
        for caller in callers:
            caller.result()
        watching.join()
    assert {version for version, *_ in answers} >= set(later)
    for version, values, upper in answers:
        assert values == {20 * factors[version]}
        assert upper == pytest.approx(22 * factors[version])
