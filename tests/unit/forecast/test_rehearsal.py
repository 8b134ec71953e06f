"""One run on virtual time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from sms_pipeline.core.clock import Clock
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import Run, Snapshot
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import NO_COSTS
from sms_pipeline.forecast.rehearsal import Course, rehearse
from sms_pipeline.forecast.setting import exact_setting
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing import memory_ledger
from tests.unit import make


def course(workers: int | None = None, seed: int = 1, **values: object) -> Course:
    return rehearse(exact_setting(make.simulation(**values), workers, NO_COSTS), seed)


def test_one_sender_takes_the_sum_of_its_times() -> None:
    # Given ten messages of a second each, hardly random, and nothing that fails
    sender = make.profile(count=1, mean_time=1.0, failure_rate=0, shape=1e6)
    seen = course(num_messages=10, senders=(sender,))
    # Then message n ends after n seconds
    assert seen.seconds == pytest.approx(10, rel=0.01)
    assert seen.reached_after(0.5) == pytest.approx(5, rel=0.01)
    assert seen.snapshot.counts.mean_delivery == pytest.approx(5.5, rel=0.01)


def test_a_retry_waits_for_its_pause() -> None:
    sender = make.profile(count=100, mean_time=1.0, failure_rate=0.5, shape=1e6)
    retry = RetryPolicy(max_attempts=2, backoff=5, jitter=0)
    seen = course(num_messages=100, senders=(sender,), batch_size=100, retry=retry)
    assert seen.seconds == pytest.approx(1 + 5 + 1, rel=0.01)
    assert seen.snapshot.counts.retried > 0


def test_every_message_has_one_fate() -> None:
    sender = make.profile(count=7, failure_rate=0.6)
    counts = course(num_messages=3_000, senders=(sender,)).snapshot.counts
    assert counts.delivered + counts.failed == 3_000
    assert counts.failed == pytest.approx(3_000 * 0.6**4, rel=0.2)
    assert counts.backlog == counts.retrying == 0


def test_messages_past_the_deadline_expire() -> None:
    sender = make.profile(count=1, mean_time=1.0, failure_rate=0, shape=1e6)
    counts = course(num_messages=10, senders=(sender,), deadline=4.5).snapshot.counts
    assert (counts.delivered, counts.expired) == (4, 6)


def test_the_same_seed_is_the_same_run() -> None:
    assert course(seed=3) == course(seed=3)
    assert course(seed=3) != course(seed=4)


def test_more_workers_share_a_profile() -> None:
    sender = make.profile(count=10, failure_rate=0)
    alone, four = (course(n, num_messages=4_000, senders=(sender,)) for n in (1, 4))
    assert alone.seconds / four.seconds == pytest.approx(4, rel=0.15)


def test_a_producer_on_rabbitmq_waits_until_it_knows_who_is_online() -> None:
    inside, on_rabbitmq = course(None), course(1)
    waited = (on_rabbitmq.reached_after(0.5) or 0) - (inside.reached_after(0.5) or math.inf)
    assert 0 < waited < 1.5


def test_a_worker_that_takes_one_batch_in_hand_waits_for_its_slowest_message() -> None:
    simulation = make.simulation(num_messages=400, senders=(make.profile(count=10),), batch_size=10)
    one = exact_setting(simulation, None, NO_COSTS, threads_for=lambda *_: 1)
    many = exact_setting(simulation, None, NO_COSTS)
    assert rehearse(one, 1).seconds > 1.3 * rehearse(many, 1).seconds


def real_ledger(run: Run, workers: Mapping[str, Sequence[SenderProfile]], clock: Clock) -> Ledger:
    ledger = memory_ledger(clock)
    stored = ledger.start_run(run.simulation, run.seed, run.embedded, run.started_at)
    assert stored == run
    for worker, profiles in workers.items():
        ledger.join(worker, profiles)
    return ledger


@pytest.mark.parametrize("deadline", [None, 1.0])
def test_the_sums_in_memory_are_those_of_the_ledger(deadline: float | None) -> None:
    simulation = Simulation(num_messages=600, deadline=deadline)
    setting = exact_setting(simulation, None)
    by_memory, by_ledger = rehearse(setting, 5), rehearse(setting, 5, real_ledger)
    assert by_memory.marks == by_ledger.marks
    assert comparable(by_memory.snapshot) == comparable(by_ledger.snapshot)


def comparable(snapshot: Snapshot) -> Snapshot:
    """Without what only the ledger knows, and with its sums to the microsecond."""
    profiles = tuple(
        replace(
            part,
            send_seconds=round(part.send_seconds, 6),
            delivery_seconds=round(part.delivery_seconds, 6),
            transit_seconds=round(part.transit_seconds, 6),
        )
        for part in sorted(snapshot.profiles, key=lambda part: part.profile)
    )
    return replace(snapshot, profiles=profiles, workers=(), active_at=None)
