"""Recipes for public data: each is valid, says where its data comes from, and imports files of its layout."""

from __future__ import annotations

import gzip
import re
import runpy
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bwpredict.datasets.file_mapping import load_mapping
from bwpredict.ingestion.files import import_files
from bwpredict.store.local import LocalStore

RECIPES = Path(__file__).parents[2] / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
NOW = datetime(2026, 11, 28, tzinfo=UTC)
DRIVE = (
    "Timestamp,Longitude,Latitude,Speed,Operatorname,CellID,NetworkMode,RSRP,RSRQ,SNR,CQI,RSSI,DL_bitrate,UL_bitrate,"
    "State,PINGAVG,PINGMIN,PINGMAX,PINGSTDEV,PINGLOSS,CELLHEX,NODEHEX,LACHEX,RAWCELLID,NRxRSRP,NRxRSRQ\n"
)
# Made up; columns and the writing of values are those of the sources. The first row's expected target stands beside it.
SAMPLES = {
    "ripe_atlas": ("timestamp,link,rtt_ms,packet_loss\n1476479820,probe1,178.9,0\n", ("rtt_ms", 178.9)),
    "seattle": ("timestamp,node_id,peer_id,rtt_ms\n0.0,n0,n3,130.0\n15.7,n0,n3,340.0\n", ("rtt_ms", 235.0)),
    "fjordlink": (
        "timestamp,link,throughput_mbps,throughput_up_mbps,rtt_ms,packet_loss,jitter_ms\n1733990820,a,0.5,0.1,31,0,1\n",
        ("throughput_mbps", 0.5),
    ),
    "5g_ireland": (
        DRIVE
        + "2019.11.25_15.34.34,-8.5,51.9,0,B,3,LTE,-79,-12,10.0,8,-61,1000,3,D,-,-,-,-,-,3,7,9,1,-,-\n"
        + "2019.11.25_15.34.34,-8.5,51.9,0,B,3,LTE,-79,-12,10.0,8,-61,3000,3,D,66.0,-,-,-,-,3,7,9,1,-,-\n"
        + "2019.11.25_15.34.35,-8.5,51.9,0,B,3,LTE,-79,-12,10.0,8,-61,5000,3,D,-,-,-,-,-,3,7,9,1,-,-\n",
        ("throughput_mbps", 3.0),
    ),
    "wetlinks_ping": (
        (
            "site_name,timestamp_start,timestamp_end,target,ip_protocol,packet_loss,packets_send,ping_avg,ping_worst,"
            "ping_best,ping_stddev\nsite,2023-09-01T00:00:00+00:00,2023-09-01T00:00:10+00:00,host,4,10.0,10,50.0,60,40,5\n"
        ),
        ("packet_loss", 0.1),
    ),
    "wetlinks_throughput": (
        (
            ",site_name,timestamp_start,timestamp_end,server,ip_protocol,transport_protocol,download,download_std,upload,"
            "upload_std,measurement_steps\n0,site,2023-09-01T00:00:00Z,2023-09-01T00:00:15Z,host,4,tcp,2e8,1,1e7,1,15\n"
        ),
        ("throughput_mbps", 200.0),
    ),
    "netrics": (
        (
            "time,speedtest_ookla_download,google_rtt_max_ms,dns_query_avg_ms,install\n"
            "2021-06-30 18:50:28.262038+00:00,,12.468,25.5,Hyde Park\n"
            "2021-06-30 18:50:40.100000+00:00,900.1,,,Hyde Park\n"
        ),
        ("rtt_ms", 12.468),
    ),
    "wifi_testbed": (
        (
            "timestamp,packet_drop_percentage,bits_per_second,jitter_ms,seconds,route\n"
            "2024-11-14 22:04:37.696695040,0.2,9000000,1.5,4.2,\"['spitz4', 'spitz2']\"\n"
            "2024-11-14 22:04:42.850318080,0.4,7000000,1.3,4.2,\"['spitz4', 'spitz2']\"\n"
        ),
        ("packet_loss", 0.003),
    ),
    "geant": ("timestamp,node_id,peer_id,throughput_mbps\n1115220600,at1.at,be1.be,26.5\n", ("throughput_mbps", 26.5)),
    "cesnet_timeseries24": ("n_bytes,time,series\n750000000,2023-10-09T00:00:00Z,103\n", ("throughput_mbps", 10.0)),
    "abilene_sndlib": (
        "timestamp,node_id,peer_id,throughput_mbps\n1078099200,ATLAM5,ATLAng,0.5\n",
        ("throughput_mbps", 0.5),
    ),
    "abilene": ("timestamp,node_id,peer_id,sampled_bytes\n1078099200,0,1,375000\n", ("throughput_mbps", 1.0)),
}


def rows_of(store: Path) -> pd.DataFrame:
    return pd.concat([pq.read_table(path, partitioning=None).to_pandas() for path in sorted(store.rglob("*.parquet"))])


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_names_its_source_and_license(name):
    source = load_mapping(RECIPES / f"{name}.yaml").source
    assert source is not None
    assert source.url.startswith("http")
    assert not source.commit or re.fullmatch("[0-9a-f]{40}", source.commit)
    if "github.com" in source.url and name != "ixp_profiles":
        assert source.commit
    assert all(len(digest) == 64 for digest in source.files.values())


def test_the_docs_name_each_recipe_that_lacks_a_commit_or_digests():
    page = (RECIPES.parent / "docs" / "your-data.md").read_text("utf-8")
    for name in NAMES:
        source = load_mapping(RECIPES / f"{name}.yaml").source
        assert source is not None
        assert (f"`{name}`" in page) == (not source.commit or not source.files), name


@pytest.mark.parametrize("name", NAMES)
def test_files_of_a_recipe_s_layout_are_imported(tmp_path, name):
    if name == "ixp_profiles":
        path, (target, expected) = tmp_path / "7_traffic_profile.parquet", ("throughput_mbps", 2000.0)
        pd.DataFrame({"src_id": [7], "human_time": ["2024-05-01 00:05:00"], "data_in": [2 * 10**9]}).to_parquet(path)
    else:
        text, (target, expected) = SAMPLES[name]
        path = tmp_path / "a.csv"
        path.write_text(text, "utf-8")
    import_files([path], load_mapping(RECIPES / f"{name}.yaml"), LocalStore(tmp_path / "store"), now=NOW)
    assert rows_of(tmp_path / "store")[target].iloc[0] == pytest.approx(expected)


def test_a_file_other_than_the_recipe_s_is_told(tmp_path, caplog):
    path = tmp_path / "ripe_atlas_rtt.csv.gz"
    path.write_bytes(gzip.compress(SAMPLES["ripe_atlas"][0].encode()))
    import_files([path], load_mapping(RECIPES / "ripe_atlas.yaml"), LocalStore(tmp_path / "store"), now=NOW)
    assert "ripe_atlas_rtt.csv.gz: has another SHA-256" in caplog.text


def test_matrices_of_sndlib_become_a_row_for_each_pair_but_for_empty_ones(tmp_path, monkeypatch):
    demand = "<demand id='a_b'><source>{0}</source><target>{1}</target><demandValue> {2} </demandValue></demand>"
    matrices = {
        "20050504-1500": "",
        "20050504-1530": demand.format("at1.at", "be1.be", 26.5) + demand.format("be1.be", "be1.be", 9),
        "20050504-1545": demand.format("be1.be", "at1.at", 7.25),
    }
    folder = tmp_path / "matrices"
    folder.mkdir()
    for time, demands in matrices.items():
        (folder / f"demandMatrix-geant-uhlig-15min-{time}.xml").write_text(
            "<network xmlns='http://sndlib.zib.de/network'><meta><unit>MBITPERSEC</unit></meta>"
            f"<demands>{demands}</demands></network>"
        )
    rows = made_and_imported("sndlib.py", [folder], "geant", tmp_path, monkeypatch)
    assert rows[["timestamp", "throughput_mbps"]].to_numpy().tolist() == [
        [1115220600, 26.5],
        [1115221500, 0.0],
        [1115220600, 0.0],
        [1115221500, 7.25],
    ]


def test_series_of_cesnet_get_the_times_of_their_intervals(tmp_path, monkeypatch):
    """Made up, as the set's documentation describes its files."""
    (tmp_path / "times_10_minutes.csv").write_text(
        "id_time,time\n0,2023-10-09T00:00:00Z\n1,2023-10-09T00:10:00Z\n2,2023-10-09T00:20:00Z\n"
    )
    folder = tmp_path / "agg_10_minutes"
    folder.mkdir()
    (folder / "103.csv").write_text("id_time,n_flows,n_packets,n_bytes\n0,1,2,75000000\n2,1,2,150000000\n")
    given = [tmp_path / "times_10_minutes.csv", folder]
    rows = made_and_imported("cesnet.py", given, "cesnet_timeseries24", tmp_path, monkeypatch)
    assert rows["timestamp"].tolist() == [1696809600, 1696810800]
    assert rows["throughput_mbps"].tolist() == pytest.approx([1.0, 2.0])


def made_and_imported(script, given, recipe, folder, monkeypatch) -> pd.DataFrame:
    """The rows that an import by the recipe makes of what its script makes of the given paths."""
    made = folder / "made.csv.gz"
    monkeypatch.setattr(sys, "argv", [script, *map(str, given), str(made)])
    runpy.run_path(str(RECIPES / script), run_name="__main__")
    import_files([made], load_mapping(RECIPES / f"{recipe}.yaml"), LocalStore(folder / "store"), now=NOW)
    return rows_of(folder / "store")


def test_matrices_of_abilene_become_a_row_for_each_pair(tmp_path, monkeypatch):
    values = np.zeros((2, 144, 5))
    values[:, :, 0] = np.arange(144)  # Measured; four estimates follow each.
    values[:, :, 1:] = -1
    np.savetxt(tmp_path / "X03.gz", values.reshape(2, 720))
    monkeypatch.setattr(sys, "argv", ["abilene.py", str(tmp_path / "X03.gz"), str(tmp_path / "abilene.csv.gz")])
    runpy.run_path(str(RECIPES / "abilene.py"), run_name="__main__")
    mapping = load_mapping(RECIPES / "abilene.yaml")
    import_files([tmp_path / "abilene.csv.gz"], mapping, LocalStore(tmp_path / "store"), now=NOW)
    rows = rows_of(tmp_path / "store").set_index(["node_id", "peer_id", "timestamp"])["throughput_mbps"]
    assert len(rows) == 2 * 132
    start = int(datetime(2004, 4, 2, tzinfo=UTC).timestamp())
    assert rows[2, 5, start + 300] == pytest.approx(29 * 100 * 8 / 300 / 1e6)
