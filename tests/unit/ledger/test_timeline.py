"""A run's course over time is what its settlements say, however it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.dialects import postgresql

from sms_pipeline.core.events import Event
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.timeline import (
    COMMIT_LAG_SECONDS,
    Bin,
    History,
    Timeline,
    timeline,
)
from tests.unit import make
from tests.unit.ledger.stored import Executed
from tests.unit.make import NOON

#: The run of the fixture.
TOTAL = 100


def dispatch(ledger: Ledger, run: Run, *seconds: float) -> None:
    """A batch of ten messages at each of those times."""
    rows = [
        make.row(run.id, number, number * 10, queued_at=NOON + at)
        for number, at in enumerate(seconds)
    ]
    ledger.record_batches(run.id, rows)


def settle(ledger: Ledger, run: Run, *seconds: float, first: int = 0) -> None:
    """All ten messages of a batch delivered at each of those times."""
    ledger.settle(
        [
            make.settlement(run.id, first + number, settled_at=NOON + at)
            for number, at in enumerate(seconds)
        ]
    )


def busy(course: Timeline) -> list[float]:
    """Where the bins begin in which anything happened."""
    starts = zip(course.starts, course.bins, strict=True)
    return [round(start, 6) for start, one in starts if any(one)]


def test_run_that_was_not_dispatched_has_no_course(ledger: Ledger, run: Run) -> None:
    course = timeline(ledger, run)
    assert (course.run, course.total) == (run.id, TOTAL)
    assert (course.started_at, course.seconds, course.bins) == (None, 0, ())
    assert course.time_to_reach == {0.5: None, 0.9: None, 0.99: None}


def test_messages_are_counted_when_they_were_dispatched_attempted_and_ended(
    ledger: Ledger, run: Run
) -> None:
    dispatch(ledger, run, 0, 0.05, 0.31)
    ledger.settle(
        [
            make.settlement(run.id, 0, 0, delivered=7, retried=3, settled_at=NOON + 0.15),
            make.settlement(run.id, 1, 0, delivered=6, failed=4, settled_at=NOON + 0.19),
            make.settlement(
                run.id, 0, 1, messages=3, delivered=0, expired=2, cancelled=1, settled_at=NOON + 0.4
            ),
        ]
    )
    course = timeline(ledger, run)
    assert (course.run, course.total, course.width) == (run.id, TOTAL, 0.1)
    assert course.started_at == NOON
    assert course.seconds == pytest.approx(0.4)
    assert course.bins == (
        Bin(dispatched=20),
        Bin(settlements=2, attempts=20, delivered=13, failed=4),
        Bin(),
        Bin(dispatched=10),
        Bin(settlements=1, attempts=3, expired=2, cancelled=1),
    )


def test_course_begins_when_the_run_was_started(ledger: Ledger, run: Run) -> None:
    # Given messages that were dispatched and delivered long after
    dispatch(ledger, run, 60)
    settle(ledger, run, 70)
    course = timeline(ledger, run, shares=[0.1])
    assert (course.started_at, course.seconds) == (NOON, 70)
    assert [
        start for start, one in zip(course.starts, course.bins, strict=True) if one.dispatched
    ] == [60]
    assert course.time_to_reach == {0.1: 70}


def test_run_begins_when_it_was_started_and_ends_with_the_last_of_any_profile(
    ledger: Ledger, run: Run
) -> None:
    # Given three profiles, dispatched at different times; the last dispatch is not of the last one
    for number, (profile, at) in enumerate((("fast", 5), ("slow", 2), ("guest", 3))):
        rows = [make.row(run.id, number, 10 * number, profile=profile, queued_at=NOON + at)]
        ledger.record_batches(run.id, rows)
    settle(ledger, run, 4)
    course = timeline(ledger, run)
    assert (course.started_at, course.seconds) == (NOON, 5)
    assert busy(course) == [2, 3, 4, 5]


@pytest.mark.parametrize(("seconds", "width"), [(0.99, 0.1), (1.0, 0.2), (2.0, 0.5)])
def test_no_run_has_more_bins_than_were_asked_for(
    ledger: Ledger, run: Run, seconds: float, width: float
) -> None:
    dispatch(ledger, run, 0)
    history = History(ledger, run, bins=10)
    history.read()
    settle(ledger, run, seconds)
    course = history.read()
    assert course.width == width
    assert len(course.bins) <= 10


def test_long_run_has_as_many_bins_as_were_asked_for(ledger: Ledger, run: Run) -> None:
    dispatch(ledger, run, *range(10))
    settle(ledger, run, *range(90, 100))
    course = timeline(ledger, run, bins=10)
    assert course.width == 10
    assert [one.delivered for one in course.bins] == [0] * 9 + [100]


def test_time_to_reach_is_exact_to_the_settlement(ledger: Ledger, run: Run) -> None:
    dispatch(ledger, run, *[0] * 10)
    settle(ledger, run, 1.1, 1.2, 1.3, 1.4, 1.5, 60.5, 60.6, 60.7, 60.8, 99)
    course = timeline(ledger, run, bins=2, shares=[0.5, 0.51, 0.9, 1.0])
    assert course.time_to_reach == {
        0.5: pytest.approx(1.5),
        0.51: pytest.approx(60.5),
        0.9: pytest.approx(60.8),
        1.0: pytest.approx(99),
    }


def test_time_to_reach_is_that_of_the_message_not_of_the_attempt(ledger: Ledger, run: Run) -> None:
    # Given settlements of single messages, in one bin, that came in another order
    dispatch(ledger, run, 0)
    for number, (at, delivered) in enumerate(((0.09, 1), (0.05, 0), (0.06, 1), (0.03, 1))):
        settlement = make.settlement(run.id, number, delivered=delivered, settled_at=NOON + at)
        ledger.settle([settlement])
    course = timeline(ledger, run, shares=[0.01, 0.02, 0.03, 0.04])
    assert course.time_to_reach == {
        0.01: pytest.approx(0.03),
        0.02: pytest.approx(0.06),
        0.03: pytest.approx(0.09),
        0.04: None,
    }


def test_share_that_was_never_delivered_has_no_time(ledger: Ledger, run: Run) -> None:
    dispatch(ledger, run, *[0] * 10)
    ledger.settle(
        [
            make.settlement(run.id, number, delivered=8, failed=2, settled_at=NOON + number)
            for number in range(10)
        ]
    )
    assert timeline(ledger, run).time_to_reach == {0.5: pytest.approx(6), 0.9: None, 0.99: None}


def test_what_a_wrong_clock_settled_before_the_run_is_counted_at_its_start(
    ledger: Ledger, run: Run
) -> None:
    dispatch(ledger, run, 0, 0)
    settle(ledger, run, -7.5, -0.01)
    course = timeline(ledger, run, shares=[0.2])
    assert course.bins == (Bin(dispatched=20, settlements=2, attempts=20, delivered=20),)
    assert course.time_to_reach == {0.2: 0}


def test_other_runs_do_not_count(ledger: Ledger, run: Run) -> None:
    # Given a run as it is alone
    dispatch(ledger, run, 5, 5.1)
    settle(ledger, run, 6.05, 8.05)
    alone = timeline(ledger, run, shares=[0.1, 0.2])
    # When another one has batches of the same numbers, before, between and after
    other = ledger.start_run(make.simulation(num_messages=TOTAL), seed=1, started_at=NOON)
    dispatch(ledger, other, 0, 7, 7.5)
    settle(ledger, other, 5.5, 6.01, 8.01, 9)
    # Then nothing of it is seen
    assert timeline(ledger, run, shares=[0.1, 0.2]) == alone
    assert alone.time_to_reach == {0.1: pytest.approx(6.05), 0.2: pytest.approx(8.05)}


# Again and again


def test_second_reading_asks_only_for_what_is_new(
    ledger: Ledger, run: Run, ledger_url: str
) -> None:
    dispatch(ledger, run, 0, 1, 50, 100)
    settle(ledger, run, 10, 100)
    history = History(ledger, run, shares=[0.1])
    history.read()
    # When what has long been read is changed behind its back, and something new comes
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE settlements SET delivered = 3 WHERE batch = 0"))
        connection.execute(text("UPDATE batches SET size = 3 WHERE number = 0"))
    settle(ledger, run, 101, first=2)
    course = history.read()
    # Then the old figures stand, and the new ones are there
    assert sum(one.delivered for one in course.bins) == 30
    assert sum(one.dispatched for one in course.bins) == 40
    # And what only the old rows could tell is not told
    assert course.time_to_reach == {0.1: None}


def test_reading_asks_for_what_is_open_once(
    ledger: Ledger, run: Run, executed: list[Executed]
) -> None:
    # Given a run that is read again and again, for longer than transactions take to be seen
    history = History(ledger, run, shares=[])
    dispatch(ledger, run, 0)
    for number, at in enumerate((None, 0.03, 0.05, *range(1, 30))):
        settle(ledger, run, *([] if at is None else [at]), first=number)
        executed.clear()
        history.read()
        asked = [one.sql for one in executed if "FROM settlements" in one.sql]
        # Then bins of settlements are asked for once, not all of them again
        assert sum("GROUP BY" in sql for sql in asked) == 1


def test_batches_are_counted_one_by_one_as_they_come(ledger: Ledger, run: Run) -> None:
    history = History(ledger, run)
    for number in range(5):
        # Two in each bin
        at = NOON + 0.06 * number
        ledger.record_batches(run.id, [make.row(run.id, number, 10 * number, queued_at=at)])
        course = history.read()
        assert sum(one.dispatched for one in course.bins) == 10 * (number + 1)
    assert course == timeline(ledger, run)
    assert [one.dispatched for one in course.bins] == [20, 20, 10]


def test_dispatch_by_a_clock_that_is_behind_is_counted_at_the_start(
    ledger: Ledger, run: Run
) -> None:
    # Given a run that was read
    dispatch(ledger, run, 3)
    history = History(ledger, run)
    history.read()
    # When a producer whose clock is behind goes on with another profile
    rows = [make.row(run.id, 1, 10, profile="slow", queued_at=NOON - 7)]
    ledger.record_batches(run.id, rows)
    settle(ledger, run, 4, first=1)
    # Then the run begins where it did
    course = history.read()
    assert course.started_at == NOON
    assert busy(course) == [0, 3, 4]


def test_settlement_that_was_committed_late_is_counted_in_its_place(
    ledger: Ledger, run: Run
) -> None:
    dispatch(ledger, run, 0, 0, 0)
    settle(ledger, run, 5, 9 * COMMIT_LAG_SECONDS)
    history = History(ledger, run)
    history.read()
    settle(ledger, run, 6, first=2)
    assert history.read() == timeline(ledger, run)


STEPS = st.lists(
    st.lists(st.floats(-5, 400), min_size=0, max_size=3),
    min_size=1,
    max_size=6,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_reading_step_by_step_comes_to_the_same_as_reading_at_the_end(
    steps: Sequence[Sequence[float]],
) -> None:
    with TemporaryDirectory() as folder:
        ledger = Ledger.open(f"sqlite:///{Path(folder) / 'ledger.db'}")
        run = ledger.start_run(make.simulation(num_messages=180), seed=1, started_at=NOON)
        dispatch(ledger, run, *range(18))
        history, number = History(ledger, run, bins=20), 0
        for step in steps:
            settle(ledger, run, *step, first=number)
            number += len(step)
            course = history.read()
            assert len(course.bins) <= 20
            assert sum(one.delivered for one in course.bins) == number * 10
        assert course == timeline(ledger, run, bins=20)
        ledger.close()


# PostgreSQL


class Answer:
    """What a server knows of a run that was dispatched and not settled."""

    def scalar(self) -> float:
        return 0.0

    def __iter__(self) -> Iterator[object]:
        return iter(())


class Server:
    """Stands for a ledger in PostgreSQL, and for its connection: keeps what it is asked."""

    dialect = postgresql.dialect()

    def __init__(self) -> None:
        self.asked: list[str] = []

    @contextmanager
    def reading(self) -> Iterator[Server]:
        yield self

    def execute(self, query: Any) -> Answer:
        self.asked.append(str(query.compile(dialect=self.dialect)))
        return Answer()


def test_fraction_of_a_bin_is_cut_off_by_each_database_in_its_way(
    ledger: Ledger, run: Run, executed: list[Executed]
) -> None:
    # PostgreSQL's cast rounds, and not every SQLite has `floor`
    server = Server()
    timeline(server, run)  # type: ignore[arg-type]
    bins = [query for query in server.asked if "GROUP BY" in query]
    assert len(bins) == 2
    assert all("CAST(floor((" in query for query in bins)
    dispatch(ledger, run, 0)
    settle(ledger, run, 1)
    timeline(ledger, run)
    assert not [one.sql for one in executed if "floor" in one.sql]


def test_a_batch_that_a_damaged_record_has_far_in_the_future_is_in_the_last_bin(
    ledger: Ledger, run: Run, ledger_url: str
) -> None:
    dispatch(ledger, run, 0, 0.5)
    settle(ledger, run, 1.0)
    with create_engine(ledger_url).begin() as connection:
        connection.execute(text("UPDATE batches SET queued_at = 253e9 WHERE number = 1"))
    course = timeline(ledger, run)
    assert len(course.bins) < 100
    assert course.bins[-1].dispatched == 10
    assert sum(one.dispatched for one in course.bins) == 20


@pytest.mark.parametrize(("first", "origin"), [(3.0, 3.0), (-1.0, 0.0)])
def test_events_count_from_the_first_batch(ledger: Ledger, first: float, origin: float) -> None:
    # Given another run that was dispatched earlier
    other = ledger.start_run(make.simulation(num_messages=TOTAL), 1, started_at=NOON)
    dispatch(ledger, other, 1)
    events = (Event.model_validate({"at": 5, "for": 5, "outage": True}),)
    run = ledger.start_run(make.simulation(num_messages=TOTAL, events=events), 2, started_at=NOON)
    dispatch(ledger, run, first, 4)
    assert timeline(ledger, run).origin == origin
    # Without events, nothing counts from it
    assert timeline(ledger, other).origin == 0.0
