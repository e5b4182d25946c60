"""The guide for contributors names files that exist, and at most three for each change."""

import re
from pathlib import Path

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
