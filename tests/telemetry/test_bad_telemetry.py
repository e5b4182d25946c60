"""Bad input to `pull`: one sentence that names the file, the column or the parameter; nothing half-written."""

from __future__ import annotations

import multiprocessing
import re
import resource
import signal
from pathlib import Path

import pyarrow as pa
import pytest
from telemetry_tables import (
    DAY,
    NOVEMBER,
    OCTOBER,
    SECONDS,
    copy_to_store,
    make_table,
    replace_value,
    write,
    write_days,
)

from bwpredict import schema
from bwpredict.errors import BwPredictError, SnapshotError, StoreUnreachableError, TelemetryError
from bwpredict.store.factory import open_store
from bwpredict.telemetry.months import month_window
from bwpredict.telemetry.snapshot import check_content, restore, take_snapshot, verify


def refused(folder: Path, work: Path, month: str = "2026-10", error: type[BwPredictError] = TelemetryError) -> str:
    """The sentence that pulling ends with; checks that nothing is left in the work area."""
    with pytest.raises(error) as caught:
        take_snapshot(open_store(str(folder)), "", *month_window(month), work)
    assert not work.exists() or not list(work.iterdir())
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz"])
def test_a_missing_column_is_named_with_the_file(tmp_path, name):
    path = write(make_table().drop_columns(["rtt_ms", "az"]), tmp_path / "store" / name)
    assert (
        refused(tmp_path / "store", tmp_path / "work")
        == f"{path}: lacks the columns 'az', 'rtt_ms'. If its columns have other names, describe them with"
        " `bwpredict import --mapping`."
    )


def test_a_misspelt_column_is_suggested(tmp_path):
    table = make_table()
    names = ["rtt_msec" if name == "rtt_ms" else name for name in table.column_names]
    write(table.rename_columns(names), tmp_path / "store/a.parquet")
    assert "lacks the column 'rtt_ms' (did the file mean 'rtt_msec' for 'rtt_ms'?)" in refused(
        tmp_path / "store", tmp_path / "work"
    )


def test_an_old_and_a_new_name_for_one_column_are_refused(tmp_path):
    table = make_table()
    write(table.append_column("latency_ms", table["rtt_ms"]), tmp_path / "store/a.parquet")
    sentence = refused(tmp_path / "store", tmp_path / "work")
    assert "columns 'rtt_ms' and 'latency_ms' both mean rtt_ms" in sentence


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("rtt_ms", "fast", "a number"),
        ("queue_depth", "many", "a whole number"),
        ("queue_depth", "1.5", "a whole number"),
        ("queue_depth", "NaN", "a whole number"),
        ("timestamp", "2026-10-01T00:00:00Z", "a whole number"),
    ],
)
def test_text_in_a_number_is_named_with_its_line(tmp_path, name, column, value, expected):
    path = write(replace_value(make_table(), column, 41, value), tmp_path / "store" / name)
    sentence = refused(tmp_path / "store", tmp_path / "work")
    assert sentence == f"{path}: column '{column}' holds '{value}' in line 43; expected {expected}."


def test_text_in_a_number_far_down_a_csv_is_found(tmp_path):
    table = make_table(links=30, samples=1440)
    path = write(replace_value(table, "jitter_ms", 43_000, "x"), tmp_path / "store/a.csv")
    sentence = refused(tmp_path / "store", tmp_path / "work")
    assert sentence == f"{path}: column 'jitter_ms' holds 'x' in line 43002; expected a number."


def test_text_in_a_parquet_number_is_named(tmp_path):
    path = write(replace_value(make_table(), "rtt_ms", 41, "fast"), tmp_path / "store/a.parquet")
    sentence = refused(tmp_path / "store", tmp_path / "work")
    assert sentence == f"{path}: column 'rtt_ms' holds 'fast'; expected a number."


def test_a_column_of_a_wrong_type_is_named(tmp_path):
    table = make_table()
    lists = pa.array([[1.0]] * table.num_rows)
    path = write(table.set_column(6, "rtt_ms", lists), tmp_path / "store/a.parquet")
    sentence = refused(tmp_path / "store", tmp_path / "work")
    assert sentence.startswith(f"{path}: column 'rtt_ms' is of type list<")
    assert sentence.endswith("expected a number.")


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_an_empty_timestamp_is_refused(tmp_path, name):
    path = write(replace_value(make_table(), "timestamp", 3, None), tmp_path / "store" / name)
    sentence = refused(tmp_path / "store", tmp_path / "work")
    assert sentence == f"{path}: column 'timestamp' is empty in 1 rows; every row needs one."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b""),
        ("a.parquet", b"PAR1 this is not it PAR1"),
        ("a.csv", b""),
        ("a.csv", ",".join(schema.COLUMN_NAMES).encode() + b"\n1,2,3\n"),
        ("a.csv.gz", b"not gzip"),
    ],
)
def test_a_corrupt_file_is_named(tmp_path, name, content):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / name).write_bytes(content)
    assert refused(tmp_path / "store", tmp_path / "work").startswith(f"{tmp_path}/store/{name}: cannot be read as ")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "it is empty; expected a line with the names of the columns"),
        ("a.parquet", b"", "it is empty; copy it again"),
        ("a.parquet", b"PAR1 the first half of a file", "it is cut short"),
        ("a.csv", b"timestamp;region\n1;x\n", "separated by something else than commas"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_users_words(tmp_path, name, content, sentence):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / name).write_bytes(content)
    assert sentence in refused(tmp_path / "store", tmp_path / "work")


@pytest.mark.parametrize(("text", "other"), [("metro", "métro"), ("timestamp", "temps_écoulé")])
def test_a_csv_that_is_not_utf_8_says_so(tmp_path, text, other):
    path = write(make_table(), tmp_path / "store/a.csv")
    path.write_bytes(path.read_bytes().replace(text.encode(), other.encode("latin-1")))
    assert refused(tmp_path / "store", tmp_path / "work").endswith(
        "it is not UTF-8 text; save it as UTF-8, or say its `encoding` to `bwpredict import`."
    )


def test_a_parquet_file_that_is_cut_off_or_damaged_is_named(tmp_path):
    path = write(make_table(links=20, samples=500), tmp_path / "store/a.parquet")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:100] + bytes(3000) + whole[3100:]):
        path.write_bytes(damaged)
        assert str(path) in refused(tmp_path / "store", tmp_path / "work")


def test_a_csv_row_with_too_few_cells_is_an_error(tmp_path):
    path = write(make_table(), tmp_path / "store/a.csv")
    path.write_bytes(path.read_bytes() + b"1,2,3\n")
    assert refused(tmp_path / "store", tmp_path / "work").startswith(f"{path}: cannot be read as CSV: ")


@pytest.mark.parametrize("layout", ["partitioned", "flat"])
def test_an_empty_month_says_what_is_there_instead(tmp_path, layout):
    table = make_table(links=1, samples=10, start=int(NOVEMBER.timestamp()) - 5 * DAY - 60, step=DAY // 2)
    if layout == "flat":
        write(table, tmp_path / "store/a.csv")
    else:
        write_days(table, tmp_path / "store")
    sentence = refused(tmp_path / "store", tmp_path / "work", "2026-11")
    assert sentence == (
        f"month=2026-11: {tmp_path}/store holds no telemetry of that month; it holds 2026-10-26 to 2026-10-31."
    )


def test_a_late_row_does_not_make_its_partitions_month_look_present(tmp_path):
    write_days(make_table(), tmp_path / "store")
    write(
        make_table(links=1, samples=1, start=int(NOVEMBER.timestamp()) - 60), tmp_path / "store/date=2026-11-01/a.csv"
    )
    assert refused(tmp_path / "store", tmp_path / "work", "2026-11").endswith("it holds 2026-10-01 to 2026-10-31.")


def test_files_without_rows_are_an_empty_month(tmp_path):
    write(make_table().slice(0, 0), tmp_path / "store/a.csv")
    assert refused(tmp_path / "store", tmp_path / "work").endswith(
        "holds no telemetry of that month; its files hold no rows."
    )


@pytest.mark.parametrize("exists", [True, False])
def test_a_place_without_telemetry_is_named(tmp_path, exists):
    if exists:
        (tmp_path / "store").mkdir()
        (tmp_path / "store/notes.txt").write_text("nothing here")
    assert refused(tmp_path / "store", tmp_path / "work") == (
        f"{tmp_path}/store: holds no telemetry; expected .parquet, .csv, .csv.gz files,"
        " flat or in date=YYYY-MM-DD folders."
    )


def test_a_partition_that_is_no_day_is_named(tmp_path):
    write(make_table(), tmp_path / "store/date=2026-10-41/a.csv")
    assert "date=2026-10-41/a.csv: the partition is not a calendar day" in refused(
        tmp_path / "store", tmp_path / "work"
    )


def test_a_failed_pull_leaves_the_earlier_one_as_it_was(tmp_path):
    write_days(make_table(), tmp_path / "store")
    document = take_snapshot(open_store(str(tmp_path / "store")), "", OCTOBER, NOVEMBER, tmp_path / "work")
    (tmp_path / "store/date=2026-10-02").mkdir()
    (tmp_path / "store/date=2026-10-02/b.parquet").write_bytes(b"broken")
    with pytest.raises(TelemetryError, match=re.escape("date=2026-10-02/b.parquet")):
        take_snapshot(open_store(str(tmp_path / "store")), "", OCTOBER, NOVEMBER, tmp_path / "work")
    check_content(document, tmp_path / "work/telemetry")
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["snapshot.json", "telemetry"]


def test_a_full_disk_is_one_sentence_and_what_was_there_stays_until_there_is_space(tmp_path):
    write_days(make_table(), tmp_path / "store")
    before = pulled(tmp_path)
    write_days(make_table(links=4, samples=200), tmp_path / "store")
    # A limit on the size of files ends writes as a full disk does.
    with (
        multiprocessing.get_context("spawn").Pool(1, small_files_only) as pool,
        pytest.raises(TelemetryError, match=r"work: cannot be written \(.*File too large.*\); free some space"),
    ):
        pool.apply(pulled, (tmp_path,))
    check_content(before, tmp_path / "work/telemetry")
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["snapshot.json", "telemetry"]
    assert pulled(tmp_path)["rows"] == 800


def pulled(folder: Path) -> dict:
    return take_snapshot(open_store(str(folder / "store")), "", OCTOBER, NOVEMBER, folder / "work")


def small_files_only() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))


def test_a_changed_file_of_the_work_area_is_named(tmp_path):
    write_days(make_table(), tmp_path / "store")
    document = take_snapshot(open_store(str(tmp_path / "store")), "", OCTOBER, NOVEMBER, tmp_path / "work")
    path = tmp_path / "work/telemetry/date=2026-10-01/part-0.parquet"
    write(make_table(seed=1), path)
    with pytest.raises(SnapshotError, match=re.escape(f"{path}: is not the file that snapshot")):
        check_content(document, tmp_path / "work/telemetry")


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path) -> str:
    """The URI of an empty store."""
    return str(tmp_path / "store") if request.param == "local" else f"s3://{request.getfixturevalue('s3_bucket')}/net"


def put(uri: str, key: str, path: Path) -> None:
    """Put a file into the store, over whatever was there."""
    store = open_store(uri)
    existing = next((info.etag for info in store.list(key)), None)
    store.write(key, path.read_bytes(), if_etag=existing)


def test_an_object_that_changed_since_is_named(tmp_path, place):
    copy_to_store(write_days(make_table(samples=30, step=3600), tmp_path / "files"), place)
    document = take_snapshot(open_store(place), "", OCTOBER, NOVEMBER, tmp_path / "work")
    verify(open_store(place), document)
    changed = "date=2026-10-02/part-0.parquet"
    put(place, changed, write(make_table(start=SECONDS + DAY, seed=9), tmp_path / "new.parquet"))
    for again in (
        lambda: verify(open_store(place), document),
        lambda: restore(open_store(place), document, tmp_path / "again"),
    ):
        with pytest.raises(SnapshotError, match=re.escape(f"{place}/{changed}: has changed since")):
            again()
    assert not (tmp_path / "again").exists()
    assert (
        take_snapshot(open_store(place), "", OCTOBER, NOVEMBER, tmp_path / "new")["snapshot_id"]
        != document["snapshot_id"]
    )


def test_an_object_that_has_gone_since_is_named(tmp_path):
    write_days(make_table(samples=30, step=3600), tmp_path / "store")
    store = open_store(str(tmp_path / "store"))
    document = take_snapshot(store, "", OCTOBER, NOVEMBER, tmp_path / "work")
    (tmp_path / "store/date=2026-10-01/part-0.parquet").unlink()
    with pytest.raises(
        SnapshotError, match=r"date=2026-10-01/part-0\.parquet: was deleted after it was read for this snapshot"
    ):
        verify(store, document)


@pytest.mark.parametrize("replacement", ["other rows", "rubbish"])
def test_an_object_that_changes_while_it_is_read_is_named(tmp_path, monkeypatch, replacement):
    folder = write_days(make_table(samples=30, step=3600), tmp_path / "store")
    store, path = open_store(str(folder)), folder / "date=2026-10-02/part-0.parquet"
    other = write(make_table(start=SECONDS + DAY, seed=3), tmp_path / "other.parquet").read_bytes()
    filesystem = store.arrow_filesystem
    calls = iter(range(9))

    def replace_between_listing_and_reading():
        if next(calls) == 1:
            path.write_bytes(other if replacement == "other rows" else b"rubbish")
        return filesystem()

    monkeypatch.setattr(store, "arrow_filesystem", replace_between_listing_and_reading)
    with pytest.raises(SnapshotError, match=r"date=2026-10-02/part-0\.parquet: has changed since"):
        take_snapshot(store, "", OCTOBER, NOVEMBER, tmp_path / "work")
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.usefixtures("s3_environment")
def test_a_wrong_bucket_is_named(tmp_path):
    with pytest.raises(StoreUnreachableError, match="no-such-bucket-here"):
        take_snapshot(open_store("s3://no-such-bucket-here/x"), "", OCTOBER, NOVEMBER, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_missing_credentials_are_said(tmp_path, s3_bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreUnreachableError, match="AWS_ACCESS_KEY_ID"):
        take_snapshot(open_store(f"s3://{s3_bucket}"), "", OCTOBER, NOVEMBER, tmp_path / "work")
