"""`pull`: a consumer's folder holds one whole verified model, whatever happens to the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from challengers import NOW, V1, V2
from frames import whole_days
from models import publish_model, publish_stream_model, restless_model

from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.documents import read_document
from bwpredict.errors import (
    BwPredictError,
    ConfigError,
    ContractChangedError,
    ModelError,
    ObjectCorruptError,
    SignatureError,
    StoreError,
)
from bwpredict.provenance.signing import TrustedKeys, load_signer, require_signed
from bwpredict.registry.layout import ENVELOPE_NAME, model_key, onnx_name, stream_onnx_name
from bwpredict.registry.promotion import rollback
from bwpredict.serving.delivery import METADATA, MODEL, STREAM_MODEL, deliver, read_pair, read_stream, watch
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of


def pair_in(dest: Path) -> str:
    """The version that a service finds at the fixed names; fails if model and metadata do not belong together."""
    metadata = read_document(dest / METADATA, "model_metadata")
    assert sha256_of(dest / MODEL) == metadata["onnx"]["sha256"]
    return metadata["version"]


def test_model_and_metadata_lie_under_fixed_names(store: Store, tmp_path: Path) -> None:
    delivery = deliver(store, tmp_path / "dest")
    assert (delivery.version, delivery.changed) == (V1, True)
    assert pair_in(tmp_path / "dest") == V1


def test_pulling_again_changes_nothing_and_asks_once(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path / "dest")
    asked = []

    class Counting:
        def __getattr__(self, name: str) -> object:
            asked.append(name)
            return getattr(store, name)

    assert not deliver(Counting(), tmp_path / "dest").changed  # type: ignore[arg-type]
    assert asked.count("read") == 1
    assert "download" not in asked


def test_the_next_version_and_a_rollback_arrive(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path / "dest")
    publish_model(store, tmp_path, V2, champion=V1, factor=2)
    assert deliver(store, tmp_path / "dest").changed
    assert pair_in(tmp_path / "dest") == V2
    rollback(store, promoted_by="me", now=NOW)
    deliver(store, tmp_path / "dest")
    assert pair_in(tmp_path / "dest") == V1


def test_old_versions_are_forgotten_but_for_the_last_three(store: Store, tmp_path: Path) -> None:
    before = V1
    deliver(store, tmp_path / "dest")
    for day in range(2, 6):
        version = f"v202610{day:02}_000000"
        publish_model(store, tmp_path, version, champion=before)
        deliver(store, tmp_path / "dest")
        before = version
    assert len(list((tmp_path / "dest" / "versions").iterdir())) == 3
    assert pair_in(tmp_path / "dest") == before


def test_the_last_good_model_stays_while_the_store_is_away(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path / "dest")
    shutil.move(tmp_path / "registry", tmp_path / "away")
    with pytest.raises(BwPredictError, match="nothing is in production"):
        deliver(store, tmp_path / "dest")
    assert pair_in(tmp_path / "dest") == V1


def test_an_unreachable_s3_leaves_the_model(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(store, tmp_path / "dest")
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    from bwpredict.store.s3 import S3Store

    with pytest.raises(StoreError):
        deliver(S3Store("models", "x", timeout_seconds=1, backoff_seconds=0), tmp_path / "dest")
    assert pair_in(tmp_path / "dest") == V1


def test_a_damaged_model_in_the_store_is_not_delivered(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path / "dest")
    publish_model(store, tmp_path, V2, champion=V1)
    damaged = tmp_path / "registry" / model_key(V2, onnx_name(V2))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(ObjectCorruptError, match=onnx_name(V2)):
        deliver(store, tmp_path / "dest")
    assert pair_in(tmp_path / "dest") == V1


def test_a_delivered_file_that_somebody_touched_is_mended(store: Store, tmp_path: Path) -> None:
    delivery = deliver(store, tmp_path / "dest")
    (delivery.folder / onnx_name(V1)).write_bytes(b"touched")
    assert deliver(store, tmp_path / "dest").changed
    assert pair_in(tmp_path / "dest") == V1


def test_a_model_that_gives_other_answers_here_is_not_delivered(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path / "dest")
    publish_model(store, tmp_path, V2, champion=V1, factor=2, vectors_of=3)
    with pytest.raises(ModelError, match=r"answers 200 for throughput_mbps \(output\) in the case 'real 1'.*300"):
        deliver(store, tmp_path / "dest")
    assert pair_in(tmp_path / "dest") == V1


def test_another_contract_is_refused_until_it_is_accepted(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path / "dest")
    publish_model(store, tmp_path, V2, champion=V1, horizon_minutes=30)
    with pytest.raises(ContractChangedError, match="horizon_minutes is 30, built for 15"):
        deliver(store, tmp_path / "dest")
    assert pair_in(tmp_path / "dest") == V1
    deliver(store, tmp_path / "dest", accept_contract=True)
    assert pair_in(tmp_path / "dest") == V2


def test_an_empty_registry_is_said_and_leaves_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is in production"):
        deliver(open_store(str(tmp_path / "empty")), tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_watching_survives_failures_and_tells_each_once(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dest, rounds = tmp_path / "dest", iter(["go", "away", "away", "back", "stop"])

    def wait() -> bool:
        step = next(rounds)
        if step == "away" and (tmp_path / "registry").exists():
            shutil.move(tmp_path / "registry", tmp_path / "away")
        elif step == "back":
            shutil.move(tmp_path / "away", tmp_path / "registry")
            publish_model(store, tmp_path, V2, champion=V1)
        return step == "stop"

    watch(lambda: deliver(store, dest), wait=wait)
    assert pair_in(dest) == V2
    assert caplog.text.count("The model that is there stays") == 1


def test_a_reader_that_resolves_once_gets_a_pair_while_versions_change(store: Store, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    first = deliver(store, dest)
    opened = (dest / "current").resolve()
    publish_model(store, tmp_path, V2, champion=V1, factor=2)
    deliver(store, dest)
    assert opened == first.folder.resolve()
    assert read_pair(opened)[1]["version"] == V1


@pytest.fixture(scope="module")
def network() -> Any:
    return restless_model(split_windows(index_windows(whole_days(6, links=1), 20, 15), SplitConfig()), std=0.05)


@pytest.mark.parametrize("name", [STREAM_MODEL, stream_onnx_name(V2)])
def test_a_stream_file_that_somebody_deleted_or_touched_is_fetched_again(
    store: Store, tmp_path: Path, network: Any, name: str
) -> None:
    publish_stream_model(store, tmp_path, V2, network, champion=V1)
    delivery = deliver(store, tmp_path / "dest")
    (delivery.folder / name).unlink()
    assert deliver(store, tmp_path / "dest").changed
    assert read_stream(delivery.folder)[1]["version"] == V2
    (delivery.folder / stream_onnx_name(V2)).write_bytes(b"touched")
    assert deliver(store, tmp_path / "dest").changed
    assert read_stream(delivery.folder)[1]["version"] == V2
    assert not deliver(store, tmp_path / "dest").changed


def test_metadata_that_somebody_broke_is_fetched_again(store: Store, tmp_path: Path) -> None:
    delivery = deliver(store, tmp_path / "dest")
    (delivery.folder / METADATA).write_text("{")
    assert deliver(store, tmp_path / "dest").changed
    assert pair_in(tmp_path / "dest") == V1


def test_a_version_whose_manifest_lacks_the_stream_file_of_its_metadata_is_refused(
    store: Store, tmp_path: Path, network: Any
) -> None:
    deliver(store, tmp_path / "dest")
    publish_stream_model(store, tmp_path, V2, network, champion=V1, in_manifest=False)
    with pytest.raises(ObjectCorruptError) as refused:
        deliver(store, tmp_path / "dest")
    assert f"the metadata of {V2} names a stream model, but the manifest lacks {stream_onnx_name(V2)}" in str(
        refused.value
    )
    assert "`bwpredict rollback`" in str(refused.value)
    assert "pull again" not in str(refused.value)
    assert pair_in(tmp_path / "dest") == V1


class TestSignatures:
    def test_a_version_signed_by_a_trusted_key_is_delivered(self, tmp_path: Path, keys) -> None:
        store = open_store(str(tmp_path / "signed"))
        publish_model(store, tmp_path, V1, key=keys.private)
        trusted = TrustedKeys.load(str(keys.public))
        assert deliver(store, tmp_path / "dest", trusted=trusted).changed
        require_signed(store, V1, trusted)

    def test_without_a_signature_it_is_refused_where_one_is_required(self, store: Store, tmp_path: Path, keys) -> None:
        trusted = TrustedKeys.load(str(keys.public))
        with pytest.raises(SignatureError, match=f"{V1}: is not signed"):
            deliver(store, tmp_path / "dest", trusted=trusted)
        with pytest.raises(SignatureError, match=f"{V1}: is not signed"):
            require_signed(store, V1, trusted)
        assert not (tmp_path / "dest" / MODEL).exists()

    def test_a_model_that_was_delivered_unsigned_is_refused_once_a_signature_is_required(
        self, store: Store, tmp_path: Path, keys
    ) -> None:
        deliver(store, tmp_path / "dest")
        with pytest.raises(SignatureError, match="is not signed"):
            deliver(store, tmp_path / "dest", trusted=TrustedKeys.load(str(keys.public)))

    def test_a_strangers_signature_is_refused(self, tmp_path: Path, keys, strangers_keys) -> None:
        store = open_store(str(tmp_path / "signed"))
        publish_model(store, tmp_path, V1, key=strangers_keys.private)
        for check in (
            lambda trusted: deliver(store, tmp_path / "dest", trusted=trusted),
            lambda trusted: require_signed(store, V1, trusted),
        ):
            with pytest.raises(SignatureError, match="not signed by a trusted key"):
                check(TrustedKeys.load(str(keys.public)))
        both = TrustedKeys.load(f"{keys.public} {strangers_keys.public}")
        assert deliver(store, tmp_path / "dest", trusted=both).changed

    def test_whoever_rewrites_model_manifest_and_pointer_still_lacks_the_signature(self, tmp_path: Path, keys) -> None:
        store = open_store(str(tmp_path / "signed"))
        publish_model(store, tmp_path, V1, key=keys.private)
        envelope = (tmp_path / "signed" / model_key(V1, ENVELOPE_NAME)).read_bytes()
        forged = open_store(str(tmp_path / "forged"))
        publish_model(forged, tmp_path / "elsewhere", V1, factor=9, key=keys.private)
        key = tmp_path / "forged" / model_key(V1, ENVELOPE_NAME)
        key.write_bytes(envelope)
        manifest = tmp_path / "forged" / model_key(V1, "MANIFEST.json")
        document = json.loads(manifest.read_text())
        document.pop("checksum")
        for file in document["files"]:
            if file["name"] == ENVELOPE_NAME:
                file["sha256"] = sha256_of(key)
        manifest.write_text(json.dumps(document))
        with pytest.raises(SignatureError, match=rf"{onnx_name(V1)} of {V1} is not the file that was signed"):
            deliver(forged, tmp_path / "dest", trusted=TrustedKeys.load(str(keys.public)))

    def test_a_signature_of_another_version_vouches_for_nothing(self, tmp_path: Path, keys) -> None:
        store = open_store(str(tmp_path / "signed"))
        publish_model(store, tmp_path, V1, key=keys.private)
        trusted, envelope = TrustedKeys.load(str(keys.public)), tmp_path / "signed" / model_key(V1, ENVELOPE_NAME)
        with pytest.raises(SignatureError, match=f"is about {V1}, not about {V2}"):
            trusted.require(envelope, V2, {})

    @pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"payload": "!", "payloadType": "x", "signatures": []}'])
    def test_an_envelope_that_is_none_is_refused(self, tmp_path: Path, keys, content: bytes) -> None:
        (tmp_path / "envelope.json").write_bytes(content)
        with pytest.raises(SignatureError, match="signature cannot be read"):
            TrustedKeys.load(str(keys.public)).require(tmp_path / "envelope.json", V1, {})

    def test_a_key_where_its_path_belongs_is_not_repeated(self, keys) -> None:
        body = keys.private.read_text().splitlines()[1]
        with pytest.raises(ConfigError, match="path of its PEM file is expected") as refused:
            load_signer(keys.private.read_text())
        assert body not in str(refused.value)
        with pytest.raises(ConfigError, match="path of its PEM file is expected"):
            TrustedKeys.load(keys.public.read_text())

    def test_no_key_and_keys_of_another_kind_are_named(self, keys) -> None:
        with pytest.raises(ConfigError, match="BWPREDICT_TRUSTED_KEYS"):
            TrustedKeys.load(" ")
        with pytest.raises(ConfigError, match=r"absent\.pem.*cannot be read"):
            TrustedKeys.load("absent.pem")
        with pytest.raises(ConfigError, match="holds no public key"):
            TrustedKeys.load(str(keys.private))
