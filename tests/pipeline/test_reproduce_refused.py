"""`bwpredict reproduce` of a version that cannot be trained again here leaves nothing behind."""

from challengers import V1
from models import publish_model

from bwpredict.store.factory import open_store


def test_a_version_of_other_code_leaves_the_output_as_it_was_for_the_next_try(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("BWPREDICT_CODE_VERSION", "other")
    store = open_store(str(tmp_path / "registry"))
    publish_model(store, tmp_path, V1)
    code, _, said = cli("reproduce", V1, "--registry", store.uri, "--output", tmp_path / "again")
    assert (code, "add --other-code" in said, (tmp_path / "again").exists()) == (2, True, False)
