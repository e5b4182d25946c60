"""Two models trained elsewhere, LightGBM and a formula, from the command line to production or to a refusal."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from guests import POLICY, lightgbm_onnx, smoothing_onnx

from bwpredict.cli.main import main
from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.windows import index_windows
from bwpredict.documents import read_document
from bwpredict.provenance.signing import TrustedKeys
from bwpredict.registry.history import read_history
from bwpredict.registry.promotion import read_production
from bwpredict.registry.versions import fetch, read_manifest, verify_version
from bwpredict.registry_views.overview import overview
from bwpredict.serving.delivery import deliver
from bwpredict.serving.predictor import Predictor
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Place:
    """An installation with two months of telemetry, and the command line on it."""

    folder: Path

    @property
    def registry(self) -> Path:
        return self.folder / "registry"


@pytest.fixture
def command(monkeypatch, capsys, caplog):
    """Run the command line; returns the exit code and all that was said."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["bwpredict", *map(str, arguments)])
        caplog.set_level("INFO", logger="bwpredict")
        caplog.clear()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return ended.value.code or 0, said.out + said.err + caplog.text

    return run


@pytest.fixture
def judge(place, command, monkeypatch):
    """Judge a guest; returns the exit code, all that was said, and the run's work area."""

    def run(file, month, *options):
        work = place.folder / "work"
        before = set(work.glob("*"))
        monkeypatch.setenv("BWPREDICT_SIGNING_KEY", str(place.folder / "key.pem"))
        given = {"telemetry": place.folder / "telemetry", "registry": place.registry, "work": work}
        places = [part for name, value in given.items() for part in (f"--{name}", value)]
        policy = ("--policy", place.folder / "policy.yaml")
        code, said = command("judge", file, "--month", month, *places, *policy, *options)
        (area,) = set(work.glob("*")) - before
        return code, said, area

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    for start in ("2026-09-01", "2026-10-01"):
        write_partitioned(FleetConfig(links=3, days=10, start=start, seed=5), folder / "telemetry")
    (folder / "policy.yaml").write_text(
        POLICY + "winkler_margin_percent: 10  # the formula's intervals are one width for all hours"
    )
    key, public = folder / "key.pem", folder / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    return Place(folder)


@pytest.fixture(scope="module")
def september(place, tmp_path_factory):
    """Windows of September alone, which a guest may be trained on."""
    folder = write_partitioned(
        FleetConfig(links=3, days=10, start="2026-09-01", seed=5), tmp_path_factory.mktemp("september") / "days"
    )
    return index_windows(read_data_path(folder), 20, 15)


def serving(place):
    return read_production(open_store(str(place.registry)))


def decision_in(area):
    return read_document(area / "decision.json", "decision")


@pytest.fixture(scope="module")
def story(place, september):
    """Files of the guests; the tests below are one story, in their order."""
    return {
        "last_value": smoothing_onnx(place.folder / "last_value.onnx", last_value_share=1.0, trained_through="never"),
        "smoothing": smoothing_onnx(place.folder / "smoothing.onnx"),
        "lightgbm": lightgbm_onnx(place.folder / "lightgbm.onnx", september),
        "hasty_lightgbm": lightgbm_onnx(place.folder / "hasty_lightgbm.onnx", september, rounds=1, windows=300),
    }


def test_a_first_guest_is_published_byte_for_byte_with_all_that_a_version_has(place, story, judge, tmp_path):
    code, said, _ = judge(story["last_value"], "2026-09")
    assert code == 0, said
    store, version = open_store(str(place.registry)), serving(place).version
    verify_version(store, version)
    names = read_manifest(store, version).sha256
    assert names[f"bandwidth_lstm_{version}.onnx"] == sha256_of(story["last_value"])
    assert {"imported_model.json", "conformance.json", "provenance.dsse.json", "model_card.html"} <= names.keys()
    assert not {"best_model.pth", "training_history.png", "history.json"} & names.keys()
    delivery = deliver(store, tmp_path / "dest", trusted=TrustedKeys.load(str(place.folder / "public.pem")))
    assert (delivery.version, Predictor(tmp_path / "dest").version) == (version, version)


def test_a_formula_that_beats_the_champion_is_published_and_every_document_says_where_it_is_from(
    place, story, judge, tmp_path
):
    options = ("--trained-through", "never", "--trained-on", "nothing: a formula")
    code, said, _ = judge(story["smoothing"], "2026-10", *options)
    assert code == 0, said
    store, move = open_store(str(place.registry)), serving(place)
    names = [f"model_metadata_{move.version}.json", "provenance.json", "decision.json", "model_card.html"]
    metadata, provenance, decision, card = fetch(store, move.version, names, tmp_path)
    told = read_document(decision, "decision")
    assert told["outcome"] == "promote"
    sentence = told["trained_elsewhere"]["sentence"]
    assert sentence.startswith("smoothing.onnx was trained elsewhere. According to ")
    assert sentence in told["reason"]
    assert sentence in move.reason
    assert sentence in overview(store).versions[0].reason
    document = read_document(metadata, "model_metadata")
    assert document["trained_elsewhere"]["sha256"] == sha256_of(story["smoothing"])
    assert document["trained_elsewhere"]["trained_on"] == "nothing: a formula"
    assert (document["training_duration_seconds"], document["seed"]) == (None, None)
    assert list(document["data"]["split"]["parts"]) == ["test"]
    build = read_document(provenance, "provenance")["predicate"]["buildDefinition"]
    assert build["buildType"] == "urn:bwpredict:judge:v1"
    assert "training" not in build["externalParameters"]
    inputs = {one["name"]: one for one in build["resolvedDependencies"]}
    file = inputs["model trained elsewhere: smoothing.onnx"]
    assert file["digest"] == {"sha256": sha256_of(story["smoothing"])}
    assert file["annotations"]["trained_through"] == "never"
    page = card.read_text()
    assert "elsewhere; the run judged the file as it is" in page
    assert "nothing: a formula" in page
    assert str(place.folder / "smoothing.onnx") not in page + metadata.read_text() + provenance.read_text()


def test_lightgbm_that_beats_the_champion_is_published_and_forecasts(place, story, judge, command, tmp_path):
    options = ("--trained-through", "2026-09-30")
    code, said, area = judge(story["lightgbm"], "2026-10", *options)
    assert code == 0, said
    checks = {check["id"]: check for check in decision_in(area)["checks"]}
    assert checks["champion_mean"]["verdict"] == "pass"
    assert checks["champion_mean"]["value"] < -5
    assert "no day after 2026-09-30" in checks["training_days_stated"]["sentence"]
    assert "consumers of streams cannot load it" in checks["stream_file"]["sentence"]
    assert "parity" not in checks
    output = tmp_path / "forecasts"
    places = ("--registry", place.registry, "--telemetry", place.folder / "telemetry", "--output", output)
    code, said = command("predict", *places, "--every", "60", "--first-day", "2026-10-09")
    assert code == 0
    assert "by windows" in said
    assert list(output.rglob("*.parquet"))


@pytest.mark.parametrize(("guest", "options"), [
    ("smoothing", ("--trained-through", "never")),
    ("hasty_lightgbm", ("--trained-through", "2026-09-30")),
])  # fmt: skip
def test_a_guest_that_is_worse_than_the_champion_is_refused_with_the_reason(guest, options, place, story, judge):
    before = serving(place)
    code, said, area = judge(story[guest], "2026-10", *options)
    assert code == 1
    decision = decision_in(area)
    assert decision["outcome"] == "reject"
    assert decision["reason"].startswith("Rejected: The error over all targets is shown to be above production's, by ")
    assert "above production's" in said
    assert serving(place) == before
    assert len(read_history(open_store(str(place.registry)))) == 3


def test_test_days_that_a_guest_has_seen_are_left_out_and_named(place, story, judge):
    options = ("--trained-through", "2026-10-08", "--dry-run")
    code, said, area = judge(story["lightgbm"], "2026-10", *options)
    assert code == 0, said
    test = read_document(area / "comparison.json", "comparison")["test"]
    assert test["days_seen_by_challenger"] == ["2026-10-07", "2026-10-08"]
    assert (test["start"][:10], test["days"]) == ("2026-10-09", 2)
    assert decision_in(area)["outcome"] == "keep", said  # two days cannot tell
    assert "since the challenger was trained on them: 2026-10-07" in (area / "model_card.html").read_text()


def test_without_a_statement_nothing_is_published(place, story, judge):
    before = serving(place)
    code, said, _ = judge(story["smoothing"], "2026-10", "--force-bootstrap",
                                "--override-reason", "a test")  # fmt: skip
    assert code == 1
    assert "Nobody has stated the days that smoothing.onnx was trained on" in said
    assert serving(place) == before
