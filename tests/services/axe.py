"""axe-core in a browser: what makes a page hard to use for some people."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Findings that count; the others are matters of taste.
IMPACTS = ("serious", "critical")
_SCRIPT = files("axe_playwright_python").joinpath("axe.min.js").read_text


def findings(page: Page) -> list[str]:
    """What axe-core finds on a page: one line for each rule, with the first element."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_SCRIPT())
    found = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    return [
        f"{one['impact']}: {one['help']}: {one['nodes'][0]['target']} "
        f"{one['nodes'][0]['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in IMPACTS
    ]
