"""Reference pages of the documentation site, made from the code, so that they list what the code has.

`docs/conf.py` puts them in the place of `<!-- generated: NAME -->` in a page.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from typing import Any, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.cli import get_docs_for_click

from bwpredict.cli.main import EXIT_CODES, app
from bwpredict.config import GatePolicy, Settings, SplitConfig, TrainingConfig

MARKER = re.compile(r"<!-- generated: (\w+)(?: (.+?))? -->")


def fill_in(text: str) -> str:
    """The page with its generated parts."""
    pages: dict[str, Callable[..., str]] = {
        "settings": settings,
        "fields": fields,
        "commands": commands,
        "exit_codes": exit_codes,
        "module": module,
    }
    return MARKER.sub(lambda marker: pages[marker[1]](*filter(None, [marker[2]])), text)


def settings() -> str:
    """A table of the environment variables that `Settings` reads."""
    rows = [
        f"| `BWPREDICT_{name.upper()}` | {_default(field)} | {_cell(field)} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | what |", "| --- | --- | --- |", *rows])


def fields(name: str) -> str:
    """A table of the fields of a configuration, by the name of its class."""
    models: dict[str, type[BaseModel]] = {model.__name__: model for model in (TrainingConfig, SplitConfig, GatePolicy)}
    rows = [
        f"| `{field}` | {_type(info.annotation)} | {_default(info)} | {_cell(info)} |"
        for field, info in models[name].model_fields.items()
    ]
    return "\n".join(["| field | type | default | what |", "| --- | --- | --- | --- |", *rows])


def commands(panel: str) -> str:
    """The commands of a panel of `bwpredict --help`: usage, arguments, options, example."""
    context = typer.Context(_root(), info_name="bwpredict")
    found = [
        get_docs_for_click(obj=command, ctx=context, indent=1, call_prefix="bwpredict")
        for command in _root().commands.values()
        if _panel(command) == panel
    ]
    return re.sub(r"^Example: (.+)$", r"**Example**:\n\n```console\n$ \1\n```", "\n".join(found), flags=re.MULTILINE)


def exit_codes() -> str:
    """A list of the exit codes that `bwpredict --help` describes."""
    return "\n".join(f"- {line}" for line in EXIT_CODES.splitlines()[1:])


def panels() -> set[str]:
    """Panels of `bwpredict --help`."""
    return {_panel(command) for command in _root().commands.values()}


def module(name: str) -> str:
    """The public classes and functions of a module, from their docstrings."""
    bases = "   :show-inheritance:\n" if name == "bwpredict.errors" else ""
    return f"```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n   :member-order: bysource\n{bases}```"


def _root() -> typer.core.TyperGroup:
    root = typer.main.get_command(app)
    assert isinstance(root, typer.core.TyperGroup)  # noqa: S101 - an app of several commands
    return root


def _panel(command: Any) -> str:
    return str(command.rich_help_panel)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return "none" if value in (None, "", {}, []) else f"`{value}`"


def _type(annotation: Any) -> str:
    """Names of types as a user writes values: `float` or none, one of several words."""
    if get_origin(annotation) is types.UnionType:
        return " or ".join(_type(one) for one in get_args(annotation))
    if annotation is types.NoneType:
        return "none"
    if str(annotation).startswith("typing.Literal"):
        return ", ".join(f"`{word}`" for word in get_args(annotation))
    return str(getattr(get_origin(annotation) or annotation, "__name__", annotation)).replace("Path", "path")


def _cell(field: FieldInfo) -> str:
    """The description as a sentence in a table's cell, without Markdown's signs for tables and HTML."""
    text = " ".join((field.description or "").split()).rstrip(".")
    return re.sub(r"([|<])", r"\\\1", f"{text[:1].upper()}{text[1:]}.")
