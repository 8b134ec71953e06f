"""A terminal without a broker, and one that shares broker and ledger with the test's workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """In an empty folder, with nothing set."""
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def shared_terminal(tmp_path: Path, broker_url: str, database_url: str) -> Iterator[Terminal]:
    """In an empty folder, with the broker and the ledger of this test's workers."""
    opened = Terminal(tmp_path, {"CELERY_BROKER_URL": broker_url, "SMS_DATABASE_URL": database_url})
    yield opened
    opened.close()
