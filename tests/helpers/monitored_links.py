"""Two links of one day, as an exporter would have reported them: what the sources in these tests hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

DAY = datetime(2026, 11, 2, tzinfo=UTC)
LINKS = [(1, 2), (3, 4)]
GAP = range(600, 603)
"""Minutes of the first link without a sample: shorter than Prometheus's look-back."""
ATTRIBUTES = {
    "region": "us-east",
    "zone": "us-east-1a",
    "link_type": "wan",
    "tier": "Premium",
    "transport": "quic",
    "one": "1",
}
METRICS = {
    "link_throughput_mbps": 100.0,
    "link_rtt_seconds": 0.02,
    "link_jitter_ms": 1.5,
    "link_loss": 0.001,
    "link_tx_bytes": 1e6,
    "link_rx_bytes": 2e6,
    "link_retransmits": 3.0,
    "link_cwnd": 40.0,
    "link_queue": 5.0,
}
MAPPING = {
    "labels": {
        "node_id": "node",
        "peer_id": "peer",
        "region": "region",
        "az": "zone",
        "link_type": "link_type",
        "network_tier": "tier",
        "transport_type": "transport",
    },
    "metrics": {
        "throughput_mbps": {"metric": "link_throughput_mbps"},
        "rtt_ms": {"metric": 'link_rtt_seconds{link_type="wan"}', "scale": 1000},
        "jitter_ms": {"metric": "link_jitter_ms"},
        "packet_loss": {"metric": "link_loss"},
        "bytes_tx": {"metric": "link_tx_bytes"},
        "bytes_rx": {"metric": "link_rx_bytes"},
        "retransmits": {"metric": "link_retransmits"},
        "congestion_window": {"metric": "link_cwnd"},
        "queue_depth": {"metric": "link_queue"},
    },
    "constants": {"dwcp_mode": "standard"},
}


def value(metric: str, link: tuple[int, int], minute: int) -> float:
    return METRICS[metric] * link[0] * (1 + minute % 7 / 10)


def minutes(link: tuple[int, int]) -> Iterator[int]:
    """The minutes of the day that hold a sample."""
    return (minute for minute in range(1440) if not (link == LINKS[0] and minute in GAP))


def open_metrics() -> str:
    """All samples in the OpenMetrics format, a sample a minute."""
    lines = []
    for metric in METRICS:
        lines.append(f"# TYPE {metric} gauge")
        for link in LINKS:
            labels = {"node": link[0], "peer": link[1], **ATTRIBUTES}
            text = ",".join(f'{name}="{one}"' for name, one in labels.items())
            lines += [f"{metric}{{{text}}} {value(metric, link, m)} {at(m)}" for m in minutes(link)]
    return "\n".join([*lines, "# EOF", ""])


def at(minute: int) -> int:
    """The unix second of a minute of the day."""
    return int((DAY + timedelta(minutes=minute)).timestamp())
