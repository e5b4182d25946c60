import numpy as np
import pytest
from frames import make_frame

from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.policy_advice.attainable import MODELS, RIDGE, measure
from bwpredict.policy_advice.findings import finding_sentences

DAYS = 20


def split_of(throughput, *, links=2, days=DAYS, change_test=False):
    """Days of links whose throughput is `throughput` [minutes]; or with other test days."""
    frame = make_frame([list(range(1440 * days))] * links)
    frame.values[:, 0] = np.tile(throughput, links)
    split = split_windows(index_windows(frame, 20, 15), SplitConfig())
    if change_test:
        frame.values[split["test"].target_rows, :4] *= 0.5
    return split


def wave(period=240, days=DAYS):
    return 100 * np.exp(0.5 * np.sin(np.arange(1440 * days) * 2 * np.pi / period))


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
    assert (found.links, found.days, found.test_days) == (2, 4, 7)


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


def test_what_a_day_does_to_every_link_is_noise_and_more_links_do_not_average_it_away():
    """Each day's error is larger or smaller by the same factor on all links: only days count."""
    days = np.exp(0.3 * np.random.default_rng(2).normal(size=DAYS))
    unsteady = 100 * np.exp(np.repeat(0.2 * days, 1440) * np.random.default_rng(5).normal(size=1440 * DAYS))
    few, many = (measure(split_of(unsteady, links=links)).targets[0] for links in (2, 12))
    # Were links independent, the noise would be divided by the square root of 6.
    assert 0 < few.noise < 1.4 * many.noise


def test_a_difference_that_is_the_same_on_every_day_has_no_noise(findings):
    assert findings["wave"].targets[0].noise == pytest.approx(0, abs=0.01)


def test_fewer_than_four_days_tell_no_noise():
    found = measure(split_of(wave(days=8), days=8))
    assert found.days == 2
    assert {target.noise for target in found.targets} | {target.peer_noise for target in found.targets} == {None}
    assert "2 days, which are too few: at least 4 are needed" in list(finding_sentences(found))[-1]
