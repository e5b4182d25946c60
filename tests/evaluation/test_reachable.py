import numpy as np
import pytest
from frames import make_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.policy_advice.attainable import MODELS, RIDGE, measure, skill_noise

DAYS = 8


def split_of(throughput, *, change_test=False):
    """Eight days of two links whose throughput is `throughput` [minutes]; or with another test day."""
    frame = make_frame([list(range(1440 * DAYS))] * 2)
    frame.values[:, 0] = np.tile(throughput, 2)
    split = split_windows(index_windows(frame, 20, 15), SplitConfig())
    if change_test:
        frame.values[split["test"].target_rows, :4] *= 0.5
    return split


def wave(period=240):
    return 100 * np.exp(0.5 * np.sin(np.arange(1440 * DAYS) * 2 * np.pi / period))


@pytest.fixture(scope="module")
def findings():
    idle = np.where(np.arange(1440 * DAYS) % 60 < 6, 100.0, 0.02)
    return {"wave": measure(split_of(wave())), "idle": measure(split_of(idle))}


def test_each_target_has_figures_of_every_simple_forecast(findings):
    found = findings["wave"]
    assert [target.target for target in found.targets] == ["throughput_mbps", "rtt_ms", "packet_loss", "jitter_ms"]
    for target in found.targets:
        assert set(target.models) == set(MODELS)
        assert target.baseline in MODELS
        assert target.contender not in {None, target.baseline}
    assert found.windows == 2 * 2 * (1440 - 34 - 35)
    assert (found.links, found.blocks, found.block) == (2, 2 * 48 - 2 * 2 * 1, "hour")


def test_a_regular_wave_is_learnable_and_does_not_idle(findings):
    throughput = findings["wave"].targets[0]
    assert throughput.contender == RIDGE
    assert throughput.learnable
    assert not throughput.idles
    assert throughput.best("mape")[0] == RIDGE


def test_a_link_that_sleeps_nine_minutes_in_ten_idles(findings):
    throughput = findings["idle"].targets[0]
    assert throughput.idle_share == pytest.approx(0.9, abs=0.02)
    assert throughput.idles


def test_a_random_walk_is_not_learnable_the_last_value_is_the_best_there_is():
    walk = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.02, 1440 * DAYS)))
    throughput = measure(split_of(walk)).targets[0]
    assert throughput.baseline == "last_value"
    assert not throughput.learnable


def test_the_test_part_is_not_looked_at(findings):
    assert measure(split_of(wave(), change_test=True)) == findings["wave"]


def test_the_noise_of_a_skill_is_that_of_its_blocks():
    generator = np.random.default_rng(0)
    blocks = np.repeat(np.arange(400), 5)
    baseline = np.ones(2000)
    own = 1 + 0.2 * np.repeat(generator.normal(size=400), 5)
    assert skill_noise(own, baseline, blocks) == pytest.approx(0.2 / np.sqrt(400), rel=0.15)
    # The same errors, taken for independent ones, would seem half as noisy.
    assert skill_noise(own, baseline, np.arange(2000)) == pytest.approx(0.2 / np.sqrt(2000), rel=0.15)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.integers(2, 30))
def test_a_skill_that_is_the_same_in_every_block_has_no_noise(ratio, blocks):
    baseline = np.arange(1.0, blocks + 1)
    assert skill_noise(ratio * baseline, baseline, np.arange(blocks)) == pytest.approx(0, abs=1e-9 * max(1, ratio))


def test_one_block_or_a_perfect_baseline_has_no_noise_to_tell():
    assert skill_noise(np.ones(3), np.ones(3), np.zeros(3, dtype=np.int64)) is None
    assert skill_noise(np.ones(3), np.zeros(3), np.arange(3)) is None
