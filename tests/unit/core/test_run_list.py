"""What a list of runs says of each."""

from __future__ import annotations

import pytest

from sms_pipeline.core.counts import Counts
from sms_pipeline.core.records import Run
from sms_pipeline.core.run_list import RunTotals
from tests.unit import make

RUN = Run(1, make.NOON, 7, 10, make.simulation(num_messages=10))
DONE = RunTotals(RUN, Counts(delivered=6, failed=2, expired=2), make.NOON + 9, 1, make.NOON + 4)


def test_a_run_took_until_its_last_settlement() -> None:
    assert DONE.seconds(make.NOON + 100) == 4.0


@pytest.mark.parametrize(
    "unfinished",
    [DONE._replace(counts=Counts(delivered=9)), DONE._replace(counts=Counts(), settled_at=None)],
)
def test_a_run_that_goes_on_took_until_now(unfinished: RunTotals) -> None:
    assert unfinished.seconds(make.NOON + 100) == 100.0


def test_no_run_took_less_than_nothing() -> None:
    assert DONE._replace(settled_at=make.NOON - 3).seconds(make.NOON) == 0.0


def test_its_rate_counts_what_was_delivered_or_failed() -> None:
    assert DONE.average_rate(make.NOON + 100) == 2.0
    at_once = DONE._replace(settled_at=make.NOON)
    assert at_once.average_rate(make.NOON + 100) == 0.0
