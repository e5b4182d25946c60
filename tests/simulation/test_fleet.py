from datetime import date

import numpy as np
import pytest

from bwpredict.errors import ConfigError
from bwpredict.simulation.fleet import MINUTES_PER_DAY, FleetConfig, draw_links
from bwpredict.simulation.simulator import Simulation


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"links": 0}, "links: must be a whole number from 1"),
        ({"links": 2.5}, "links: must be a whole number"),
        ({"days": 0}, "days: must be a whole number from 1"),
        ({"seed": -1}, "seed: must be a whole number from 0"),
        ({"gap_share": 0.9}, "gap_share: must be a number from 0.0 to 0.5"),
        ({"late_share": float("nan")}, "late_share: must be a number"),
        ({"duplicate_share": "many"}, "duplicate_share: must be a number"),
        ({"regime": "stormy"}, "regime: must be one of calm, congested, drifting"),
        ({"start": "2026-13-01"}, "start: must be a date as YYYY-MM-DD"),
        ({"start": "1969-12-31"}, "start: must be from 1971-01-01"),
        ({"drift_from": "soon"}, "drift_from: must be a date as YYYY-MM-DD"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_by_name(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        FleetConfig(**values)  # type: ignore[arg-type]


def test_a_start_given_as_text_is_the_date() -> None:
    assert FleetConfig(start="2026-11-01") == FleetConfig(start=date(2026, 11, 1))


def test_a_link_is_the_same_whatever_the_number_of_links() -> None:
    few, many = draw_links(7, 3), draw_links(7, 40).take(0, 3)
    for name, values in vars(few).items():
        assert np.array_equal(values, getattr(many, name)), name


def test_no_two_links_join_the_same_nodes_in_the_same_direction() -> None:
    links = draw_links(1, 2000)
    assert len(set(zip(links.node_id, links.peer_id, strict=True))) == 2000
    assert not np.any(links.node_id == links.peer_id)


def test_a_node_lies_in_one_zone_of_one_region() -> None:
    links = draw_links(1, 2000)
    places = {(node, az, region) for node, az, region in zip(links.node_id, links.az, links.region, strict=True)}
    assert len(places) == len(set(links.node_id))
    assert np.array_equal(links.az // 3, links.region)


def test_longer_links_have_longer_round_trips() -> None:
    links = draw_links(1, 2000)
    dc, metro, wan = (np.median(links.base_rtt_ms[links.link_type == kind]) for kind in range(3))
    assert dc < metro < wan


def test_without_drift_from_the_drift_begins_in_the_middle_of_the_span() -> None:
    config = FleetConfig(days=10, regime="drifting")
    assert config.drift_day == config.first_day + 5


def test_a_drifting_fleet_is_calm_before_the_drift_and_busier_and_noisier_after() -> None:
    settings = {"links": 30, "days": 12, "start": "2026-10-01"}
    drifting = Simulation(FleetConfig(**settings, regime="drifting", drift_from="2026-10-03"))  # type: ignore[arg-type]
    calm = Simulation(FleetConfig(**settings))  # type: ignore[arg-type]
    ratios = []
    for day in range(calm.config.first_day, calm.config.first_day + 12):
        pair = [next(iter(fleet.chunks(day))) for fleet in (drifting, calm)]
        demand, loss = (pair[0].columns[name] / pair[1].columns[name] for name in ("throughput_mbps", "packet_loss"))
        ratios.append((np.median(demand), np.median(loss)))
    assert ratios[:2] == [(1, 1), (1, 1)]
    assert ratios[-1][0] > 1.1
    assert ratios[-1][1] > 1.2


def test_a_congested_fleet_works_closer_to_its_capacity() -> None:
    load = {}
    for regime in ("calm", "congested"):
        config = FleetConfig(links=12, days=1, regime=regime)  # type: ignore[arg-type]
        (chunk,) = Simulation(config).chunks(config.first_day)
        load[regime] = np.quantile(chunk.response.utilisation, 0.9)
        assert chunk.response.utilisation.shape == (12, MINUTES_PER_DAY)
    assert load["calm"] < 0.65
    assert load["congested"] > 0.8
