"""What each command says of itself, and whom it asks for a name."""

import getpass
import shlex

import pytest
import typer
from typer.main import get_command

from bwpredict.cli.identity import person
from bwpredict.cli.main import app
from bwpredict.errors import ConfigError


def commands(command, path=("bwpredict",)):
    """Each command that does something, by its words."""
    children = getattr(command, "commands", {})
    if not children or (command.epilog and len(path) > 1):
        yield " ".join(path), command
    for name, child in children.items():
        yield from commands(child, (*path, name))


@pytest.mark.parametrize(("name", "command"), list(commands(get_command(app))))
def test_each_command_ends_its_help_with_an_example_that_can_be_parsed(name, command):
    (example,) = [line for line in command.epilog.splitlines() if line.startswith("Example: ")]
    assert example.startswith(f"Example: {name} ") or example == f"Example: {name}"
    words = shlex.split(example.removeprefix(f"Example: {name}").partition(" >")[0])
    with command.make_context(name, words, resilient_parsing=False):
        pass


@pytest.mark.parametrize("nobody", ["root", "unknown"])
def test_who_approves_is_asked_where_the_user_is_nobody_in_particular(monkeypatch, nobody):
    monkeypatch.setattr("bwpredict.cli.identity.user", lambda: nobody)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "prompt", lambda _question: " Ada ")
    assert person("") == "Ada"
    assert person("Grace") == "Grace"


def test_without_a_name_or_anybody_to_ask_nothing_is_approved(monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    assert person("") == "root"

    def no_name():
        raise OSError

    monkeypatch.setattr(getpass, "getuser", no_name)
    for given in ("", " "):
        with pytest.raises(ConfigError, match="--by"):
            person(given)
