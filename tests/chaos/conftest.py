"""With CHAOS_RECORD=1 results are recorded, and the pages that tell of them written anew."""

from __future__ import annotations

import pytest

from tests.chaos import digest, report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the pages from all results, those of earlier sessions too."""
    # pytest-xdist divides the cases between processes; one of them all leads.
    is_leading = not hasattr(session.config, "workerinput")
    if report.is_recording() and is_leading:
        report.write(report.read(report.RESULTS), digest.PAGE)
        front = digest.FRONT_PAGE
        front.write_text(digest.renew(front.read_text(), digest.PAGE.read_text()))
