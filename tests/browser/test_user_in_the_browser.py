"""A person with a browser: trigger with parameters, watch the run turn red, open the report, roll back."""

import re
from pathlib import Path

import pytest
from airflow_server import running_airflow
from published_versions import published_months
from whole_airflow import DAG, wait_for_run

from bwpredict.registry.production import read_history
from bwpredict.store import open_store

CHROMIUM = Path("/usr/bin/chromium")
PAGES = "/bandwidth-models/of/default"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed: make test-slow installs it as root"),
]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """A whole Airflow without telemetry, and three versions in the registry."""
    root = tmp_path_factory.mktemp("browser")
    published_months(str(root / "registry"), root / "made", 3)
    (root / "models.yaml").write_text("models: [{name: default, schedule: null}]")
    with running_airflow(root, "standalone", BWPREDICT_MODELS=str(root / "models.yaml")) as server:
        server.api("PATCH", DAG, {"is_paused": False})
        yield server


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


def test_a_run_triggered_by_the_form_turns_red_and_its_note_and_pages_say_why(airflow, page):
    page.goto(DAG)
    page.get_by_role("button", name="Trigger").first.click()
    page.locator("#element_month").fill("2031-01")
    page.get_by_role("button", name="Trigger").last.click()
    page.wait_for_url(re.compile("/runs/"))
    (run,) = airflow.api("GET", f"{DAG}/dagRuns").json["dag_runs"]
    ended = wait_for_run(airflow, run["dag_run_id"])
    assert ended["conf"]["month"] == "2031-01"
    assert (ended["state"], ended["note"]) == ("failed", "Stopped at pull; its log ends with the reason.")
    page.goto(f"{DAG}/runs/{run['dag_run_id']}")
    page.get_by_text("Failed").first.wait_for()
    page.goto(f"{DAG}/runs/{run['dag_run_id']}/plugin/bandwidth-verdict")
    page.frame_locator("iframe").get_by_text("Run for 2031-01").wait_for()


def test_the_report_of_a_version_opens_from_its_page(airflow, page):
    version = read_history(open_store(str(airflow.root / "registry")))[0].version
    page.goto(f"{PAGES}/versions/{version}")
    page.get_by_role("link", name="Model card", exact=True).click()
    page.get_by_text(f"model_card.html of {version}").wait_for()


def test_the_navigation_leads_to_the_models_and_a_rollback_is_two_clicks_and_a_reason(airflow, page):
    store = open_store(str(airflow.root / "registry"))
    first, second = [made.version for made in read_history(store)][-2:]
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
