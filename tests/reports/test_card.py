import base64
import hashlib
import html
import re
from pathlib import Path

import pandas as pd
import pytest
from profiles import measure
from sample_documents import (
    VERSION,
    sample_artifact,
    sample_bounds,
    sample_comparison,
    sample_decision,
    sample_forecasts,
    sample_history,
    sample_metadata,
    sample_run,
    sample_snapshot,
    sample_validation,
)

from bwpredict.core.formatting import number
from bwpredict.documents import encode_document
from bwpredict.evaluation.by_link import accuracy_by_link
from bwpredict.reports import forecast_plots
from bwpredict.reports.model_card import model_card
from bwpredict.reports.plots import training_history
from bwpredict.reports.summary import summary_markdown
from bwpredict.schema import TARGETS
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def documents():
    comparison = sample_comparison()
    return {
        "run": sample_run().model_dump(mode="json"),
        "decision": sample_decision(comparison),
        "comparison": comparison,
        "history": sample_history(),
        "snapshot": sample_snapshot(),
        "validation": sample_validation(),
        "metadata": sample_metadata(comparison),
    }


def text_of(page):
    """What a reader sees: the text outside of tags and styles, blanks joined."""
    body = page[page.index("<body>") : page.index("<script>")]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def every_picture(folder, documents):
    """The folder, with every picture that a run draws."""
    comparison, forecasts = documents["comparison"], sample_forecasts()
    for name in ("training_history", "predictions_scatter"):  # any picture stands for the second
        training_history(folder / f"{name}.png", documents["history"])
    for target in TARGETS:
        picture = folder / f"link_forecasts_{target}.png"
        forecast_plots.link_forecasts(picture, target, forecasts, comparison["links"][target], sample_bounds(forecasts))
    forecast_plots.residuals(folder / "residuals.png", forecasts)
    forecast_plots.horizon(folder / "horizon.png", comparison, 15)
    return folder


def card(folder, documents, **more):
    return model_card(folder / "model_card.html", **documents, **more).read_text("utf-8")


@pytest.mark.parametrize("kind", ["comparison", "decision", "snapshot", "training_history", "validation"])
def test_the_documents_of_these_tests_are_of_their_kind(documents, kind):
    encode_document(kind, documents["history" if kind == "training_history" else kind], name=kind)


def test_the_guides_figures_stand_beside_those_of_the_last_value(tmp_path, documents):
    simple = documents["comparison"]["models"]["last_value"]["overall"]
    text = text_of(card(tmp_path, documents))
    assert f"guide: ≥ 0.98; last value: {number(simple['average_correlation'])}" in text
    assert f"guide: ≥ 98; last value: {number(simple['accuracy_percent'])}" in text


def test_the_verdict_and_its_reason_come_first(tmp_path, documents):
    text = text_of(card(tmp_path, documents))
    assert text.index(documents["decision"]["reason"]) < text.index("Checks") < text.index("Accuracy on the test days")


def test_every_check_is_shown_with_value_threshold_and_verdict(tmp_path, documents):
    page = card(tmp_path, documents)
    for check in documents["decision"]["checks"]:
        assert html.escape(check["sentence"], quote=False).replace("'", "&#39;") in page
    assert page.count('class="mark') >= len(documents["decision"]["checks"])


def test_a_rejected_run_has_a_card_with_the_failed_checks_first(tmp_path, documents):
    documents["comparison"] = sample_comparison(error=3.0)
    documents["decision"] = sample_decision(documents["comparison"])
    assert not documents["decision"]["passed"]
    page = card(tmp_path, documents)
    assert '<section class="verdict bad"' in page
    marks = re.findall(r'<td><span class="mark (\w+)">', page)
    assert "fail" in marks
    assert marks == sorted(marks, key=["fail", "open", "pass", "info", "not_applicable"].index)
    assert page.index("<details><summary>") > page.index(">✗ fail<")


def test_challenger_champion_and_baselines_stand_side_by_side(tmp_path, documents):
    text = text_of(card(tmp_path, documents))
    throughput = text[text.index("Throughput MAE and RMSE in Mbit/s") : text.index("RTT MAE and RMSE in ms")]
    assert throughput.index("Challenger") < throughput.index("Champion") < throughput.index("Last value")


def test_the_page_needs_nothing_from_outside(tmp_path, documents):
    page = card(tmp_path, documents, pictures=every_picture(tmp_path, documents))
    links = re.findall(r'<[^>]*\s(?:src|href)="([^"]*)"', page)
    assert {link for link in links if not link.startswith(("data:", "#"))} == {"validation/data_docs/index.html"}
    assert {link[1:] for link in links if link.startswith("#")} <= set(re.findall(r'<section id="(\w+)"', page))
    assert set(re.findall(r"url\((.)", page)) == {"#"}  # clips of the pictures


def test_every_picture_is_drawn_in_colours_of_the_page_and_shares_no_id_with_another(tmp_path, documents):
    page = card(tmp_path, documents, pictures=every_picture(tmp_path, documents))
    pictures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(pictures) == 4 + len(TARGETS)
    style = page[: page.index("</style>")]
    light, dark = style.split("prefers-color-scheme: dark")
    used = set(re.findall(r"var\((--picture-\w+)", "".join(pictures)))
    assert {"--picture-blue", "--picture-grey"} <= used
    assert all(f"{name}:" in light and f"{name}:" in dark for name in used)
    assert not set(re.findall(r": (#\w{6})\b", re.sub(r"var\([^)]*\)", "", "".join(pictures))))
    ids = [set(re.findall(r'\bid="([^"]+)"', picture)) for picture in set(pictures)]
    assert sum(map(len, ids)) == len(set.union(*ids))


def test_the_one_script_is_named_by_its_hash(tmp_path, documents):
    page = card(tmp_path, documents)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html.unescape(page)


def test_the_first_screen_says_in_plain_words_how_good_the_model_is_and_whether_to_trust_it(tmp_path, documents):
    text = text_of(card(tmp_path, documents))
    assert (
        "A forecast 15 minutes ahead is off by 37 Mbit/s for throughput, 2.5 ms for RTT, 0.0086 % for packet loss"
        in text
    )
    assert "The error is 50 % lower for throughput" in text
    assert "The error over all targets changes by −17 %" in text
    assert "Significantly better: throughput, RTT, packet loss, jitter." in text
    assert "The link with the lowest skill is 3 → 103" in text
    assert "The hours with the lowest mean skill: " in text
    assert "Yes: it passed every check" in text
    documents["comparison"] = sample_comparison(error=3.0)
    documents["decision"] = sample_decision(documents["comparison"])
    text = text_of(card(tmp_path, documents))
    assert "The error is 50 % higher for throughput" in text
    assert "A simple forecast is as good for Throughput, RTT, Packet loss and Jitter." in text
    assert "No: it failed" in text


def test_the_links_with_the_lowest_skill_are_in_a_table_that_sorts(tmp_path, documents):
    forecasts = sample_forecasts()
    links = accuracy_by_link(forecasts, sample_bounds(forecasts), dict.fromkeys(TARGETS, "last_value"))
    page = card(tmp_path, documents, links=links)
    table = page[page.index("<table data-sortable>") :]
    rows = re.findall(r'<th scope="row">(\d → \d+)</th>', table[: table.index("</table>")])
    assert set(rows) == {f"{link} → {100 + link}" for link in range(4)}
    assert 'id="links"' not in card(tmp_path, documents)


def test_slices_of_the_same_windows_share_a_row(tmp_path, documents):
    rows = documents["comparison"]["slices"]["rows"]
    rows.append(rows[0] | {"attribute": "network_tier", "value": "Premium"})
    text = text_of(card(tmp_path, documents))
    assert f"{rows[0]['attribute'].replace('_', ' ')} {rows[0]['value']}, network tier Premium" in text


def test_text_of_others_is_shown_as_text(tmp_path, documents):
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    for document, key in (("decision", "version"), ("decision", "reason"), ("snapshot", "telemetry_uri")):
        documents[document] = documents[document] | {key: evil}
    documents["run"] |= {"code_version": evil, "training": {evil: evil}}
    documents["decision"]["checks"][0]["sentence"] = evil
    documents["validation"]["checks"][0] |= {"sentence": evil, "passed": False}
    documents["metadata"]["environment"]["device"] = evil
    page = card(tmp_path, documents)
    assert page.count("<script") == 1
    assert "<img" not in page
    assert page.count("&lt;script&gt;") >= 8


def test_validation_warnings_and_the_way_to_the_data_docs_are_shown(tmp_path, documents):
    page = card(tmp_path, documents)
    assert 'href="validation/data_docs/index.html"' in page
    warnings = [check for check in documents["validation"]["checks"] if not check["passed"]]
    assert warnings
    for check in warnings:
        assert check["sentence"] in text_of(page)


def test_filled_features_and_useless_targets_are_limits_of_use(tmp_path, documents):
    documents["comparison"] = comparison = sample_comparison(error=3.0)
    documents["metadata"] = sample_metadata(comparison, filled={"queue_depth": 0.0})
    text = text_of(card(tmp_path, documents))
    assert "The telemetry lacks queue_depth" in text
    (sentence, *_) = documents["metadata"]["warnings"]
    assert sentence.startswith("Throughput: not better than the last")
    assert sentence in text


def test_an_absent_target_is_said_to_be_so(tmp_path, documents):
    documents["comparison"] = comparison = sample_comparison(targets=("rtt_ms", "jitter_ms"))
    documents["metadata"] = sample_metadata(comparison)
    text = text_of(card(tmp_path, documents))
    assert text.count("The telemetry lacks this target") == 2


def test_the_coverage_of_the_intervals_stands_with_its_worst_slices(tmp_path, documents):
    documents["comparison"]["intervals"]["per_target"]["rtt_ms"]["coverage"] = 0.8768
    documents["comparison"]["intervals"]["slices"] = {
        "region": {
            "us-east": {"windows": 500, **dict.fromkeys(TARGETS, 0.71)},
            "eu-west": {"windows": 500, **dict.fromkeys(TARGETS, 0.97)},
            "tiny": {"windows": 2, **dict.fromkeys(TARGETS, 0.0)},
        }
    }
    text = text_of(card(tmp_path, documents))
    assert "RTT 87.7%" in text
    assert "region us-east 71.0% region eu-west 97.0%" in text
    assert "tiny" not in text
    assert "Nominal level 90 %" in text
    assert "no intervals" not in text


def test_a_model_without_intervals_is_said_to_have_none_and_why(tmp_path, documents):
    documents["comparison"] = comparison = sample_comparison(half_width=None)
    documents["metadata"] = sample_metadata(comparison, artifact=sample_artifact(intervals=False))
    text = text_of(card(tmp_path, documents))
    assert "The model has no intervals. The split has no calibration part." in text
    assert "It gives point forecasts without intervals" in text


def test_a_champion_that_could_not_be_run_is_said_to_be_so(tmp_path, documents):
    documents["comparison"] |= {"champion_problem": "its file is corrupt."}
    assert "The champion could not be run: its file is corrupt." in text_of(card(tmp_path, documents))


def test_figures_that_are_all_undefined_still_make_a_card(tmp_path, documents):
    documents["comparison"] = comparison = sample_comparison(error=float("nan"))
    documents["metadata"] = sample_metadata(comparison)
    assert "n/a" in text_of(card(tmp_path, documents))


def test_differences_from_the_champion_stand_with_interval_and_power(tmp_path, documents):
    documents["comparison"]["difference"]["per_target"]["rtt_ms"] |= {
        "percent": -4.25,
        "low": -6.0,
        "high": -2.5,
        "pooled": {"percent": 1.25, "low": 0.5, "high": 2.0},
        "autocorrelation": 0.37,
        "smallest_detectable_percent": 2.4,
    }
    text = text_of(card(tmp_path, documents))
    assert "RTT −4.2 % −6 % to −2.5 % +1.2 % (+0.5 % to +2 %) 0.37" in text
    assert "2.4 %" in text
    assert "test days, each of which is one observation" in text


def test_without_a_champion_slices_show_skill_and_nothing_is_compared(tmp_path, documents):
    documents["comparison"] |= {"difference": None}
    text = text_of(card(tmp_path, documents))
    assert "There is no champion to compare with." in text
    assert "Skill over the best baseline: green is better than it." in text


def test_slices_are_a_heat_map_and_small_ones_are_grey(tmp_path, documents):
    rows = documents["comparison"]["slices"]["rows"]
    assert {row["supported"] for row in rows} == {False}
    rows[0]["supported"] = True
    rows[0]["per_target"]["rtt_ms"] |= {"percent": 12.0, "low": 9.0, "high": 15.0}
    page = card(tmp_path, documents)
    assert page.count('class="unsupported"') == len(rows) - 1
    assert '<td class="n worse3">+12 %<small>+9 % to +15 %</small></td>' in page


def test_drift_since_the_champions_snapshot_is_shown_by_column(tmp_path, documents):
    now, then = (profile_of(tmp_path / name, level) for name, level in (("now", 2.0), ("then", 1.0)))
    text = text_of(card(tmp_path, documents, profile=now, champion_profile=then))
    assert "Profile and drift" in text
    assert re.search(r"rtt_ms \S+ ms \(\S+ ms to \S+ ms\) \S+ ms \(\S+ ms to \S+ ms\) ! warning PSI", text)
    assert "Profile and drift" not in text_of(card(tmp_path, documents))


def profile_of(folder, level):
    write_partitioned(FleetConfig(links=2, days=1, start="2026-10-01", seed=3), folder)
    for path in folder.rglob("*.parquet"):
        rows = pd.read_parquet(path, partitioning=None)
        rows.assign(rtt_ms=rows["rtt_ms"] * level).to_parquet(path)
    return measure(folder)


def test_the_summary_names_what_failed_and_escapes_what_markdown_would_read():
    comparison = sample_comparison(error=3.0)
    decision = sample_decision(comparison) | {"version": "v[1](http://evil)<b>"}
    text = summary_markdown(decision, comparison)
    assert "v\\[1\\](http://evil)\\<b\\>" in text
    failed = sum(check["verdict"] == "fail" for check in decision["checks"])
    undecided = sum(check["verdict"] == "open" for check in decision["checks"])
    assert failed > 0
    assert text.count("- ✗ ") == min(failed, 8)
    assert text.count("- ? ") == min(undecided, 8 - min(failed, 8))
    assert f"- and {failed + undecided - 8} more" in text
    assert "| Weighted mean | +" in text


def test_the_same_documents_give_the_same_page(tmp_path, documents):
    assert card(tmp_path, documents) == card(tmp_path, documents)


@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed: make test installs it as root")
def test_the_page_renders_without_console_errors_and_fits_a_phone(tmp_path, documents):
    from playwright.sync_api import sync_playwright

    card(tmp_path, documents, pictures=every_picture(tmp_path, documents))
    messages = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("requestfailed", lambda request: messages.append(request.url[:80]))
        page.goto((tmp_path / "model_card.html").as_uri())
        assert page.title().startswith(VERSION)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate("[...document.querySelectorAll('figure svg')].every(picture => picture.getBBox().width)")
        assert page.locator("section.verdict").bounding_box()["y"] < 400
        browser.close()
    assert messages == []


def test_the_card_shows_what_a_consumer_would_have_done_with_each_model(tmp_path, documents):
    text = text_of(card(tmp_path, documents))
    part = text[text.index("What a consumer would have done") : text.index("Accuracy on the test days")]
    models = documents["comparison"]["consumer"]["models"]
    assert part.index("Challenger") < part.index("Champion") < part.index("Last value")
    for model in models.values():
        assert f"{model['regret']['percent']:.3g} %" in part
    assert "confidence of at least 0.8" in part


@pytest.mark.parametrize(("state", "told"), [("none", "lacks a target"), ("old", "did not simulate consumers")])
def test_the_card_says_why_no_decisions_of_consumers_are_shown(tmp_path, documents, state, told):
    if state == "old":
        del documents["comparison"]["consumer"]
    else:
        documents["comparison"]["consumer"] = None
    assert told in text_of(card(tmp_path, documents))


def test_the_card_shows_both_models_worst_tenth_of_links_and_their_intervals(tmp_path, documents):
    text = text_of(card(tmp_path, documents))
    tenths = documents["comparison"]["difference"]["links"]["tenths"]["rtt_ms"]
    assert f"RTT {tenths['challenger_mae']:.3g} ms (champion {tenths['champion_mae']:.3g} ms)" in text
    assert "Winkler score of the intervals (" in text


def test_the_card_of_a_comparison_of_before_winkler_scores_says_nothing_of_them(tmp_path, documents):
    del documents["comparison"]["interval_difference"]
    for ends in documents["comparison"]["difference"]["links"]["tenths"].values():
        del ends["challenger_mae"], ends["champion_mae"]
    text = text_of(card(tmp_path, documents))
    assert "Winkler score of the intervals (" not in text
    assert "on its own worst tenth" not in text


@pytest.mark.parametrize(
    ("attempt", "told"),
    [
        (1, "First attempt at 2026-10."),
        (2, "Second attempt at 2026-10: an earlier run has judged a challenger on the same test days."),
        (3, "Third attempt at 2026-10: 2 earlier runs have judged"),
        (11, "Attempt number 11 at 2026-10: 10 earlier runs have judged"),
    ],
)
def test_card_and_summary_say_how_often_the_month_has_been_tried(tmp_path, documents, attempt, told):
    documents["decision"]["attempt"] = attempt
    encode_document("decision", documents["decision"], name="decision")
    assert told in text_of(card(tmp_path, documents))
    assert told in summary_markdown(documents["decision"], documents["comparison"])


def test_a_decision_of_before_attempts_were_counted_says_nothing_of_them(tmp_path, documents):
    del documents["decision"]["attempt"]
    encode_document("decision", documents["decision"], name="decision")
    assert "attempt" not in text_of(card(tmp_path, documents))
    assert "attempt" not in summary_markdown(documents["decision"], documents["comparison"])
