import pytest

from bwpredict.core.formatting import count_of, link_name, quantity


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (21_081_477_910, "bytes_tx", "21.1 GB"),
        (512.0, "bytes_rx", "512 B"),
        (7.639e-05, "packet_loss", "0.007639 %"),
        (12.34567, "rtt_ms", "12.35 ms"),
        (5, "time_of_day", "5"),
        (None, "rtt_ms", "n/a"),
    ],
)
def test_a_quantity_has_the_unit_that_people_read(value, column, text):
    assert quantity(value, column) == text


@pytest.mark.parametrize(("count", "text"), [(1, "1 version"), (0, "0 versions"), (1204, "1,204 versions")])
def test_a_count_agrees_with_its_noun(count, text):
    assert count_of(count, "version") == text


def test_other_plurals_and_links():
    assert count_of(2, "entry") == "2 entries"
    assert link_name({"node_id": 1000, "peer_id": 1001002}) == "1000 → 1001002"
