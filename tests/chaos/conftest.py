"""The report of the fault matrix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.report import Report


@pytest.fixture(scope="session")
def chaos_report() -> Iterator[Report]:
    """Collects results; writes them to the file named in CHAOS_REPORT, if there is one."""
    report = Report()
    yield report
    if file := os.environ.get("CHAOS_REPORT"):
        report.write(Path(file))
