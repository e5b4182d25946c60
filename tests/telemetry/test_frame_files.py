"""`mapped_frame`: the frame as files that are mapped, the same as the one in memory."""

from __future__ import annotations

import hashlib
import multiprocessing
import resource
import shutil

import numpy as np
import pytest
from telemetry_tables import make_table, write_days

from bwpredict.datasets.frame import load_frame
from bwpredict.datasets.memmap import VALUES, mapped_frame
from bwpredict.errors import TelemetryError

DIGEST = hashlib.sha256(b"telemetry").hexdigest()
OTHER = hashlib.sha256(b"other telemetry").hexdigest()


@pytest.fixture
def telemetry(tmp_path):
    return write_days(make_table(links=4, samples=30, step=7000), tmp_path / "telemetry")


def assert_equal(frame, expected):
    for name in ("values", "timestamps", "link"):
        np.testing.assert_array_equal(getattr(frame, name), getattr(expected, name))
    assert frame.links.equals(expected.links)


def test_a_mapped_frame_is_the_frame_in_memory_and_stays_so_when_it_is_opened_again(telemetry, tmp_path):
    expected = load_frame(telemetry)
    assert_equal(mapped_frame(telemetry, tmp_path, DIGEST), expected)
    shutil.rmtree(telemetry)
    frame = mapped_frame(telemetry, tmp_path, DIGEST)
    frame.release()
    assert_equal(frame, expected)
    assert not frame.values.flags.writeable


def test_the_frame_of_other_telemetry_takes_its_place(telemetry, tmp_path):
    mapped_frame(telemetry, tmp_path, DIGEST)
    write_days(make_table(links=2, samples=30, step=7000, seed=2), telemetry)
    assert_equal(mapped_frame(telemetry, tmp_path, OTHER), load_frame(telemetry))
    assert len(list(tmp_path.glob("frame-*"))) == 1


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "no document"])
def test_files_that_are_not_as_they_were_written_are_made_again(telemetry, tmp_path, damage, caplog):
    mapped_frame(telemetry, tmp_path, DIGEST)
    (path,) = tmp_path.glob(f"frame-*/{'frame.json' if damage == 'no document' else VALUES}")
    content = path.read_bytes()
    path.unlink()
    if damage in {"flipped", "cut"}:
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:] if damage == "flipped" else content[:-4])
    assert_equal(mapped_frame(telemetry, tmp_path, DIGEST), load_frame(telemetry))
    assert "is not as it was written" in caplog.text


def test_a_disk_without_space_is_an_error_that_says_so_and_leaves_nothing(telemetry, tmp_path):
    # A limit on the size of files ends writes as a full disk does.
    with (
        multiprocessing.get_context("spawn").Pool(1, _small_files_only) as pool,
        pytest.raises(
            TelemetryError,
            match=r"frame-.*: cannot be written \(File too large\); free some space and run the step again",
        ),
    ):
        pool.apply(mapped_frame, (telemetry, tmp_path, DIGEST))
    assert [path.name for path in tmp_path.iterdir()] == ["telemetry"]
    assert_equal(mapped_frame(telemetry, tmp_path, DIGEST), load_frame(telemetry))


def _small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
