"""`bwpredict monitor`, as a person or a cron job runs it."""

import pytest
from challengers import three_published

from bwpredict.store.factory import open_store


def test_help_names_the_options(cli):
    code, said, _ = cli("monitor", "--help")
    assert code == 0
    assert "--metrics-file" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--day", "yesterday"], "'yesterday': is not a day; expected YYYY-MM-DD"),
        (["--day", "2999-01-01"], "is not over yet"),
        (["--day", "2026-01-01"], "nothing is in production"),
    ],
)
def test_what_cannot_be_monitored_is_one_sentence(cli, tmp_path, arguments, says):
    (tmp_path / "registry").mkdir()
    code, _, said = cli("monitor", *arguments, "--registry", tmp_path / "registry", "--telemetry", tmp_path)
    assert (code, said.count("\n")) == (2, 1)
    assert says in said


def test_telemetry_that_is_missing_is_one_sentence(cli, tmp_path):
    three_published(open_store(str(tmp_path / "registry")), tmp_path)
    code, _, said = cli(
        "monitor", "--day", "2026-01-01", "--registry", tmp_path / "registry", "--telemetry", tmp_path / "no"
    )
    assert (code, said.count("\n")) == (2, 1)
    assert "holds no telemetry" in said
