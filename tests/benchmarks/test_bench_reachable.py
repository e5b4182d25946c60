"""How much can be had: the filter of one window and that of the whole past are between last value and oracle."""

import bench_reachable
import pytest

from bwpredict import schema


@pytest.fixture(scope="module")
def rows():
    return bench_reachable.regime_rows("calm", links=4, days=2, seed=1)


def test_every_target_has_a_row(rows):
    assert [row["target"] for row in rows] == list(schema.TARGETS)


def test_what_knows_more_forecasts_better(rows):
    for row in rows:
        assert 0 < row["filter"] < row["filter, drift known"] < row["oracle"], row
        assert row["filter"] < row["filter, whole past"] < row["oracle"], row


def test_the_share_of_the_gap_is_that_of_the_skills(rows):
    for row in rows:
        assert row["gap reachable"] == pytest.approx(row["filter"] / row["oracle"])
