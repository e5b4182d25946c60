"""The code version that a run records."""

import subprocess

import pytest

from bwpredict import __version__
from bwpredict.core.code_version import code_version


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A committed checkout of some code."""
    monkeypatch.delenv("BWPREDICT_CODE_VERSION", raising=False)
    (tmp_path / "bwpredict").mkdir()
    (tmp_path / "bwpredict/model.py").write_text("")
    identity = ("-c", "user.name=a", "-c", "user.email=a@localhost")
    for arguments in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "code")):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    return tmp_path


def test_files_of_ones_own_beside_the_code_are_no_change_of_it(checkout):
    clean = code_version(checkout)
    (checkout / "telemetry.csv").write_text("timestamp")
    assert code_version(checkout) == clean
    assert len(clean) == 40


@pytest.mark.parametrize("name", ["model.py", "new.py"])
def test_code_that_was_changed_or_added_is_named_as_such(checkout, name):
    clean = code_version(checkout)
    (checkout / "bwpredict" / name).write_text("changed = True")
    assert code_version(checkout) == f"{clean}-dirty"


def test_without_a_checkout_it_is_the_packages_version_unless_the_environment_names_one(tmp_path, monkeypatch):
    monkeypatch.delenv("BWPREDICT_CODE_VERSION", raising=False)
    assert code_version(tmp_path) == __version__
    monkeypatch.setenv("BWPREDICT_CODE_VERSION", "abc")
    assert code_version(tmp_path) == "abc"
