import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from quality_telemetry import FIRST, generate, rewrite, snapshot_of

from bwpredict.validation.verdict import validate


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    telemetry = generate(tmp_path_factory.mktemp("docs") / "telemetry")
    rewrite(telemetry, FIRST, lambda frame: frame.assign(rtt_ms=-frame["rtt_ms"], dwcp_mode="<b>warp</b>"))
    output = telemetry.parent / "validation"
    (output / "data_docs").mkdir(parents=True)
    (output / "data_docs" / "left over.html").write_text("from an earlier attempt")
    return output, validate(telemetry, snapshot_of(telemetry), None, output)


def _pages(output: Path) -> dict[Path, str]:
    return {path: path.read_text("utf-8") for path in output.rglob("*.html")}


def test_the_start_page_holds_the_sentence_of_every_failed_check(run):
    output, result = run
    page = unescape((output / result["data_docs"]).read_text("utf-8"))
    sentences = [check["sentence"] for check in result["checks"] if not check["passed"]]
    assert len(sentences) == 2
    assert all(sentence in page for sentence in sentences)


def test_text_from_the_telemetry_cannot_run(run):
    output, result = run
    assert "&lt;b&gt;warp" in (output / result["data_docs"]).read_text("utf-8")
    assert all("Content-Security-Policy\" content=\"default-src 'none'" in page for page in _pages(output).values())


def test_there_are_pages_of_great_expectations_for_both_suites(run):
    pages = {path.relative_to(run[0] / "data_docs").parts[:2] for path in _pages(run[0])}
    for suite in ("telemetry_schema", "telemetry_distributions"):
        assert {("validations", suite), ("expectations", f"{suite}.html")} <= pages


def test_no_page_needs_a_network_or_runs_a_script(run):
    for page in _pages(run[0]).values():
        assert not re.search(r"""(?:src|href)=["']?https?:|url\(["']?https?:|<script""", page)


def test_every_link_between_the_pages_leads_somewhere(run):
    for path, page in _pages(run[0]).items():
        for link in re.findall(r'(?:href|src)="([^"#][^"]*)"', page):
            assert (path.parent / unquote(link)).exists(), f"{path}: {link}"


def test_results_of_an_earlier_attempt_are_replaced_whole(run):
    assert not (run[0] / "data_docs" / "left over.html").exists()
    assert {path.name for path in run[0].parent.iterdir()} == {"telemetry", "validation"}
