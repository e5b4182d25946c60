"""What axe finds on a page by WCAG 2.2 level AA: in light and dark, on a phone and at 200 % zoom."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

RULES = {
    "resultTypes": ["violations"],
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
}
PHONE, ZOOMED = 360, 680
"""Widths in CSS pixels; the second is that of a screen of 1360 pixels at 200 % zoom."""


def barriers(page: Any) -> list[str]:
    """What is wrong with the page that is open, a line for each rule, scheme, width and element."""
    found = []
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    for width, scheme in ((PHONE, "light"), (ZOOMED, "dark")):
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{scheme}, {width} px: wider than the screen")
        for violation in Axe().run(page, options=RULES).response["violations"]:
            found += [f"{scheme}, {width} px: {violation['id']}: {node['html'][:160]}" for node in violation["nodes"]]
    return found
