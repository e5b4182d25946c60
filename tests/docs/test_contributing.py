"""The guide for contributors: its files exist, a change touches at most three, functions have the stated size."""

import ast
import re
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
TABLE = GUIDE.split("## Where to make a change")[1].splitlines()
CHANGES = [row.split("|")[1:3] for row in TABLE if row.startswith("| ")][2:]
FILE = r"`((?:bwpredict|plugins|dags)/[\w./-]+)`"


def test_every_named_file_exists():
    named = re.findall(FILE, GUIDE)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_change_touches_at_most_three_files():
    assert len(CHANGES) == 10
    assert all(len(re.findall(FILE, files)) <= 3 for _, files in CHANGES)


def test_every_package_is_in_the_architecture_table():
    page = (ROOT / "docs" / "architecture.md").read_text()
    packages = [path.parent.name for path in (ROOT / "bwpredict").glob("*/__init__.py")]
    assert [name for name in packages if f"`{name}`" not in page] == []


def test_functions_are_short():
    files = [path for folder in ("bwpredict", "plugins", "dags") for path in (ROOT / folder).rglob("*.py")]
    lengths = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert [name for name, lines in lengths.items() if lines > 60] == []
    assert median(lengths.values()) <= 9
