"""Which training windows each machine of a training holds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from frames import make_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from small_training import CONFIG, small_split

from bwpredict.datasets.sampling import sample_windows
from bwpredict.datasets.windows import index_windows
from bwpredict.errors import ConfigError
from bwpredict.models.network import Contract, Forecaster
from bwpredict.store.factory import open_store
from bwpredict.training.distributed import job as jobs
from bwpredict.training.distributed.process_group import Fleet, Ranks, TrainingWindows, deal_out

DRAWS = ["uniform", "stratified"]
MINUTES = (900, 600, 900, 300)
"""Of each link."""


def a_job(machines, folder):
    return jobs.Job(
        task="train", config=CONFIG.model_dump(mode="json"), absent=[], identity={}, machines=machines,
        rendezvous="", checkpoint="", resume="", every_seconds=0, address=str(folder),
    )  # fmt: skip


def written(folder, split, machines):
    start = Forecaster(Contract(CONFIG.window_size, 15, 60), "dense")
    job = a_job(machines, folder / "sent")
    jobs.write(folder / "job", job, start, split)
    return job


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 5_000), min_size=1, max_size=30), st.integers(1, 8), st.sampled_from(DRAWS), st.data()
)  # fmt: skip
def test_every_machine_gets_a_link_with_windows_and_every_link_goes_to_one(windows, machines, how, data):
    windows = np.array(windows)
    if (windows > 0).sum() < machines:
        if windows.sum():
            with pytest.raises(ConfigError, match=rf"{machines} machines cannot share the training windows of"):
                deal_out(windows, machines, 1, how)
        return
    edges = deal_out(windows, machines, data.draw(st.integers(1, int(windows.sum()))), how)
    assert (edges[0], edges[-1], len(edges)) == (0, len(windows), machines + 1)
    assert all(windows[first:past].sum() > 0 for first, past in pairwise(edges))


@pytest.mark.parametrize("how", DRAWS)
def test_machines_get_about_as_many_windows_to_compute(how):
    """Of links of all lengths, the longest with a tenth of all windows."""
    windows = np.random.default_rng(1).integers(100, 4_000, 50)
    windows[7] = windows.sum() // 10
    train = index_windows(make_frame([list(range(one + 34)) for one in windows]), 20, 15)
    drawn = sample_windows(train, 4_000, how, seed=1, epoch=1)
    links = np.searchsorted(np.cumsum(windows), drawn, side="right")
    shares = np.histogram(links, deal_out(windows, 4, 4_000, how))[0] / len(drawn)
    assert shares == pytest.approx(np.full(4, 0.25), abs=0.05)


@pytest.mark.parametrize("machines", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 7, 300])
def test_the_ranks_shares_of_a_batch_are_all_its_windows_once_with_their_samples(tmp_path, machines, size):
    split = small_split(minutes=MINUTES)
    written(tmp_path, split, machines)
    train = split["train"]
    batch = np.random.default_rng(size).choice(len(train), size, replace=False)
    seen = {}
    for machine in range(machines):
        own, fleet = jobs.read_windows(tmp_path / "job", machine)
        for rank in range(2):
            ranks = Ranks(count=2 * machines, local_rank=rank, local_count=2, fleet=fleet)
            windows = TrainingWindows(own["train"], ranks, torch.device("cpu"))
            assert len(windows) == len(train)
            share = windows.share(batch)
            inputs, targets = own["train"].inputs(share), own["train"].targets_around(share, 2)
            for position, *samples in zip(share + fleet.before, inputs, targets, strict=True):
                assert position not in seen
                seen[position] = samples
    assert sorted(seen) == sorted(batch)
    for position, (inputs, targets) in seen.items():
        np.testing.assert_array_equal(inputs, train.inputs(np.array([position]))[0])
        np.testing.assert_array_equal(targets, train.targets_around(np.array([position]), 2)[0])


def test_every_machine_has_the_same_validation_windows(tmp_path):
    split = small_split(minutes=MINUTES)
    written(tmp_path, split, 2)
    expected = split["validation"].spread(CONFIG.validation_windows)
    for machine in range(2):
        validation = jobs.read_windows(tmp_path / "job", machine)[0]["validation"]
        np.testing.assert_array_equal(validation.inputs(), expected.inputs())
        np.testing.assert_array_equal(validation.targets(), expected.targets())
        assert validation.frame.rows == len(expected) * (expected.steps_to_target + 1)


def test_a_machine_fetches_its_own_share_and_no_other(tmp_path):
    split = small_split(minutes=MINUTES)
    job = written(tmp_path, split, 3)
    there = tmp_path / "there"
    with jobs.sent(tmp_path / "job", job.address):
        jobs.fetch(job.address, there)
        assert not list(there.glob("share-*"))
        jobs.fetch_share(job.address, there, 1)
        assert [path.name for path in there.glob("share-*")] == ["share-1"]
    own, fleet = jobs.read_windows(there, 1)
    assert fleet.before in np.cumsum(fleet.windows_of_links)
    assert 0 < own["train"].frame.rows < split["train"].frame.rows
    held = np.arange(fleet.before, fleet.before + len(own["train"]))
    np.testing.assert_array_equal(own["train"].inputs(), split["train"].inputs(held))
    assert list(open_store(job.address).keys()) == []


def test_one_machine_holds_everything(tmp_path):
    split = small_split(minutes=MINUTES)
    written(tmp_path, split, 1)
    own, fleet = jobs.read_windows(tmp_path / "job", 0)
    assert isinstance(fleet, Fleet)
    np.testing.assert_array_equal(own["train"].starts, split["train"].starts)
