"""Who is online follows from the heartbeats that one reader saw change."""

from __future__ import annotations

import pytest

from sms_pipeline.core.liveness import ONLINE_SECONDS, SURVEY_SECONDS, Liveness
from tests.unit import make


def test_worker_is_online_once_its_heartbeat_was_seen_to_change() -> None:
    liveness = Liveness()
    assert liveness.observe(0, [make.worker(heartbeat=7)]) == ()
    assert liveness.observe(1, [make.worker(heartbeat=7)]) == ()
    assert liveness.observe(2, [make.worker(heartbeat=8)]) == (make.worker(heartbeat=8),)
    assert liveness.last_seen("w1", 3) == 1
    assert liveness.last_seen("stranger", 3) is None


@pytest.mark.parametrize(("age", "online"), [(ONLINE_SECONDS, True), (ONLINE_SECONDS + 0.1, False)])
def test_worker_whose_heart_stands_still_is_offline(age: float, online: bool) -> None:
    liveness = Liveness()
    for beat in (1, 2):
        liveness.observe(0, [make.worker(heartbeat=beat)])
    assert bool(liveness.observe(age, [make.worker(heartbeat=2)])) is online


def test_worker_that_comes_back_is_online_again() -> None:
    liveness = Liveness()
    for now, beat in ((0, 1), (1, 2), (100, 2)):
        seen = liveness.observe(now, [make.worker(heartbeat=beat)])
    assert seen == ()
    assert liveness.observe(101, [make.worker(heartbeat=3)])


def test_worker_of_this_process_is_trusted_at_once() -> None:
    liveness = Liveness(["w1"])
    assert liveness.observe(0, [make.worker()])
    assert liveness.is_decided(0, [make.worker()])


def test_it_takes_a_while_to_tell_that_a_worker_is_dead() -> None:
    # Given a reader whose clock shows anything when it begins to look
    start = 1_000.0
    liveness, workers = Liveness(), [make.worker()]
    assert not liveness.is_decided(start, workers)
    assert liveness.is_decided(start, [])
    for now in (start, start + 1):
        liveness.observe(now, workers)
    # Then it looks for long enough to see the heart of every living worker beat
    assert not liveness.is_decided(start + SURVEY_SECONDS - 0.1, workers)
    assert liveness.is_decided(start + SURVEY_SECONDS, workers)


def test_one_worker_that_is_not_known_leaves_it_undecided() -> None:
    liveness = Liveness(["trusted"])
    workers = [make.worker("trusted"), make.worker("seen"), make.worker("unseen")]
    for beat in (1, 2):
        liveness.observe(0, [make.worker("trusted"), make.worker("seen", beat), workers[2]])
    assert not liveness.is_decided(0, workers)
    assert liveness.is_decided(0, workers[:2])


def test_it_is_decided_at_once_when_every_heart_was_seen_beating() -> None:
    liveness = Liveness()
    for beat in (1, 2):
        liveness.observe(0, [make.worker(heartbeat=beat)])
    assert liveness.is_decided(0, [make.worker(heartbeat=2)])


# Lost workers


def seen(*, alive_at: float, now: float, trusted: tuple[str, ...] = ()) -> Liveness:
    """What a reader knows of w1, whose heartbeat changed last at `alive_at`."""
    liveness = Liveness(trusted)
    for moment, beat in ((alive_at - 1, 1), (alive_at, 2), (now, 2)):
        liveness.observe(moment, [make.worker(heartbeat=beat)])
    return liveness


def test_worker_that_fell_silent_is_lost_until_what_it_held_is_stuck() -> None:
    for silence, lost in ((ONLINE_SECONDS, 0), (ONLINE_SECONDS + 0.1, 1), (60, 1), (60.1, 0)):
        liveness = seen(alive_at=10, now=10 + silence)
        found = liveness.lost(10 + silence, [make.worker()], until=60)
        assert len(found) == lost, silence
        assert all(one.seconds == pytest.approx(silence) for one in found)


def test_worker_that_was_never_seen_alive_holds_nothing_of_this_run() -> None:
    liveness = Liveness()
    for now in (0, 10, 20):
        liveness.observe(now, [make.worker()])
    assert liveness.lost(20, [make.worker()], until=60) == ()


def test_worker_of_this_process_is_never_lost() -> None:
    liveness = seen(alive_at=10, now=30, trusted=("w1",))
    assert liveness.lost(30, [make.worker()], until=60) == ()


def test_of_lost_workers_the_one_seen_last_comes_first() -> None:
    liveness = Liveness()
    for now, first, second in ((0, 1, 1), (1, 2, 2), (3, 2, 3), (20, 2, 3)):
        workers = [make.worker("w1", heartbeat=first), make.worker("w2", heartbeat=second)]
        liveness.observe(now, workers)
    assert [one.worker.id for one in liveness.lost(20, workers, until=60)] == ["w2", "w1"]
