from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bwpredict.simulation import queueing
from bwpredict.simulation.demand import Process, autoregressive, damped_oscillation
from bwpredict.simulation.fleet import draw_links

loads = st.floats(0, 5)
buffers = st.integers(1, 200)


def mm1k(load: float, buffer: int) -> tuple[float, float]:
    """Mean number and blocking probability, from the probabilities of all states."""
    weights = np.float64(load) ** np.arange(buffer + 1)
    states = weights / weights.sum()
    return float(states @ np.arange(buffer + 1)), float(states[-1])


@given(loads, buffers)
def test_the_queue_is_that_of_all_states_summed(load: float, buffer: int) -> None:
    length, full = queueing.queue_length(np.array([load]), np.array([float(buffer)]))
    expected_length, expected_full = mm1k(load, buffer)
    assert np.isclose(length[0], expected_length, rtol=1e-3, atol=1e-6)
    assert np.isclose(full[0], expected_full, rtol=1e-2, atol=1e-6)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=50))
def test_senders_back_off_before_the_capacity_and_never_send_less_for_wanting_more(wanted: list[float]) -> None:
    offered = queueing.offered_load(np.sort(np.array(wanted)))
    assert np.all(offered < 1)
    assert np.all(np.diff(offered) >= -1e-9)


LINKS = draw_links(3, 50)


def respond(load: float, *, incident: float = 0.0) -> queueing.Response:
    demand = load * LINKS.capacity_mbps[:, None]
    return queueing.simulate_response(LINKS, demand, np.full_like(demand, incident), np.zeros_like(demand))


@given(st.floats(0.01, 3), st.floats(0, 3))
def test_what_a_link_does_stays_possible(load: float, incident: float) -> None:
    response = respond(load, incident=incident)
    assert np.all(response.throughput_mbps[:, 0] <= LINKS.capacity_mbps)
    assert np.all(response.rtt_ms[:, 0] >= LINKS.base_rtt_ms)
    assert np.all((response.packet_loss >= 0) & (response.packet_loss <= 1))
    assert np.all(response.jitter_ms > 0)
    assert np.all(response.queue_batches[:, 0] <= LINKS.buffer_batches)


@given(st.floats(0.05, 0.8), st.floats(0.01, 0.2))
def test_more_load_means_more_delay_jitter_loss_and_queue(load: float, more: float) -> None:
    light = respond(load)
    heavy = respond(load + more)
    for name in ("throughput_mbps", "rtt_ms", "jitter_ms", "packet_loss", "queue_batches"):
        assert np.all(getattr(heavy, name) > getattr(light, name)), name


def test_an_incident_takes_capacity_and_adds_delay_and_loss() -> None:
    sound = respond(0.6)
    broken = respond(0.6, incident=1.0)
    assert np.all(broken.utilisation > sound.utilisation)
    assert np.all(broken.rtt_ms > sound.rtt_ms)
    assert np.all(broken.packet_loss > sound.packet_loss)


def test_loss_takes_headroom_from_the_congestion_window() -> None:
    clean, lossy = (
        queueing.congestion_window(np.array([500.0]), np.array([40.0]), np.array([p])) for p in (1e-4, 0.05)
    )
    in_flight = 500e6 * 0.040 / 8 / queueing.PACKET_BYTES
    assert in_flight < lossy < clean < 1.5 * in_flight


@given(st.integers(1, 60), st.sampled_from([autoregressive(12.0), damped_oscillation(50.0, 90.0)]))
def test_a_process_without_innovations_does_what_was_foreseen(minutes: int, process: Process) -> None:
    innovations = np.random.default_rng(0).normal(size=(2, 200))
    innovations[:, 100:] = 0
    states, _ = process.run(innovations, np.ones((2, 2)))
    foreseen = process.ahead(states, np.ones((2, 2)), minutes)
    assert np.allclose(foreseen[:, 99], states[:, 99 + minutes])
    assert np.allclose(foreseen[:, 99:140], states[:, 99 + minutes : 140 + minutes])


def test_capacity_decides_utilisation() -> None:
    demand = 0.5 * LINKS.capacity_mbps[:, None]
    twice = replace(LINKS, capacity_mbps=2 * LINKS.capacity_mbps)
    calm = np.zeros_like(demand)
    assert np.all(queueing.simulate_response(twice, demand, calm, calm).utilisation < 0.26)
