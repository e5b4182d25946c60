"""A person with a browser: trigger with parameters, watch the run, open the report, roll back."""

import re
from pathlib import Path

import pytest
from whole_airflow import DAG, DAG_ID, wait_for_run

from bwpredict.registry.production import read_history
from bwpredict.store import open_store

CHROMIUM = Path("/usr/bin/chromium")
PAGES = "/bandwidth-models/of/default"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed: make test-slow installs it as root"),
]


@pytest.fixture(scope="module")
def page(airflow):
    """A browser in which the administrator has signed in by the form."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1360, "height": 900}, base_url=airflow.url)
        page.set_default_timeout(120_000)
        page.goto("/")
        page.locator("input[name=username]").fill("admin")
        page.locator("input[name=password]").fill(airflow.password("admin"))
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("Welcome").first.wait_for()
        yield page
        browser.close()


def test_a_run_triggered_by_the_form_turns_green_and_its_verdict_is_on_its_page(airflow, page, first_run):
    page.goto(DAG)
    page.get_by_role("button", name="Trigger").first.click()
    page.locator("#element_month").fill("2026-09")
    page.get_by_role("button", name="Trigger").last.click()
    page.wait_for_url(re.compile("/runs/"))
    run_id = next(run for run in runs_of(airflow) if run["dag_run_id"] != first_run)["dag_run_id"]
    assert wait_for_run(airflow, run_id)["state"] == "success"
    page.goto(f"{DAG}/runs/{run_id}")
    page.get_by_text("Success").first.wait_for()
    page.goto(f"{DAG}/runs/{run_id}/plugin/bandwidth-verdict")
    verdict = page.frame_locator("iframe")
    verdict.get_by_text("✓ promoted").wait_for()
    verdict.get_by_role("link", name="Model card").click()
    verdict.get_by_text("Accuracy on the test span").wait_for()


def test_the_task_page_leads_to_the_report(airflow, page, first_run):
    page.goto(f"{DAG}/runs/{first_run}/tasks/decide")
    link = page.get_by_role("link", name="Report")
    link.wait_for()
    assert link.get_attribute("href").endswith("/files/model_card.html")


def test_a_run_on_a_month_without_telemetry_turns_red_and_its_note_says_where_it_stopped(airflow, page):
    page.goto(DAG)
    page.get_by_role("button", name="Trigger").first.click()
    page.locator("#element_month").fill("2031-01")
    page.get_by_role("button", name="Trigger").last.click()
    page.wait_for_url(re.compile("/runs/"))
    run_id = runs_of(airflow)[-1]["dag_run_id"]
    ended = wait_for_run(airflow, run_id)
    assert (ended["state"], ended["note"]) == ("failed", "Stopped at pull; its log ends with the reason.")
    page.goto(f"{DAG}/runs/{run_id}")
    page.get_by_text("Failed").first.wait_for()


def test_the_navigation_leads_to_the_models_and_a_rollback_is_two_clicks_and_a_reason(airflow, page):
    store = open_store(str(airflow.root / "registry"))
    first, second = [made.version for made in read_history(store)]
    page.goto("/")
    page.get_by_role("link", name="Bandwidth models").first.click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("link", name=second).first.wait_for()
    frame.get_by_role("link", name="Roll back…").click()
    frame.get_by_role("heading", name=f"Roll back to {first}?").wait_for()
    page.keyboard.type("it forecasts too high in the evening")  # the field has the focus
    page.keyboard.press("Enter")
    frame.get_by_text("it forecasts too high in the evening").first.wait_for()
    made = read_history(store)[-1]
    assert (made.kind, made.version, made.promoted_by) == ("rollback", first, "Airflow user admin")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1360, 390])
def test_the_pages_fit_any_screen_in_light_and_dark_and_by_keyboard(airflow, page, width, scheme):
    messages = []
    page.on("console", lambda message: messages.append(message.text))
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    version = read_history(open_store(str(airflow.root / "registry")))[-1].version
    for path in ("/", f"/versions/{version}", "/retrain"):
        page.goto(f"{PAGES}{path}")
        page.locator("h1").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.goto(f"{PAGES}/")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    assert messages == []


def runs_of(airflow):
    return airflow.api("GET", f"/dags/{DAG_ID}/dagRuns?run_type=manual&order_by=run_after").json["dag_runs"]
