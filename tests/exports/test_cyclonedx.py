"""`bwpredict model-card` is valid by CycloneDX's own library and schema."""

import json

from challengers import V1
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from models import publish_model
from published_versions import published_months

from bwpredict.registry.layout import onnx_name
from bwpredict.registry.versions import read_manifest
from bwpredict.store.factory import open_store


def printed(cli, uri, version):
    code, out, _ = cli("model-card", version, "--registry", uri)
    assert code == 0
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(out) is None
    return json.loads(out)


def test_the_card_has_the_figures_and_the_digest_of_every_file(cli, tmp_path):
    uri = str(tmp_path / "registry")
    (made,) = published_months(uri, tmp_path, 1)
    card = printed(cli, uri, made.version)
    model = card["metadata"]["component"]
    assert (model["type"], model["version"]) == ("machine-learning-model", made.version)
    assert model["hashes"] == [{"alg": "SHA-256", "content": made.sha256}]
    figures = {
        (one["type"], one["slice"]): one["value"]
        for one in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    }
    assert figures["mae", "rtt_ms"].endswith(" ms")
    assert ("average_correlation", "overall") in figures
    properties = {one["name"]: one["value"] for one in model["modelCard"]["properties"]}
    assert properties["bwpredict:month"] == made.month
    digests = {one["name"]: one["hashes"][0]["content"] for one in card["components"]}
    assert digests == read_manifest(open_store(uri), made.version).sha256
    assert onnx_name(made.version) in digests
    assert printed(cli, uri, made.version) == card


def test_a_version_that_is_not_published_has_no_card(cli, tmp_path):
    store = open_store(str(tmp_path / "registry"))
    publish_model(store, tmp_path, V1)
    code, out, said = cli("model-card", "v20300101_000000", "--registry", store.uri)
    assert (code, out, "is not published" in said) == (2, "", True)
