"""`bwpredict canary`, as a person runs it."""

import logging

import pytest
from challengers import NOW, V2, V3, three_published

from bwpredict.registry.pointer import read_production
from bwpredict.registry.promotion import rollback
from bwpredict.store.factory import open_store


@pytest.fixture
def root(tmp_path):
    store = open_store(str(tmp_path / "root"))
    three_published(store, tmp_path)
    rollback(store, promoted_by="me", now=NOW)
    return tmp_path / "root"


def test_a_canary_begins_is_told_and_ends(cli, root, caplog):
    caplog.set_level(logging.INFO)
    assert cli("canary", V3, "--share", 0.1, "--registry", root)[0] == 0
    assert f"{V3} serves 10 % of the links" in caplog.text
    caplog.clear()
    assert cli("status", "--registry", root)[0] == 0
    assert f"The canary {V3} serves 10 % of the links." in caplog.text
    assert cli("canary", "--conclude", "--reason", "no better", "--registry", root)[0] == 0
    assert f"no canary; {V2} serves all links." in caplog.text
    assert read_production(open_store(str(root))).reason == "no better"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([V3], "give --share"),
        (["--share", 0.1], "--share goes with a version"),
        ([V3, "--share", 10], "above 0 and below 1"),
        ([V3, "--end"], "--end takes neither"),
        ([V2, "--share", 0.1], "is in production"),
    ],
)
def test_what_cannot_be_is_one_sentence(cli, root, arguments, says):
    code, _, said = cli("canary", *arguments, "--registry", root)
    assert (code, said.count("\n")) == (2, 1)
    assert says in said
