"""What became of one message follows from the settlements of its batch."""

from __future__ import annotations

import pytest

from sms_pipeline.core.records import Settlement
from sms_pipeline.core.story import Attempt, Outcome, attempts_at
from tests.unit import make
from tests.unit.make import NOON, bitmap

#: The batch has the messages 100 to 109.
FIRST = 100
BATCH = make.row(1, 3, FIRST)

#: Of ten messages two are delivered at the second attempt, one at the third, and one never.
CHAIN = (
    make.settlement(1, 3, 0, delivered=6, retried=4, remainder=bitmap(2, 5, 7, 9)),
    make.settlement(
        1, 3, 1, messages=4, delivered=2, retried=2, taken=bitmap(2, 5, 7, 9),
        remainder=bitmap(7, 9), worker="w2", settled_at=NOON + 5,
    ),
    make.settlement(
        1, 3, 2, messages=2, delivered=1, failed=1, taken=bitmap(7, 9), failed_indexes=[109],
        settled_at=NOON + 9,
    ),
)  # fmt: skip


def outcomes(
    offset: int, *chain: Settlement, not_reached: str | None = None
) -> list[tuple[int, str]]:
    """(attempt, outcome) of a message of the batch."""
    found = attempts_at(FIRST + offset, BATCH, chain, not_reached)
    return [(attempt.number, attempt.outcome.value) for attempt in found]


@pytest.mark.parametrize(
    ("offset", "not_reached", "story"),
    [
        (0, None, ["delivered"]),
        (8, None, ["delivered"]),
        (2, None, ["failed, to be retried", "delivered"]),
        (7, None, ["failed, to be retried", "failed, to be retried", "delivered"]),
        (9, "failed", ["failed, to be retried", "failed, to be retried", "failed"]),
    ],
)
def test_message_is_tried_until_it_is_delivered_or_out_of_attempts(
    offset: int, not_reached: str | None, story: list[str]
) -> None:
    found = outcomes(offset, *CHAIN, not_reached=not_reached)
    assert found == list(enumerate(story, start=1))


def test_each_attempt_says_when_and_by_whom_it_was_settled() -> None:
    first, second = attempts_at(FIRST + 2, BATCH, CHAIN, None)
    assert first == Attempt(1, NOON + 1, "fast", "w1", Outcome.RETRIED)
    assert second == Attempt(2, NOON + 5, "fast", "w2", Outcome.DELIVERED)


def test_message_that_came_too_late_is_expired() -> None:
    one = make.settlement(1, 3, 0, delivered=9, expired=1, expired_indexes=[104])
    assert outcomes(4, one, not_reached="expired") == [(1, "expired")]
    assert outcomes(3, one) == [(1, "delivered")]


def test_message_of_an_attempt_that_was_not_made_is_cancelled() -> None:
    cancelled = Settlement.cancellation((1, 3, 1), "fast", "w1", 4, NOON + 5, bitmap(2, 5, 7, 9))
    chain = (CHAIN[0], cancelled)
    assert outcomes(5, *chain) == [(1, "failed, to be retried"), (2, "cancelled")]
    assert outcomes(0, *chain) == [(1, "delivered")]


def test_message_whose_next_attempt_is_not_settled_has_those_before() -> None:
    assert outcomes(9, *CHAIN[:2]) == [(1, "failed, to be retried"), (2, "failed, to be retried")]
    assert outcomes(9) == []


@pytest.mark.parametrize("size", [1, 7, 8, 9, 64, 65])
def test_every_place_of_a_batch_has_its_own_bit(size: int) -> None:
    batch = make.row(1, 0, 0, size)
    for index in range(size):
        left = make.settlement(1, messages=size, retried=1, remainder=bitmap(index, size=size))
        retried = [
            one
            for one in range(size)
            for attempt in attempts_at(one, batch, [left], None)
            if attempt.outcome is Outcome.RETRIED
        ]
        assert retried == [index]
