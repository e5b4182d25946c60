"""The reference pages list what the code has: settings, fields, commands and options."""

import re
from pathlib import Path

import pytest
import reference_pages
import typer

from bwpredict.cli.main import app
from bwpredict.config import GatePolicy, Settings, SplitConfig, TrainingConfig

ROOT = Path(__file__).resolve().parents[2]
CODE = [path for folder in ("bwpredict", "dags", "plugins", "deploy") for path in (ROOT / folder).rglob("*")]
VARIABLE = r"\bBWPREDICT_[A-Z][A-Z_]*[A-Z]\b"
MARKERS = [
    marker
    for path in (ROOT / "docs" / "reference").glob("*.md")
    for marker in reference_pages.MARKER.findall(path.read_text())
]


def test_every_variable_that_the_code_reads_is_on_the_page_of_settings():
    page = reference_pages.fill_in((ROOT / "docs" / "reference" / "settings.md").read_text())
    code = [ROOT / "docker-compose.yaml", *(path for path in CODE if path.suffix in (".py", ".yaml", ".html"))]
    read = {variable for path in code for variable in re.findall(VARIABLE, path.read_text())}
    assert "BWPREDICT_SQL_URL" in read
    assert read - set(re.findall(VARIABLE, page)) == set()


@pytest.mark.parametrize("model", [Settings, TrainingConfig, SplitConfig, GatePolicy])
def test_every_field_has_a_description(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_every_command_is_on_a_page():
    assert {argument for kind, argument in MARKERS if kind == "commands"} == reference_pages.panels()


def test_every_option_has_a_description():
    commands = list(typer.main.get_command(app).commands.items())
    for name, command in commands:
        commands += [(f"{name} {below}", one) for below, one in getattr(command, "commands", {}).items()]
    assert [(name, one.opts) for name, command in commands for one in command.params if not one.help] == []


def test_a_command_has_its_usage_options_and_example():
    page = reference_pages.commands("Registry")
    assert "## `bwpredict rollback`" in page
    assert "* `--reason" in page
    assert "$ bwpredict rollback --reason" in page


def test_a_table_says_type_and_default():
    rows = reference_pages.fields("SplitConfig").splitlines()
    assert any(row.startswith("| `by` | `calendar`, `link` | `calendar` |") for row in rows)
