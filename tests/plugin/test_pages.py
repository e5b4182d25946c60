"""The pages over HTTP, from a real API server with real tokens, on a registry in S3."""

import csv
import io
import json
import os
import re
import signal
from pathlib import Path
from urllib.parse import quote

import pytest
from accessibility import barriers
from link_results import bounds_of, link_files, some_forecasts
from playwright.sync_api import sync_playwright
from published_versions import published_month, published_months
from sample_documents import (
    sample_comparison,
    sample_day,
    sample_decision,
    sample_history,
    sample_metadata,
    sample_run,
    sample_snapshot,
    sample_validation,
)

from bwpredict.documents import encode_document, write_document
from bwpredict.evaluation.by_link import accuracy_by_link
from bwpredict.reports.model_card import model_card
from bwpredict.validation.data_docs import finish_data_docs
from bwpredict.validation.result import reported

CHROMIUM = Path("/usr/bin/chromium")
PAGES = "/bandwidth-models/of/default"
pytestmark = pytest.mark.slow

READING = (
    *("/", "/versions/v20260801_093000", "/diff?left=v20260801_093000&right=v20260901_093000", "/runs/some_run"),
    *("/links", "/versions/v20260801_093000/links", "/versions/v20260801_093000/links/10-20"),
)
ACTING = ("promote", "rollback", "retrain")


def test_every_page_and_action_refuses_the_anonymous(site):
    for path in ("/bandwidth-models/", *(PAGES + path for path in READING)):
        assert site.server.get(path).status == 401, path
    for action in ACTING:
        assert site.server.get(f"{PAGES}/{action}").status == 401
        assert site.server.post_form(f"{PAGES}/{action}", None, {"reason": "because"}).status == 401


def test_the_anonymous_are_asked_to_sign_in_on_a_page_that_looks_like_the_others(site):
    shown = site.server.get(f"{PAGES}/")
    assert "<h1>Please sign in</h1>" in shown.text
    (style,) = re.findall(r'rel="stylesheet" href="([^"]+)"', shown.text)
    assert site.server.get(style).status == 200
    (sign_in,) = re.findall(r'href="(/api/v2/auth/login[^"]+)"', shown.text)
    led = site.server.get(sign_in)
    assert (led.status, "login" in led.headers["location"]) == (307, True)
    assert quote(f"{PAGES}/", safe="") in led.headers["location"]


def test_a_viewer_sees_everything_and_is_offered_nothing(site, three_versions):
    page = site.server.get(f"{PAGES}/", "view")
    assert page.status == 200
    assert all(version in page.text for version in three_versions)
    assert not any(f"{PAGES}/{action}" in page.text for action in ACTING)
    assert site.server.get(f"{PAGES}/versions/{three_versions[0]}", "view").status == 200


def test_a_viewer_cannot_act_even_with_a_form_of_his_own(site, three_versions):
    before = site.history
    forms = {"expected": three_versions[-1], "version": three_versions[0], "reason": "because"}
    for action in ACTING:
        refused = site.server.get(f"{PAGES}/{action}?version={three_versions[0]}", "view")
        needed = "create runs of" if action == "retrain" else "edit"
        assert (refused.status, f"permission to {needed} the DAG" in refused.text) == (403, True)
        assert site.server.post_form(f"{PAGES}/{action}", "view", forms).status == 403
    assert site.history == before


def test_a_promotion_leaves_the_person_and_the_reason_in_the_history_and_in_airflows_audit_log(site, three_versions):
    first, _, last = three_versions
    form = {"token": site.form_token("admin"), "version": first, "expected": last, "reason": "the last one is slow"}
    done = site.server.post_form(f"{PAGES}/promote", "admin", form)
    assert (done.status, done.headers["location"]) == (303, f"{PAGES}/")
    made = site.history[-1]
    assert (made.version, made.kind, made.replaced) == (first, "promotion", last)
    assert (made.promoted_by, made.reason) == ("Airflow user admin", "the last one is slow")
    logged = site.server.api("GET", "/eventLogs?event=bandwidth_models.promote&order_by=-when").json["event_logs"][0]
    assert (logged["owner"], json.loads(logged["extra"])["version"]) == ("admin", first)


def test_a_rollback_by_hand_is_announced_to_those_who_wait_for_the_asset(site, three_versions):
    form = {"token": site.form_token("admin"), "expected": three_versions[-1], "reason": "rtt is off"}
    assert site.server.post_form(f"{PAGES}/rollback", "admin", form).status == 303
    assert site.history[-1].version == three_versions[1]
    event = site.server.api("GET", "/assets/events?order_by=-timestamp").json["asset_events"][0]
    assert (event["extra"]["version"], event["extra"]["kind"]) == (three_versions[1], "rollback")
    assert event["extra"]["metrics"]["average_correlation"] > 0


def test_a_move_that_was_decided_on_another_state_is_refused(site, three_versions):
    before = site.history
    form = {"token": site.form_token("admin"), "expected": three_versions[0], "reason": "seen an hour ago"}
    refused = site.server.post_form(f"{PAGES}/rollback", "admin", form)
    assert refused.status == 409
    assert "check what it is, and decide again" in refused.text
    assert site.history == before


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://elsewhere.example"}],
    ids=lambda headers: "-".join(headers.values()),
)
def test_another_site_cannot_make_a_persons_browser_act(site, three_versions, headers):
    before = site.history
    form = {"token": site.form_token("admin"), "expected": three_versions[-1], "reason": "because"}
    cookie = {"Cookie": f"_token={site.server.token('admin')}"}
    assert site.server.post_form(f"{PAGES}/rollback", None, form, **cookie, **headers).status == 403
    assert site.history == before


def test_the_cookie_alone_is_no_permission_to_act_and_with_our_form_it_is(site, three_versions):
    before = site.history
    cookie = {"Cookie": f"_token={site.server.token('admin')}", "Sec-Fetch-Site": "same-origin"}
    form = {"expected": three_versions[-1], "reason": "because"}
    for token in ("", "forged", site.form_token("admin")[:-2]):
        assert site.server.post_form(f"{PAGES}/rollback", None, {**form, "token": token}, **cookie).status == 403
    assert site.history == before
    token = site.form_token("admin")
    assert site.server.post_form(f"{PAGES}/rollback", None, {**form, "token": token}, **cookie).status == 303


def test_nothing_from_the_store_becomes_markup(site, tmp_path):
    attack = "<script>alert(1)</script>"
    (made,) = published_months(site.store.uri, tmp_path, 1, reason=attack)
    site.store.write("models/<script>/MANIFEST.json", b"{}", if_etag=None)
    for path in ("/", f"/versions/{made.version}", f"/versions/{attack}", f"/diff?left={attack}&right=%22onload"):
        page = site.server.get(PAGES + path.replace("<", "%3C").replace(">", "%3E"), "admin")
        assert "<script>alert" not in page.text
        assert "<script>/" not in page.text
    assert "&lt;script&gt;" in site.server.get(f"{PAGES}/", "admin").text
    assert "&lt;script&gt;alert(1)" in site.server.get(f"{PAGES}/versions/{made.version}", "admin").text


def test_the_pages_run_no_script_but_their_own(site, three_versions):
    policy = site.server.get(f"{PAGES}/", "admin").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_an_empty_registry_has_a_page(site):
    page = site.server.get(f"{PAGES}/", "admin")
    assert page.status == 200
    assert "Nothing is in production yet" in page.text


def test_a_registry_that_does_not_answer_is_told_of_and_the_page_still_opens(site):
    os.kill(site.s3.pid, signal.SIGSTOP)
    page = site.server.get(f"{PAGES}/", "admin")
    os.kill(site.s3.pid, signal.SIGCONT)
    assert page.status == 200
    assert "did not answer within 1.5 s" in page.text
    assert "Latest runs" in page.text


def test_a_version_shows_its_checks_its_champion_its_drift_and_its_files(site, three_versions):
    page = site.server.get(f"{PAGES}/versions/{three_versions[1]}", "admin").text
    for part in ("Checks of the gate", "Champion against challenger", "has drifted", "model_card.html", "Promote…"):
        assert part in page, part
    card = site.server.get(f"{PAGES}/versions/{three_versions[1]}/files/model_card.html", "admin")
    assert (card.status, card.text) == (200, f"model_card.html of {three_versions[1]}")
    assert "default-src 'none'" in card.headers["content-security-policy"]
    assert site.server.get(f"{PAGES}/versions/{three_versions[1]}/files/best_model.pth", "admin").status == 400


def test_a_file_that_was_altered_in_the_store_is_not_shown(site, three_versions):
    key = f"models/{three_versions[0]}/model_card.html"
    site.store.delete(key)
    site.store.write(key, b"<h1>another card</h1>", if_etag=None)
    page = site.server.get(f"{PAGES}/versions/{three_versions[0]}/files/model_card.html", "admin")
    assert page.status == 500
    assert "another card" not in page.text
    assert "do not match" in page.text


def test_two_versions_are_set_side_by_side(site, three_versions):
    page = site.server.get(f"{PAGES}/diff?left={three_versions[0]}&right={three_versions[2]}", "admin")
    assert page.status == 200
    assert "were never compared on the same test days" in page.text
    page = site.server.get(f"{PAGES}/diff?left={three_versions[1]}&right={three_versions[2]}", "admin")
    assert "Both are measured on the test days of 2026-09" in page.text
    assert "−42 %" in page.text


def test_older_versions_are_a_page_further(site, tmp_path):
    moves = published_months(site.store.uri, tmp_path, 2)
    later = published_month(site.store, tmp_path, 2, champion=moves[-1].version).version
    page = site.server.get(f"{PAGES}/?below={later}", "admin")
    versions = page.text.partition("<h2>3 versions</h2>")[2].partition("</section>")[0]
    assert moves[0].version in versions
    assert later not in versions


def test_a_run_shows_its_verdict_and_only_pages_of_its_own(site, tmp_path):
    area = site.work / "rejected"
    a_run(area)
    page = site.server.get(f"{PAGES}/runs/rejected", "view")
    assert page.status == 200
    assert "✗ rejected" in page.text
    docs = site.server.get(f"{PAGES}/runs/rejected/files/validation/data_docs/index.html", "view")
    assert (docs.status, docs.text) == (200, "the docs")
    (site.work / "secret.html").write_text("a secret")
    for name in ("run.json", "..%2Fsecret.html", "validation/data_docs/..%2F..%2F..%2Fsecret.html", "best_model.pth"):
        answer = site.server.get(f"{PAGES}/runs/rejected/files/{name}", "admin")
        assert answer.status in (400, 404), name
        assert "a secret" not in answer.text


def test_all_runs_are_in_a_table_with_their_parameters_and_can_be_exported(site):
    a_run(site.work / "exported", training={"seed": 5})
    page = site.server.get(f"{PAGES}/runs?find=exported&verdict=reject", "view")
    assert (page.status, "seed 5" in page.text, page.text.count("2026-11-01 00:04")) == (200, True, 1)
    exported = site.server.get(f"{PAGES}/runs.csv?find=exported", "view")
    assert exported.headers["content-disposition"] == 'attachment; filename="runs_default.csv"'
    (row,) = csv.DictReader(io.StringIO(exported.text))
    assert (row["run_id"], row["training.seed"], row["verdict"]) == ("exported", "5", "reject")
    assert "None of" in site.server.get(f"{PAGES}/runs?find=nothing+like+it", "view").text


def test_the_overview_says_how_things_are_and_shows_the_monitored_days(site, tmp_path):
    (made,) = published_months(site.store.uri, tmp_path, 1)
    assert "No day has been scored yet" in site.server.get(f"{PAGES}/", "view").text
    for day in ("2026-09-01", "2026-09-02"):
        content = encode_document("monitoring_day", sample_day(day, made.version), name=day)
        site.store.write(f"monitoring/days/{day}.json", content, if_etag=None)
    page = site.server.get(f"{PAGES}/", "view").text
    assert "✗ action needed" in page
    assert "less accurate than when it was published since 2026-09-01: skill of RTT" in page
    assert "later months are over" in page
    assert "✗ skill of RTT since 2026-09-01" in page
    assert "RTT, 2026-09-02: -0.1" in page


def test_a_run_that_its_telemetry_stopped_shows_every_error_and_what_has_moved(site):
    stopped_run(site.work / "stopped")
    page = site.server.get(f"{PAGES}/runs/stopped", "view").text
    assert "not fit to train on. 2 errors, the most serious: rtt_ms: 20 of 400" in page
    errors, _, rest = page.partition("1 warning<span")
    assert errors.index("rtt_ms: 20 of 400 values") < errors.index("packet_loss: 12 of 400 values")
    assert "throughput_mbps: has drifted" in rest
    assert re.search(r"<details><summary>1 check passed</summary>.*rtt_ms: as expected", rest)
    assert "1 Mbit/s to 10 Mbit/s: 80.0 % now" in rest
    assert "1 Mbit/s to 10 Mbit/s: 30.0 % in the champion" in rest


@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed: make test-slow installs it as root")
def test_no_page_has_a_barrier_by_wcag_in_light_and_dark_on_a_phone_and_zoomed(site, tmp_path):
    versions = versions_with_all_pages(site, tmp_path)
    stopped_run(site.work / "stopped")
    a_run(site.work / "refused")
    first, last = (f"/versions/{version}" for version in versions)
    paths = (
        *("/", "/runs", "/runs/stopped", "/runs/refused", "/runs/nope", "/retrain", "/rollback"),
        *(first, last, f"{last}/links", f"{last}/links/11-21", f"{last}/files/model_card.html"),
        f"/diff?left={versions[0]}&right={versions[1]}",
        "/runs/stopped/files/validation/data_docs/index.html",
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(base_url=site.server.url)
        page.goto(f"{PAGES}/")
        assert barriers(page) == []  # the page that asks to sign in
        page.set_extra_http_headers(site.server.headers("admin"))
        found = {}
        for path in paths:
            page.goto(f"{PAGES}{path}")
            page.locator("h1").first.wait_for()
            found[path] = barriers(page)
        page.goto(f"{PAGES}{last}/files/model_card.html#links")
        page.get_by_role("button", name="RTT skill").click()
        sorted_by = page.locator("#links td:nth-child(4)").all_inner_texts()
        browser.close()
    assert {path: each for path, each in found.items() if each} == {}
    assert len(sorted_by) == 3
    assert sorted_by == sorted(sorted_by, key=float)


def test_the_tab_of_a_dag_leads_to_its_model_and_says_so_where_there_is_none(site):
    ours = site.server.get("/bandwidth-models/dags/bandwidth_predictor_retrain", "view")
    assert (ours.status, ours.headers["location"]) == (303, f"{PAGES}/")
    assert "trains no bandwidth model" in site.server.get("/bandwidth-models/dags/other", "view").text


def test_a_retraining_is_triggered_with_its_month_and_the_persons_name(site):
    form = {"token": site.form_token("admin", "retrain"), "month": "2026-07", "dry_run": "true", "reason": "to see"}
    done = site.server.post_form(f"{PAGES}/retrain", "admin", form)
    assert done.status == 303, done.text
    (run,) = site.server.api("GET", "/dags/bandwidth_predictor_retrain/dagRuns").json["dag_runs"]
    assert (run["conf"], run["triggering_user_name"]) == ({"month": "2026-07", "dry_run": True}, "admin")
    assert "to see" in run["note"]
    area = site.work / run["dag_run_id"]
    area.mkdir(parents=True)
    (area / "run.json").write_text(sample_run(run_id=area.name).model_dump_json())
    for page in ("/", "/runs", f"/runs/{quote(area.name, safe='')}"):
        assert "… queued" in site.server.get(PAGES + page, "view").text, page


def test_a_month_that_is_none_is_refused(site):
    form = {"token": site.form_token("admin", "retrain"), "month": "2026-13", "reason": "to see"}
    refused = site.server.post_form(f"{PAGES}/retrain", "admin", form)
    assert refused.status == 400
    assert "is not a month" in refused.text


def test_airflow_shows_the_pages_in_the_navigation_and_on_dags_and_runs(site):
    plugins = site.server.api("GET", "/plugins").json["plugins"]
    views = next(plugin["external_views"] for plugin in plugins if plugin["name"] == "bandwidth_models")
    assert {(view["name"], view["destination"]) for view in views} == {
        ("Models", "nav"),
        ("Bandwidth models", "dag"),
        ("Verdict", "dag_run"),
    }


def test_the_links_of_production_are_listed_and_each_has_a_page_with_the_data_of_its_chart(site, tmp_path):
    made = published_month(site.store, tmp_path, 0, extra=link_files(tmp_path))
    page = site.server.get(f"{PAGES}/links", "view")
    assert page.status == 303, page.text
    assert page.headers["location"] == f"{PAGES}/versions/{made.version}/links"
    shown = site.server.get(page.headers["location"] + "?find=11-", "view")
    assert re.findall(r"/links/([0-9-]+)", shown.text) == ["11-21"]
    link = site.server.get(f"{PAGES}/versions/{made.version}/links/11-21?target=rtt_ms", "view")
    data = json.loads(re.search(r'<script type="application/json" id="series">(.*)</script>', link.text)[1])
    assert (data["unit"], len(data["times"]), len(data["upper"])) == ("ms", 96, 96)
    assert "script-src 'self'" in link.headers["content-security-policy"]
    assert re.findall(r"<script(?![^>]*(?: src=|application/json))", link.text) == []
    for name in ("links.js", "uPlot.iife.min.js", "uPlot.min.css"):
        assert site.server.get(f"/bandwidth-models/static/{name}", "view").status == 200
    assert site.server.get(f"{PAGES}/versions/{made.version}/links/7-7", "view").status == 404
    assert site.server.get(f"{PAGES}/versions/{made.version}/links?target=speed", "view").status == 422


def test_a_version_that_was_published_without_its_links_says_so(site, three_versions):
    page = site.server.get(f"{PAGES}/versions/{three_versions[0]}/links", "view")
    assert (page.status, "has no test days link by link" in page.text) == (404, True)


def versions_with_all_pages(site, folder: Path) -> list[str]:
    """Two versions; production has test days link by link, a whole model card, and a monitored day."""
    comparison, forecasts = sample_comparison(), some_forecasts()
    card = model_card(
        folder / "card.html",
        run=sample_run().model_dump(mode="json"),
        decision=sample_decision(comparison),
        comparison=comparison,
        history=sample_history(),
        snapshot=sample_snapshot(),
        validation=sample_validation(broken=True),
        metadata=sample_metadata(comparison),
        links=accuracy_by_link(forecasts, bounds_of(forecasts), dict.fromkeys(forecasts.targets, "last_value")),
    )
    first = published_month(site.store, folder, 0).version
    extra = link_files(folder, forecasts) | {"model_card.html": card.read_bytes()}
    last = published_month(site.store, folder, 1, champion=first, extra=extra).version
    site.store.write(
        "monitoring/days/2026-09-02.json",
        encode_document("monitoring_day", sample_day("2026-09-02", last), name="day"),
        if_etag=None,
    )
    return [first, last]


def stopped_run(area: Path) -> None:
    """The work area of a run whose telemetry has two errors, with its Data Docs."""
    found = sample_validation(broken=True)
    sentence = "rtt_ms: 20 of 400 values are below 0 ms; expected 0 ms or more."
    graver = {"id": "schema.rtt_ms.least", "column": "rtt_ms", "sentence": sentence, "unexpected_share": 0.05}
    examples = [{"node_id": 1, "peer_id": 2, "timestamp": "2026-10-01T04:05Z", "value": -12.0}] * 2
    found["checks"].append(found["checks"][-1] | graver | {"examples": examples})
    found["counts"]["errors"] = 2
    found["distributions"] = [
        {"column": "throughput_mbps", "bins": [[0, 0], [1, 10]], "now": [0.2, 0.8], "then": [0.7, 0.3]}
    ]
    (area / "validation" / "data_docs").mkdir(parents=True, exist_ok=True)
    (area / "run.json").write_text(sample_run(run_id=area.name).model_dump_json())
    write_document(area / "validation.json", "validation", found)
    finish_data_docs(area / "validation", found, reported(found))


def a_run(area: Path, **changes) -> None:
    """The work area of a run that was rejected."""
    docs = area / "validation" / "data_docs"
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "index.html").write_text("the docs")
    (area / "run.json").write_text(sample_run(run_id=area.name, **changes).model_dump_json())
    (area / "best_model.pth").write_text("weights")
    write_document(area / "decision.json", "decision", sample_decision(sample_comparison(3.0)))
    write_document(area / "validation.json", "validation", sample_validation())
