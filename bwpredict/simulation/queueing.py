"""From load to what a probe sees: queueing decides delay, jitter, loss and queue; pure functions.

The bottleneck is an M/M/1/K queue of packet batches (Kleinrock, Queueing Systems I, 1975, ch. 3.6),
behind senders that back off near its capacity and with active queue management that drops in
proportion to the mean queue (RED; Floyd and Jacobson 1993).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bwpredict.simulation.fleet import Floats, Links

PACKET_BYTES = 1400
_BACK_OFF_SHARE = 0.97
"""Share of the capacity that senders never pass, however much they would like to send."""


@dataclass(frozen=True)
class Response:
    """What the link does on average in each minute; every array has the shape of the demand."""

    throughput_mbps: Floats
    rtt_ms: Floats
    packet_loss: Floats
    jitter_ms: Floats
    queue_batches: Floats
    utilisation: Floats


def simulate_response(links: Links, demand_mbps: Floats, incident: Floats, quality: Floats) -> Response:
    """The mean behaviour of n links, without measurement noise.

    Args:
        links: n links.
        demand_mbps: (n, minutes), what senders would like to send.
        incident: (n, minutes), severity of a fault on the path, 0 = none; it takes capacity away,
            lengthens the path and corrupts packets.
        quality: (n, minutes), log factor on the error rate and the jitter of the medium.
    """
    fault = -np.expm1(-incident)
    capacity_mbps = _column(links.capacity_mbps) * (1 - 0.3 * fault)
    utilisation = offered_load(demand_mbps / capacity_mbps)
    queue, overflow = queue_length(utilisation, _column(links.buffer_batches))
    fill = queue / _column(links.buffer_batches)
    medium = np.exp(quality)
    corrupted = _column(links.error_rate) * medium * (1 + 1.5 * fault)
    loss = np.minimum(corrupted + _column(links.aqm_loss) * fill + overflow, 1.0)
    spread = np.sqrt(queue * (1 + queue)) * (1 - 0.5 * fill)
    return Response(
        throughput_mbps=capacity_mbps * utilisation * (1 - overflow),
        rtt_ms=_column(links.base_rtt_ms) * (1 + 0.1 * fault) + _column(links.batch_ms) * queue,
        packet_loss=loss,
        jitter_ms=_column(links.base_jitter_ms) * medium + 0.5 * _column(links.batch_ms) * spread,
        queue_batches=queue,
        utilisation=utilisation,
    )


def offered_load(wanted_load: Floats) -> Floats:
    """What is really sent, as a share of the capacity: senders back off smoothly below it."""
    eighth = wanted_load / _BACK_OFF_SHARE
    for _ in range(3):
        eighth = eighth * eighth
    excess = 1 + eighth
    for _ in range(3):
        excess = np.sqrt(excess)
    return wanted_load / excess


def queue_length(load: Floats, buffer_batches: Floats) -> tuple[Floats, Floats]:
    """Mean number in an M/M/1/K system with K = `buffer_batches`, and the share that finds it full."""
    # The formulas are 0 / 0 at a load of exactly 1.
    load = np.where(np.abs(1 - load) < 1e-5, 1 - 1e-5, np.maximum(load, 1e-9))
    idle = 1 - load
    full = np.exp(buffer_batches * np.log(load))
    over = load * full
    length = load / idle - (buffer_batches + 1) * over / (1 - over)
    return length, idle * full / (1 - over)


def packets_per_minute(throughput_mbps: Floats) -> Floats:
    """Packets of PACKET_BYTES in a minute."""
    return throughput_mbps * (1e6 / 8 * 60 / PACKET_BYTES)


def congestion_window(throughput_mbps: Floats, rtt_ms: Floats, packet_loss: Floats) -> Floats:
    """Packets in flight (bandwidth-delay product) and the headroom above them, which loss takes away."""
    in_flight = throughput_mbps * rtt_ms * (1e3 / 8 / PACKET_BYTES)
    return in_flight * (1.05 + 0.3 / (1 + packet_loss / 5e-3)) + 4


def _column(values: Floats) -> Floats:
    return values[:, None]
