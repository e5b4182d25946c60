"""A person with a browser: trigger with parameters, watch runs turn red and green, open the report, roll back."""

import re
from pathlib import Path

import pytest
import yaml
from airflow_server import running_airflow
from whole_airflow import DAG, LENIENT_POLICY, SMALL_TRAINING

from bwpredict.documents import read_document
from bwpredict.registry.promotion import read_history
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store

CHROMIUM = Path("/usr/bin/chromium")
PAGES = "/bandwidth-models/of/default"
ENDS_WITHIN_MS = 900_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed: make test-slow installs it as root"),
]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """A whole Airflow with two months of telemetry, an empty registry, and a policy that lets small models through."""
    root = tmp_path_factory.mktemp("browser")
    for start in ("2026-08-01", "2026-09-01"):
        write_partitioned(FleetConfig(links=3, days=10, start=start, seed=5), root / "telemetry")
    (root / "telemetry" / "date=2031-01-01").mkdir()  # a month that the form offers, and nothing is in it
    (root / "policies").mkdir()
    (root / "policies" / "lenient.yaml").write_text(yaml.safe_dump(LENIENT_POLICY))
    model = {"name": "default", "schedule": None, "training": SMALL_TRAINING}
    (root / "models.yaml").write_text(yaml.safe_dump({"models": [model]}))
    with running_airflow(
        root,
        "standalone",
        BWPREDICT_MODELS=str(root / "models.yaml"),
        BWPREDICT_POLICIES=str(root / "policies"),
        AIRFLOW__CORE__PARALLELISM="2",
    ) as server:
        server.api("PATCH", DAG, {"is_paused": False})
        yield server


@pytest.fixture(scope="module")
def store(airflow):
    return open_store(str(airflow.root / "registry"))


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


def trigger(page, *, month, policy, **numbers):
    """Fill in Airflow's own form from top to bottom, press the button, and return the id of the run it leads to."""
    page.goto(DAG)
    page.get_by_role("button", name="Trigger").first.click()
    for name, value in (("month", month), ("policy", policy)):
        choice = page.locator(f"#element_{name} input[role=combobox]")
        choice.fill(value)
        choice.press("Enter")
    if numbers:
        page.get_by_role("button", name="Advanced: training", exact=True).click()
    for name, number in numbers.items():
        page.locator(f"[name=element_{name}]").fill(str(number))
    page.get_by_test_id("trigger-dag-submit").click()
    page.wait_for_url(re.compile("/runs/"))
    return re.search(r"/runs/([^/?]+)", page.url)[1]


def watch(page, state, note):
    """Stay on the run's page until its badge turns by itself, then load it again: its note says how the run ended."""
    badge = page.get_by_role("heading", name=re.compile("^manual__")).locator("xpath=..").get_by_test_id("state-badge")
    badge.filter(has_text=state).wait_for(timeout=ENDS_WITHIN_MS)
    page.reload()
    page.get_by_text(note).first.wait_for()


def test_the_form_shows_the_months_first_and_marks_no_field_with_a_default_as_required(page):
    page.goto(DAG)
    page.get_by_role("button", name="Trigger").first.click()
    month = page.locator("#element_month input[role=combobox]")
    month.wait_for()
    for name in ("dry_run", "policy", "human_approval"):
        page.locator(f"[id=element_{name}], [name=element_{name}]").first.wait_for(state="attached")
    assert not page.locator("[name=element_epochs]").is_visible()
    assert page.get_by_role("dialog").get_by_text("*", exact=True).count() == 0
    month.click()
    page.get_by_role("option", name="The last complete month").wait_for()
    assert page.get_by_role("option").all_inner_texts()[1:] == ["2031-01", "2026-09", "2026-08"]


def test_a_run_that_the_user_triggers_turns_red_before_his_eyes_and_its_pages_say_why(airflow, page):
    run = trigger(page, month="2031-01", policy="guide")
    watch(page, "Failed", re.compile("Stopped at snapshot: .*2031-01"))
    assert run_of(airflow, run)["conf"]["month"] == "2031-01"
    page.goto(f"{DAG}/runs/{run}/plugin/bandwidth-verdict")
    page.frame_locator("iframe").get_by_text("Run for 2031-01").wait_for()


def test_a_run_with_parameters_of_the_users_own_turns_green_and_its_model_serves(airflow, page, store):
    run = trigger(page, month="2026-08", policy="lenient", epochs=2, seed=11)
    watch(page, "Success", "BOOTSTRAP: ")
    asked = run_of(airflow, run)["conf"]
    assert (asked["month"], asked["policy"], asked["epochs"], asked["seed"]) == ("2026-08", "lenient", 2, 11)
    (made,) = read_history(store)
    assert (made.month, made.promoted_by) == ("2026-08", f"run {run_of(airflow, run)['dag_run_id']}")
    page.goto(f"{PAGES}/")
    page.get_by_role("heading", name=made.version).wait_for()


def test_the_report_opens_from_the_page_of_the_task_that_decided(airflow, page, store):
    run = trigger(page, month="2026-09", policy="lenient", seed=12)
    watch(page, "Success", "Promote: ")
    page.get_by_role("link", name="decide").first.click()
    page.get_by_role("link", name="Details", exact=True).click()
    page.get_by_role("link", name="Report").click()
    page.get_by_text(read_history(store)[-1].version).first.wait_for()
    decision = read_document(airflow.root / "work" / run_of(airflow, run)["dag_run_id"] / "decision.json", "decision")
    page.get_by_text(decision["reason"]).first.wait_for()


def test_the_navigation_leads_to_the_models_and_a_rollback_is_two_clicks_and_a_reason(page, store):
    first, second = [made.version for made in read_history(store)]
    page.goto("/")
    page.get_by_role("link", name="Models").first.click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("link", name=second).first.wait_for()
    frame.get_by_role("link", name="Roll back…").click()
    frame.get_by_role("heading", name=f"Roll back to {first}?").wait_for()
    reason = frame.get_by_label("Reason")
    reason.fill("it forecasts too high in the evening")
    reason.press("Enter")
    frame.get_by_text("it forecasts too high in the evening").first.wait_for()
    made = read_history(store)[-1]
    assert (made.kind, made.version, made.promoted_by) == ("rollback", first, "Airflow user admin")


def test_the_page_of_a_dag_has_a_tab_with_its_models(page, store):
    page.goto(DAG)
    page.locator(f'a[href*="{DAG}/plugin/"]').click()  # the navigation's link of the same name is there sooner
    page.wait_for_url(re.compile(f"{DAG}/plugin/"))
    page.frame_locator("iframe").get_by_role("heading", name=read_history(store)[-1].version).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1360, 390])
def test_the_pages_fit_any_screen_in_light_and_dark_and_by_keyboard(page, store, width, scheme):
    messages = []
    page.on("console", lambda message: messages.append(message.text))
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    first, second = [made.version for made in read_history(store)][:2]
    for path in (
        "/",
        f"/versions/{second}",
        f"/versions/{second}/links",
        f"/diff?left={first}&right={second}",
        "/retrain",
    ):
        page.goto(f"{PAGES}{path}")
        page.locator("h1").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.goto(f"{PAGES}/")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    assert messages == []


@pytest.mark.parametrize("width", [1360, 360])
def test_the_chart_of_a_link_answers_to_the_keyboard_and_fits_the_screen(page, store, width):
    messages = []
    page.on("console", lambda message: messages.append(message.text))
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{PAGES}/versions/{read_history(store)[1].version}/links")
    page.locator("td.path a").first.click()
    page.locator("#chart canvas").wait_for()
    values = page.locator("#chart-values")
    page.locator("#chart").focus()
    page.keyboard.press("End")
    values.filter(has_text=re.compile(r"UTC: actual [\d.,]+, forecast [\d.,]+, interval .* champion")).wait_for()
    last = values.text_content()
    page.get_by_role("button", name="Zoom in").click()
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    values.filter(has_not_text=last).wait_for()
    assert values.text_content() < last
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert messages == []


def run_of(airflow, run_id):
    return airflow.api("GET", f"{DAG}/dagRuns/{run_id.replace('+', '%2B')}").json
