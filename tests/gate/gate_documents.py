"""The documents that the gate reads, of a challenger that passes; and a way to break one thing in them."""

from __future__ import annotations

import json
from typing import Any

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.core.consumer_rules import shipped_rules
from bwpredict.documents import encode_document
from bwpredict.gate.decision import make_decision
from bwpredict.gate.overrides import Override

VERSION, CHAMPION, EARLIER = "v20261101_000000", "v20261001_000000", "v20260801_000000"
SHA256 = "a" * 64
FORCED = Override(champion=True, by="anna", reason="the champion is broken")
BASELINES = ("last_value", "mean_15_minutes", "median_15_minutes", "same_minute_yesterday")


def figures(*, mae=1.0, correlation=0.99, within=0.9, skill=0.1, mape=2.0):
    return {
        "mae": mae,
        "rmse": 1.5 * mae,
        "wape": mape,
        "mape": mape,
        "mape_share_left_out": 0.0,
        "r2_score": 0.97,
        "correlation": correlation,
        "within_link_correlation": within,
        "within_link_links": 20.0,
        "skill": skill,
        "baseline": "mean_15_minutes",
    }


def model(*, correlation=0.99, mape=2.0, **changes):
    return {
        "overall": {
            "average_correlation": correlation,
            "average_mape": mape,
            "accuracy_percent": 100 * correlation,
            "target_met": True,
        },
        "per_target": {target: figures(correlation=correlation, mape=mape, **changes) for target in schema.TARGETS},
        "share_scored": 1.0,
        "non_finite_forecasts": 0,
        "out_of_bounds_forecasts": 0,
    }


def passing_comparison():
    baselines = {name: model(mae=1.1, within=0.85, skill=0.0) for name in BASELINES}
    skills = dict.fromkeys(("best_baseline", *BASELINES), 0.1)
    return {
        "challenger_version": VERSION,
        "challenger_sha256": SHA256,
        "champion_version": CHAMPION,
        "champion_sha256": "b" * 64,
        "champion_problem": None,
        "test": {
            "start": "2026-10-26T00:34:00+00:00",
            "end": "2026-10-30T23:59:00+00:00",
            "windows": 140_000,
            "links": 20,
            "days": 5,
        },
        "targets": list(schema.TARGETS),
        "absent_targets": [],
        "mape_floors": dict(schema.MAPE_FLOORS),
        "models": {"challenger": model(), "champion": model(mae=1.05), **baselines},
        "skill": {
            target: {"best_baseline": "mean_15_minutes", "challenger": skills, "champion": skills}
            for target in schema.TARGETS
        },
        "links": {target: {} for target in schema.TARGETS},
        "intervals": {
            "level": 0.9,
            "per_target": {target: {"coverage": 0.9, "mean_width": 3.0} for target in schema.TARGETS},
            "slices": {},
        },
        "difference": {
            "level": 0.95,
            "power": 0.8,
            "days": {"count": 7, "fewest": 4},
            "per_target": {target: on_target(100 * (1 / 1.05 - 1)) for target in schema.TARGETS},
            "weighted": apart(100 * (1 / 1.05 - 1)) | {"weights": dict.fromkeys(schema.TARGETS, 1.0)},
            "links": {
                "level": 0.95,
                "count": 20,
                "judged": 20,
                "undefined": 0,
                "comparisons": 80,
                "tenths": {target: {"worst_percent": 1.0, "best_percent": -9.0} for target in schema.TARGETS},
                "worse": [],
            },
        },
        "interval_difference": {
            "level": 0.9,
            "champion_level": 0.9,
            "days": {"count": 7, "fewest": 4},
            "per_target": {target: {"percent": -1.0, "low": -2.0, "high": 0.0} for target in schema.TARGETS},
        },
        "anchor": {
            "version": EARLIER,
            "candidates": [EARLIER],
            "left_out": {},
            "difference": {
                "level": 0.95,
                "power": 0.8,
                "days": {"count": 7, "fewest": 4},
                "per_target": {target: apart(-5.0) for target in schema.TARGETS},
                "weighted": apart(-5.0) | {"weights": dict.fromkeys(schema.TARGETS, 1.0)},
            },
        },
        "consumer": consumer(challenger=12.0, champion=13.0, last_value=20.0),
        "slices": {
            "level": 0.95,
            "fewest_windows": 500,
            "fewest_blocks": 20,
            "comparisons": 8,
            "left_out": [],
            "rows": [slice_row("us-east"), slice_row("eu-west")],
        },
    }


def consumer(**regret_percent):
    """The consumer's part, of models with this regret."""
    some = {"percent": 50.0, "low": 45.0, "high": 55.0}
    return {
        "rules": shipped_rules().model_dump(mode="json"),
        "level": 0.95,
        "days": {"count": 7, "fewest": 4},
        "models": {
            name: {
                **dict.fromkeys(("acts", "overestimates", "overestimated_by"), some),
                "regret": {"percent": percent, "low": percent - 1, "high": percent + 1},
                "settings": {"streams": some, "buffer": some},
            }
            for name, percent in regret_percent.items()
        },
    }


def apart(percent, half_width=0.5):
    """A difference from the champion, with its interval."""
    return {
        "percent": percent,
        "low": percent - half_width,
        "high": percent + half_width,
        "smallest_detectable_percent": 1.4 * half_width,
        "autocorrelation": 0.1,
    }


def on_target(percent, half_width=0.5):
    """The same of one target, and of its MAE over all windows."""
    ends = {"percent": percent, "low": percent - half_width, "high": percent + half_width}
    return apart(percent, half_width) | {"pooled": ends}


def worse_link(node, *, bound):
    """A link that is worse than the champion by this bound, on one target."""
    bounds = dict.fromkeys(schema.TARGETS, -5.0) | {"rtt_ms": bound}
    figures = {target: {"percent": value + 6, "worse_by_at_least": value} for target, value in bounds.items()}
    return {"node_id": node, "peer_id": 900, "per_target": figures}


def slice_row(value, *, bound=-6.0):
    figures = {"mae": 1.0, "champion_mae": 1.05, "skill": 0.1, "percent": -4.8, "low": -5.5, "high": -4.0}
    return {
        "attribute": "region",
        "value": value,
        "windows": 70_000,
        "blocks": 50,
        "supported": True,
        "per_target": {target: figures | {"worse_by_at_least": bound} for target in schema.TARGETS},
    }


def passing_parity():
    return {
        "onnx_checker": True,
        "max_absolute_error": 1e-4,
        "max_relative_error": 1e-6,
        "tolerance": 1e-3,
        "all_finite": True,
        "bounds_kept": True,
        "order_kept": True,
        "batch_sizes": [1, 3, 512],
        "outputs": {"output": 1e-6, "lower": 1e-6, "upper": 1e-6},
        "cases": [{"case": "real", "windows": 512, "max_relative_error": 1e-6}],
    }


def passing_latency():
    return {"batch": 1, "threads": 1, "runs": 500, "p50_ms": 0.7, "p99_ms": 0.9, "guide_ms": 10.0}


class Judgement:
    """Three documents, and the decision on them."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {
            "comparison": passing_comparison(),
            "parity": passing_parity(),
            "latency": passing_latency(),
        }

    def set(self, path: str, value: Any) -> Judgement:
        """Put `value` at `path`, as in "latency/p99_ms"."""
        *parents, key = path.split("/")
        self._inner(parents)[key] = value
        return self

    def drop(self, path: str) -> Judgement:
        *parents, key = path.split("/")
        del self._inner(parents)[key]
        return self

    def on_each_target(self, model_name: str, **values: Any) -> Judgement:
        for target in schema.TARGETS:
            for key, value in values.items():
                self.set(f"comparison/models/{model_name}/per_target/{target}/{key}", value)
                if key == "mae":
                    self.compared(target)
        return self

    def compared(self, target: str, half_width: float = 0.5) -> Judgement:
        """Let the target's difference be that of both models' errors, if they are numbers."""
        models = self.documents["comparison"]["models"]
        own, theirs = (models[name]["per_target"][target]["mae"] for name in ("challenger", "champion"))
        if isinstance(own, float) and isinstance(theirs, float) and theirs > 0:
            difference = self.documents["comparison"]["difference"]
            difference["per_target"][target] = on_target(100 * (own / theirs - 1), half_width)
        return self

    def differs(self, target: str, percent: float, half_width: float = 0.5) -> Judgement:
        """Let the challenger's error lie this far above the champion's."""
        theirs = self.documents["comparison"]["models"]["champion"]["per_target"][target]["mae"]
        self.set(f"comparison/models/challenger/per_target/{target}/mae", theirs * (1 + percent / 100))
        return self.compared(target, half_width)

    def few_days(self, count: int) -> Judgement:
        """Let there be so few test days that nothing has an interval."""
        difference = self.documents["comparison"]["difference"]
        difference["days"]["count"] = count
        difference["links"] |= {"judged": 0, "comparisons": 0}
        each = list(difference["per_target"].values())
        intervals = self.documents["comparison"]["interval_difference"]
        intervals["days"]["count"] = count
        scores = intervals["per_target"].values()
        for figures in [*each, *(one["pooled"] for one in each), difference["weighted"], *scores]:
            figures.update(dict.fromkeys(figures.keys() - {"percent", "weights", "pooled"}))
        return self

    def without_champion(self) -> Judgement:
        self.set("comparison/champion_version", None).set("comparison/champion_sha256", None)
        self.set("comparison/difference", None).set("comparison/slices/rows", [])
        return self.drop("comparison/models/champion")

    def decide(self, policy: GatePolicy | None = None, **changes: Any) -> dict[str, Any]:
        """The decision, checked as a reader gets it."""
        values = {
            "version": VERSION,
            "run_id": "manual__2026-11-01",
            "month": "2026-10",
            "onnx_sha256": SHA256,
            "snapshot_id": "snap-1",
            "decided_at": "2026-11-01T00:09:00+00:00",
        }
        decision = make_decision(**self.documents, policy=policy or GatePolicy(), **(values | changes))
        return json.loads(encode_document("decision", decision, name="decision.json"))

    def _inner(self, keys: list[str]) -> dict[str, Any]:
        found: Any = self.documents
        for key in keys:
            found = found[int(key) if isinstance(found, list) else key]
        return found


def check(decision: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (one for one in decision["checks"] if one["id"] == name)
    return found


def failed(decision: dict[str, Any]) -> list[str]:
    return [one["id"] for one in decision["checks"] if one["verdict"] == "fail"]


def undecided(decision: dict[str, Any]) -> list[str]:
    return [one["id"] for one in decision["checks"] if one["verdict"] == "open"]
