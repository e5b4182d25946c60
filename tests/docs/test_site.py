"""The documentation site: it builds without a warning, and a browser that shows it asks nobody else for anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A strict build: a link to a page, heading or file that is missing is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "-q", "-b", "html", "docs", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_more_than_150_lines(page: Path):
    assert len(page.read_text().splitlines()) <= 150


@pytest.mark.slow
def test_the_site_has_every_page(site: Path):
    names = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in PAGES]
    assert [str(name) for name in names if not (site / name).exists()] == []
    assert "--history-months" in (site / "reference" / "cli-models.html").read_text()
    assert "StoreUnreachableError" in (site / "reference" / "api-errors.html").read_text()


@pytest.mark.slow
def test_the_site_asks_nobody_else_for_anything(site: Path):
    loaded = (
        r"<(?:link|script|img|iframe|source)\b[^>]*(?:src|href)=\"((?:https?:)?//[^\"]+)|url\(\W?((?:https?:)?//[^)]+)"
    )
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert [found for path in files for found in re.findall(loaded, path.read_text())] == []
