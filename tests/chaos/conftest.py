"""Where the processes of scenarios come from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.nursery import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """One for all scenarios."""
    nursery = Nursery()
    yield nursery
    nursery.close()
