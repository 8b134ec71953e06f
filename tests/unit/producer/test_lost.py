"""What a producer makes of a worker that is gone with batches in hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.records import Snapshot
from sms_pipeline.core.routing import Load
from sms_pipeline.producer.dispatching import Dispatching, Say, describe_lost
from sms_pipeline.producer.load import Loads, Lost
from tests.unit import make
from tests.unit.producer.test_dispatching import Shell

STUCK_AFTER = 60.0
#: Of 5 senders that need 0.1 s and batches of 10: 3 * 5 / 10 batches, and 50 to spare.
IN_HAND = 520


class Reader:
    """A producer's reader, and two workers of which the second falls silent after a second."""

    def __init__(self, *counts: ProfileCounts) -> None:
        self.loads = Loads(make.simulation(batch_size=10, stuck_after=STUCK_AFTER))
        self._counts = counts
        for moment in (0.0, 0.5, 1.0):
            self.read(moment)

    def read(self, now: float, dies_at: float = 1.0) -> list[Load]:
        """The loads then."""
        return self.loads.read(self._snapshot(now, dies_at), now)

    def _snapshot(self, now: float, dies_at: float) -> Snapshot:
        beats = int(now * 2), int(min(now, dies_at) * 2)
        workers = [make.worker(f"w{n}", heartbeat=beat) for n, beat in enumerate(beats, 1)]
        return make.snapshot(*self._counts, workers=tuple(workers))


def test_what_a_lost_worker_may_hold_does_not_count_against_the_others() -> None:
    # Given a backlog of more than one worker can hold
    reader = Reader(make.counts("fast", dispatched=1_000, first_attempts=100), make.counts("slow"))
    (load,) = reader.read(5.0)
    assert (load.outstanding, load.in_play) == (900, 10)

    # When one of two has been silent for long enough
    (load,) = reader.read(10.0)

    # Then the other has room, and it is known what is where
    assert (load.outstanding, load.in_play) == (900 - IN_HAND, 5)
    assert reader.loads.lost == (Lost("w2", 9.0, "fast", IN_HAND),)

    # And when it comes back, all counts again
    (load,) = reader.read(11.0, dies_at=100.0)
    assert (load.outstanding, reader.loads.lost) == (900, ())


def test_what_is_stuck_is_not_taken_off_twice() -> None:
    reader = Reader(make.counts("fast", dispatched=1_000, first_attempts=100), make.counts("slow"))
    reader.loads.stuck = {"fast": IN_HAND + 10}
    (load,) = reader.read(10.0)
    assert load.outstanding == 900 - IN_HAND - 10


def test_after_a_while_only_what_is_stuck_is_taken_off() -> None:
    reader = Reader(make.counts("fast", dispatched=1_000, first_attempts=100), make.counts("slow"))
    (load,) = reader.read(1.0 + STUCK_AFTER + 1.0)
    assert (load.outstanding, reader.loads.lost) == (900, ())


def test_lost_worker_holds_no_more_than_is_not_settled() -> None:
    reader = Reader(make.counts("fast", dispatched=200, first_attempts=170), make.counts("slow"))
    (load,) = reader.read(10.0)
    assert load.outstanding == 0
    assert reader.loads.lost == (Lost("w2", 9.0, "fast", 30),)


def test_lost_worker_of_another_profile_changes_nothing() -> None:
    reader = Reader(make.counts("fast"), make.counts("slow", dispatched=100))
    reader.read(10.0)
    assert reader.loads.lost == ()


def test_rate_is_not_observed_while_all_that_is_left_is_with_a_lost_worker() -> None:
    # Given senders that finish nothing because the other worker holds what there is
    reader = Reader(make.counts("fast", dispatched=200, first_attempts=0), make.counts("slow"))
    for moment in (10.0, 15.0, 20.0):
        (load,) = reader.read(moment)
    # Then they do not count as slow
    assert load.rate == pytest.approx(5 / 0.1 * 0.9)


# What is said


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ((), None),
        (
            (Lost("a-1", 12.4, "fast", 21_000),),
            "up to 21,000 messages are with worker a-1, last seen 12 s ago",
        ),
        (
            (Lost("a-1", 12.4, "fast", 1),),
            "up to 1 message is with worker a-1, last seen 12 s ago",
        ),
        (
            (Lost("a-1", 8.0, "fast", 500), Lost("b-1", 9.0, "fast", 600)),
            "up to 1,100 messages are with worker a-1 and 1 more, last seen 8 s ago",
        ),
        (
            (Lost("a-1", 8.0, "fast", 500), Lost("a-1", 8.0, "slow", 600)),
            "up to 1,100 messages are with worker a-1, last seen 8 s ago",
        ),
    ],
)
def test_lost_workers_in_words(lost: tuple[Lost, ...], said: str | None) -> None:
    assert describe_lost(lost) == said


class Losing(Shell):
    """A producer with a second worker, which falls silent after two seconds."""

    worker_is_online = True

    def _snapshot(self) -> Snapshot:
        snapshot = super()._snapshot()
        beat = min(int(self.clock.monotonic()), 52)
        silent = make.worker("w9", heartbeat=beat, senders=1)
        online = snapshot.workers if self.worker_is_online else ()
        return replace(snapshot, workers=(*online, silent))


def test_producer_says_it_once_and_again_when_more_time_has_passed() -> None:
    shell = Losing(num_messages=10_000)
    shell.dispatch(25.0)
    said = [one.status for one in shell.all(Say)]
    told = [one for one in dict.fromkeys(said) if one]
    assert [one.split(", ")[-1] for one in told] == [
        "last seen 6 s ago", "last seen 10 s ago", "last seen 20 s ago",
    ]  # fmt: skip
    assert told[0].startswith("up to ")
    assert "messages are with worker w9" in told[0]


def test_producer_says_so_when_nobody_else_is_online() -> None:
    shell = Losing(num_messages=10_000)
    shell.loads = Loads(shell.run.simulation)
    shell.dispatching = Dispatching(shell.run, shell.loads, shell.clock)
    shell.worker_is_online = False
    shell.dispatch(15.0)
    said = [one.status for one in shell.all(Say) if one.status]
    assert said[-1].startswith("no sender online; up to ")
    assert said[-1].endswith("messages are with worker w9, last seen 10 s ago")
