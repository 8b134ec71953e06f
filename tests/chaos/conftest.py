"""With CHAOS_RECORD=1 the results are recorded, and the pages that tell of them written anew."""

from __future__ import annotations

import pytest

from tests.chaos import digest, report


def pytest_sessionstart(session: pytest.Session) -> None:
    """Forget results of other versions."""
    if report.is_recording() and _is_alone_or_leads(session):
        report.forget_other_versions(report.RESULTS)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the pages from all results, those of earlier sessions too."""
    if report.is_recording() and _is_alone_or_leads(session):
        report.write(report.read(report.RESULTS), digest.PAGE)
        front = digest.FRONT_PAGE
        front.write_text(digest.renew(front.read_text(), digest.PAGE.read_text()))


def _is_alone_or_leads(session: pytest.Session) -> bool:
    """Not one of the processes between which pytest-xdist divides the cases."""
    return not hasattr(session.config, "workerinput")
