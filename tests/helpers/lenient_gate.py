"""Gate overrides that let any model through: for tests of what comes before and after the gate."""

LENIENT = {
    "minimum_average_correlation": -1,
    "minimum_accuracy_percent": -100,
    "maximum_average_mape_percent": 1000,
    "minimum_skill": -1,
    "within_link_correlation_margin": 2,
    "mean_margin_percent": 100,
    "champion_margin_percent": 100,
    "pooled_margin_percent": 100,
    "link_margin_percent": None,
    "slice_margin_percent": None,
    "winkler_margin_percent": None,
    "anchor_margin_percent": None,
    "keeps_before_notice": 1,
    "maximum_latency_p99_ms": 10_000,
}
