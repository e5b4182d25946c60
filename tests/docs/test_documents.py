"""What the pages name exists: files they link to, commands with their options, targets of make, settings, services."""

import re
import subprocess
import textwrap
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml

from bwpredict.cli.main import app
from bwpredict.config import GatePolicy, Settings, TrainingConfig
from bwpredict.datasets.file_mapping import FileMapping

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(REPOSITORY)) for page in PAGES]
SETTING = r"BWPREDICT_[A-Z0-9_]+"
IN_THE_COMPOSE_FILE_ALONE = {"BWPREDICT_VERSION", "BWPREDICT_CODE_VERSION", "BWPREDICT_SOURCE"}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_to_a_file_leads_somewhere(name: str):
    page = REPOSITORY / name
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("name", NAMES)
def test_every_command_exists_with_its_options(name: str):
    for line in re.findall(r"\bbwpredict ([a-z][^\n|#]*)", _commands((REPOSITORY / name).read_text())):
        words = line.split()
        options = {option for parameter in _command(words).params for option in parameter.opts}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in options, f"bwpredict {line}"


@pytest.mark.parametrize("name", NAMES)
def test_every_target_of_make_exists(name: str):
    targets = set(re.findall(r"^([a-z.-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"\bmake ([a-z][a-z_-]*)", _commands((REPOSITORY / name).read_text())):
        if target.startswith("bench-"):
            bench = REPOSITORY / "benchmarks" / f"bench_{target.removeprefix('bench-')}.py"
            assert bench.exists() or target == "bench-", target
        else:
            assert target in targets, target


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_exists(name: str):
    source = "".join(
        path.read_text() for folder in ("bwpredict", "dags") for path in (REPOSITORY / folder).rglob("*.py")
    )
    known = {f"BWPREDICT_{field.upper()}" for field in Settings.model_fields} | set(re.findall(SETTING, source))
    assert set(re.findall(SETTING, (REPOSITORY / name).read_text())) <= known | IN_THE_COMPOSE_FILE_ALONE


@pytest.mark.parametrize("name", NAMES)
def test_every_block_of_yaml_can_be_read(name: str):
    for block in re.findall(r"^ *```yaml\n(.*?)^ *```", (REPOSITORY / name).read_text(), re.MULTILINE | re.DOTALL):
        assert yaml.safe_load(textwrap.dedent(block)), block


def test_the_mapping_of_your_data_is_one_that_import_takes():
    (block,) = re.findall(
        r"^```yaml\n(time: .*?)^```", (REPOSITORY / "docs/your-data.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert FileMapping.model_validate(yaml.safe_load(block)).columns["node_id"]


def test_the_services_of_the_production_page_are_those_of_the_compose_file():
    services = set(yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"])
    page = (REPOSITORY / "docs" / "production.md").read_text()
    table = page[page.index("| service |") : page.index("Airflow's containers run")]
    named = {
        name
        for row in table.splitlines()[2:]
        for name in re.findall(r"`([\w-]+)`", row.split("|")[1:2][0] if "|" in row else "")
    }
    assert named == services


def test_the_hyperparameters_of_the_troubleshooting_page_exist():
    known = set(TrainingConfig.model_fields) | set(GatePolicy.model_fields)
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    assert {"patience_epochs", "weight_decay", "windows_per_epoch"} <= known & set(re.findall(r"`([a-z_]+)`", page))


def test_every_page_is_named_by_a_page_that_is_reached_from_the_readme():
    reached, ahead = set(), [REPOSITORY / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or not page.exists():
            continue
        reached.add(page)
        names = re.findall(r"[\w./-]+\.md\b", page.read_text())
        ahead += [(start / name).resolve() for name in names for start in (page.parent, REPOSITORY)]
    assert set(PAGES) == reached


def test_the_makefile_tells_what_can_be_made():
    told = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert "make test-integration" in told
    assert "make secrets" in told


def _commands(text: str) -> str:
    """Code blocks and code in lines: prose may say "make sure" or "bwpredict is"."""
    found = re.findall(r"^ *```\w*\n(.*?)^ *```|`([^`\n]+)`", text, re.DOTALL | re.MULTILINE)
    return "\n".join(block or inline for block, inline in found)


@cache
def _root() -> typer.core.TyperGroup:
    root = typer.main.get_command(app)
    assert isinstance(root, typer.core.TyperGroup)
    return root


def _command(words: list[str]) -> typer.core.TyperCommand | typer.core.TyperGroup:
    """The command that the words begin with; fails if there is none."""
    command = _root()
    for word in words:
        if not isinstance(command, typer.core.TyperGroup) or (command.invoke_without_command and word.startswith("-")):
            break
        assert word in command.commands, f"bwpredict {' '.join(words)}"
        command = command.commands[word]
    return command
