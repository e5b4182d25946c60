"""What a decision says of a change of the network: which test days decide, in a sentence and in the headline."""

import pytest


def change(before, after, judged_on="after"):
    days = [f"2026-10-{day:02}" for day in range(24, 24 + before + after)]
    return {
        "day": days[before] if before else "2026-10-12",
        "targets": {"rtt_ms": 12.3, "packet_loss": -40.0},
        "days_before": days[:before],
        "days_after": days[before:],
        "judged_on": judged_on,
    }


MOVED = "RTT rose by 12 %, Packet loss fell by 40 %, on average over the links"


@pytest.mark.parametrize(
    ("found", "told", "in_headline"),
    [
        (change(3, 4), "The 4 test days from then on decide; the 3 before it are left out.", True),
        (change(1, 6), "The 6 test days from then on decide; the day before it is left out.", True),
        (change(5, 2, "all"), "Only 2 of the 7 test days are after it, too few to judge on alone", True),
        (change(6, 1, "all"), "Only 1 of the 7 test days is after it, too few to judge on alone", True),
        (change(0, 7), "All 7 test days are after it.", False),
    ],
)
def test_the_decision_says_which_test_days_lie_after_a_change(judged, found, told, in_headline):
    judged.set("comparison/change", found)
    decision = judged.decide()
    (check,) = [check for check in decision["checks"] if check["id"] == "change"]
    assert check["sentence"].startswith(f"The network changed on {found['day']} ({MOVED})")
    assert told in check["sentence"]
    assert (check["verdict"], check["value"]) == ("info", len(found["days_after"]))
    assert (told in decision["reason"]) is in_headline
    assert decision["outcome"] == "promote"


@pytest.mark.parametrize("found", [None, "missing"])
def test_without_a_change_and_in_a_comparison_of_before_there_were_any_nothing_is_said(judged, found):
    if found is None:
        judged.set("comparison/change", None)
    decision = judged.decide()
    assert "The network changed" not in decision["reason"]
    assert not any(check["id"] == "change" for check in decision["checks"])
