"""A run of random files can be continued, and counts the results of this code alone."""

import json
from pathlib import Path

import bench_fuzz
import pytest
from common import write

REFUSED = (1, 3)
"""Seeds of files that are refused soon."""


def result(seed: int, broken: str | None = None) -> dict[str, object]:
    return {
        "seed": seed, "code_version": "made up", "recipe": "", "outcomes": {"import": "said."}, "broken": broken,
        "seconds": 1.0, "peak_memory_mb_so_far": 500,
    }  # fmt: skip


def run(folder: Path, examples: int) -> dict[str, object]:
    bench_fuzz.main(["--examples", str(examples), "--folder", str(folder), "--output", str(folder / "out")])
    document: dict[str, object] = json.loads((folder / "out/fuzz.json").read_text())
    return document


def test_a_run_tries_the_seeds_that_lack_a_result_and_leaves_out_those_of_other_code(tmp_path, capsys):
    mine, others = tmp_path / bench_fuzz.code_digest(), tmp_path / "0123"
    for seed in (0, 2):
        write(mine / f"{seed}.json", result(seed))
    write(others / "4.json", result(4))
    document = run(tmp_path, 4)
    assert document["files"] == 4
    assert sorted(int(path.stem) for path in mine.glob("*.json")) == [0, 1, 2, 3]
    for seed in REFUSED:
        made = json.loads((mine / f"{seed}.json").read_text())
        assert made["outcomes"].keys() == {"import"}
        assert made["outcomes"]["import"].endswith(".")
    assert "1 results of other code" in capsys.readouterr().out
    times = {path: path.stat().st_mtime_ns for path in mine.glob("*.json")}
    assert run(tmp_path, 4)["rows"] == document["rows"]
    assert {path: path.stat().st_mtime_ns for path in mine.glob("*.json")} == times


def test_a_file_that_broke_a_promise_is_shown_with_its_stack_and_fails_the_run(tmp_path, capsys):
    write(tmp_path / bench_fuzz.code_digest() / "0.json", result(0, broken="Traceback: the stack"))
    with pytest.raises(SystemExit, match="1 of 1 files broke a promise"):
        run(tmp_path, 1)
    assert "the stack" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/fuzz.json").read_text())["broken"] == 1


def test_a_seed_always_makes_the_same_file_and_another_seed_another():
    assert bench_fuzz.recipe_of(5) == bench_fuzz.recipe_of(5)
    assert len({bench_fuzz.recipe_of(seed) for seed in range(5)}) == 5
