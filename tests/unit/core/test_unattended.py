"""When idle workers of one profile look after the messages of another one."""

from __future__ import annotations

from typing import Any

from sms_pipeline.core.liveness import ONLINE_SECONDS, SURVEY_SECONDS
from sms_pipeline.core.records import WorkerRow
from sms_pipeline.core.unattended import LOOKS_APART_SECONDS, Lookout, OpenRun
from tests.unit import make

AFTER = 4.0


def run(*waiting: str, **values: Any) -> OpenRun:
    given = {"batch_size": 20, "failover": {"unattended": AFTER}, **values}
    simulation = make.simulation(**given)
    return OpenRun(simulation, waiting)


class Looking:
    """A worker of `fast` that looks once a second."""

    def __init__(self) -> None:
        self.lookout = Lookout(make.profile("fast", count=5))
        self.now = 0.0

    def look(self, *runs: OpenRun, workers: tuple[str, ...] = (), dead: str = "") -> dict[str, int]:
        """`workers`: profiles of those that live; `dead`: of one that is there no more."""
        self.now += 1
        rows: list[WorkerRow] = [
            make.worker(f"w-{name}", heartbeat=int(self.now), profile=name) for name in workers
        ]
        if dead:
            rows.append(make.worker(f"w-{dead}", heartbeat=3, profile=dead))
        return self.lookout.look(self.now, rows, runs)

    def until_taken(self, *runs: OpenRun, seconds: int = 30, **present: Any) -> float | None:
        began = self.now
        for _ in range(seconds):
            if self.look(*runs, **present):
                return self.now - began
        return None


def test_waiting_messages_are_taken_over_when_nobody_was_there_for_so_long() -> None:
    looking = Looking()
    assert looking.until_taken(run("slow")) == AFTER + 1
    assert looking.look(run("slow")) == {"slow": 20}


def test_a_dead_worker_counts_as_online_for_a_while() -> None:
    looking = Looking()
    for _ in range(3):
        looking.look(run("slow"), workers=("slow",))
    taken = looking.until_taken(run("slow"), dead="slow")
    assert taken is not None
    assert AFTER + SURVEY_SECONDS <= taken <= AFTER + ONLINE_SECONDS + 2


def test_nothing_is_taken_over_while_a_worker_is_there_or_nothing_waits() -> None:
    assert Looking().until_taken(run("slow"), workers=("slow",)) is None
    assert Looking().until_taken(run("fast")) is None
    assert Looking().until_taken() is None


def test_it_ends_when_a_worker_is_back_and_when_nothing_waits_any_more() -> None:
    looking = Looking()
    looking.until_taken(run("slow"))
    looking.look(run("slow"), workers=("slow",))
    assert looking.look(run("slow"), workers=("slow",)) == {}
    looking = Looking()
    looking.until_taken(run("slow"))
    assert looking.look(run()) == {}


def test_every_run_in_the_queue_must_allow_it() -> None:
    off = run("slow", failover=False)
    assert Looking().until_taken(off) is None
    assert Looking().until_taken(run("slow"), off) is None
    assert Looking().until_taken(run("slow", failover={"unattended": None})) is None
    # The most patient one decides
    slower = run("slow", failover={"unattended": 9})
    assert Looking().until_taken(run("slow"), slower) == 10
    # A run that has nothing in it has no say
    assert Looking().until_taken(run("slow"), run(failover=False)) == AFTER + 1


def test_only_a_profile_of_the_run_takes_over() -> None:
    others = (make.profile("slow"), make.profile("other"))
    assert Looking().until_taken(run("slow", senders=others)) is None


def test_batches_that_would_take_too_long_are_left() -> None:
    # Five senders of 0.1 s send 3,000 messages in a minute
    assert Looking().until_taken(run("slow", num_messages=10_000, failover={"unattended": 1}))
    large = make.simulation(batch_size=3_001, failover={"unattended": 1})
    assert Looking().until_taken(OpenRun(large, ("slow",))) is None


def test_batches_are_as_large_as_those_of_the_profile_that_waits() -> None:
    senders = (make.profile("fast"), make.profile("slow", count=4, mean_time=1.0))
    one = run("slow", "gone", senders=senders, num_messages=10_000, batch_size="auto")
    looking = Looking()
    assert looking.until_taken(one)
    # Of a profile that is not of the run nothing is known
    assert looking.look(one) == {"gone": 1, "slow": 2}


def test_what_was_seen_before_a_gap_is_forgotten() -> None:
    looking = Looking()
    for _ in range(int(AFTER)):
        assert not looking.look(run("slow"))
    looking.now += LOOKS_APART_SECONDS
    assert looking.until_taken(run("slow")) == AFTER + 1
