"""The pipeline's rows: a size or step that is measured by itself joins those that were measured before."""

from bench_pipeline import merged


def row(links, step, seconds, days=30):
    return {"links": links, "days": days, "step": step, "seconds": seconds}


def test_what_is_measured_again_replaces_what_was_there_and_the_rest_stays_in_order():
    before = [row(1, "snapshot", 1.0), row(1, "train", 2.0), row(1000, "snapshot", 3.0)]
    rows = merged(before, [row(10_000, "snapshot", 9.0, days=1), row(1, "train", 5.0), row(100, "frame", 4.0)])
    assert rows == [
        row(1, "snapshot", 1.0),
        row(1, "train", 5.0),
        row(100, "frame", 4.0),
        row(1000, "snapshot", 3.0),
        row(10_000, "snapshot", 9.0, days=1),
    ]
