"""A target is declared in `schema.py` and in one JSON Schema, to which the others refer."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bwpredict import schema

PACKAGE = Path(schema.__file__).parent
SCHEMAS = PACKAGE / "documents"


def test_the_json_schema_of_the_targets_names_those_of_the_code() -> None:
    definitions = json.loads((SCHEMAS / "target.schema.json").read_text())["$defs"]
    assert tuple(definitions["name"]["enum"]) == schema.TARGETS
    assert tuple(definitions["each"]["required"]) == schema.TARGETS


def test_no_other_file_lists_the_targets() -> None:
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".json", ".yaml")]
    every_target = [re.compile(rf'"{target}"') for target in schema.TARGETS]
    found = [path for path in files if all(target.search(path.read_text()) for target in every_target)]
    simulated = PACKAGE / "simulation" / "probe.py"  # how a probe measures each column
    assert set(found) == {PACKAGE / "schema.py", SCHEMAS / "target.schema.json", simulated}


def test_every_target_has_a_label_a_unit_and_a_floor_for_mape() -> None:
    columns = [schema.COLUMN[target] for target in schema.TARGETS]
    assert all(column.label and column.unit for column in columns)
    assert tuple(schema.MAPE_FLOORS) == schema.TARGETS
