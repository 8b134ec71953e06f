"""Who may have got a message twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sms_pipeline.core.failover import Failover
from sms_pipeline.core.records import Settlement, WorkerRow
from sms_pipeline.core.twice import maybe_twice, vanished
from tests.unit import make
from tests.unit.make import NOON

BATCH = make.row(1, 3, 30)
#: The first attempt is settled 10 s after dispatch, the second at 2 of its messages 10 s later.
CHAIN = (
    make.settlement(
        1, 3, 0, worker="w2", delivered=8, retried=2, remainder=make.bitmap(1, 4),
        settled_at=NOON + 10,
    ),
    make.settlement(
        1, 3, 1, worker="w2", messages=2, delivered=2, taken=make.bitmap(1, 4),
        settled_at=NOON + 20,
    ),
)  # fmt: skip
ALL = list(range(30, 40))


def gone(seen_at: float, **values: object) -> WorkerRow:
    return make.worker(**{"id": "w1", "joined_at": NOON - 100, "seen_at": NOON + seen_at, **values})


def found(
    chain: Sequence[Settlement] = CHAIN,
    workers: Sequence[WorkerRow] = (),
    resumed_at: Sequence[float] = (),
    failover: Failover | None = None,
    others: Sequence[WorkerRow] = (),
) -> list[tuple[int, list[int], str]]:
    moments = [NOON + at for at in resumed_at]
    return [
        (one.attempt, list(one.indexes), one.why)
        for one in maybe_twice(BATCH, chain, workers, moments, failover, [*workers, *others])
    ]


def test_nobody_without_a_crash() -> None:
    assert found() == []


def test_an_attempt_that_a_vanished_worker_may_have_begun() -> None:
    # It vanished while the first attempt was open, or the second, or before both, or after.
    assert found(workers=[gone(5)]) == [(1, ALL, "worker w1 vanished")]
    assert found(workers=[gone(15)]) == [(2, [31, 34], "worker w1 vanished")]
    assert found(workers=[gone(-5)]) == []
    assert found(workers=[gone(25)]) == []


@pytest.mark.parametrize(("seen_at", "attempts"), [(-1, [1]), (9, [1, 2]), (11, [1, 2]), (21, [2])])
def test_when_a_worker_was_last_seen_is_known_to_a_moment(
    seen_at: float, attempts: list[int]
) -> None:
    assert [attempt for attempt, *_ in found(workers=[gone(seen_at)])] == attempts


def test_messages_are_named_with_their_batch() -> None:
    (one,) = maybe_twice(BATCH, CHAIN, [gone(5)], [])
    assert one.batch is BATCH


def test_what_the_vanished_worker_settled_itself_was_sent_once() -> None:
    assert found(workers=[gone(5, id="w2")]) == []


def test_a_vanished_worker_of_another_profile_had_none_of_it() -> None:
    assert found(workers=[gone(5, profile="slow")]) == []
    assert found(workers=[gone(5, profile="slow")], failover=Failover(unattended=None)) == []


def test_one_that_may_have_taken_it_over_may_have_begun_it() -> None:
    other = [gone(5, profile="slow")]
    assert found(workers=other, failover=Failover()) == [(1, ALL, "worker w1 vanished")]
    # Not where a worker of the profile was there for long, and still was
    there = make.worker("w2", joined_at=NOON - 100, seen_at=NOON + 6)
    assert found(workers=other, failover=Failover(), others=[there]) == []
    late = make.worker("w2", joined_at=NOON - 50, seen_at=NOON + 6)
    assert found(workers=other, failover=Failover(), others=[late])
    gone_before = make.worker("w2", joined_at=NOON - 100, left_at=NOON + 4, seen_at=NOON + 6)
    assert found(workers=other, failover=Failover(), others=[gone_before])


def test_an_attempt_of_another_profile_may_have_been_begun_by_its_workers() -> None:
    after_one = Failover(attempts=1, to="slow", unattended=None)
    again = [(2, [31, 34], "worker w1 vanished")]
    assert found(workers=[gone(15, profile="slow")], failover=after_one) == again
    assert found(workers=[gone(15)], failover=after_one) == []


def test_a_worker_that_joined_later_had_none_of_it() -> None:
    assert [attempt for attempt, *_ in found(workers=[gone(12, joined_at=NOON + 11)])] == [2]


def test_what_is_not_settled_yet() -> None:
    assert found(CHAIN[:1], [gone(15)]) == [(2, [31, 34], "worker w1 vanished")]
    assert found((), [gone(15)]) == [(1, ALL, "worker w1 vanished")]


def test_what_was_under_way_when_the_run_was_resumed() -> None:
    assert found(resumed_at=[5]) == [(1, ALL, "resumed")]
    assert found(resumed_at=[10]) == [(2, [31, 34], "resumed")]
    assert found(resumed_at=[5, 12, 30]) == [(1, ALL, "resumed"), (2, [31, 34], "resumed")]


def test_an_attempt_that_was_cancelled_was_not_sent() -> None:
    cancelled = make.settlement(1, 3, 0, delivered=0, cancelled=10, settled_at=NOON + 10)
    assert found([cancelled], [gone(5)], [5]) == []


def test_a_worker_that_signed_off_or_is_there_has_not_vanished() -> None:
    workers = [
        make.worker("left", left_at=NOON),
        make.worker("there"),
        make.worker("gone"),
    ]
    assert [one.id for one in vanished(workers, ["there"])] == ["gone"]
