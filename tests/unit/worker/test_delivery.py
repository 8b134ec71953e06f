"""The protocol of a delivery: what it asks for, when, and what it does with the answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.hours import Window
from sms_pipeline.core.records import Absorbed, Control, Settled, Standing
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.steps import drive
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.worker.delivery import (
    LONGEST_CLOSED_SECONDS,
    PAUSE_SECONDS,
    Effect,
    Note,
    Play,
    Played,
    Publish,
    ReadStanding,
    Settle,
    deliver,
)
from tests.unit import make
from tests.unit.make import NOON, bitmap

NOTHING_SETTLED = Standing(Control.RUNNING, None)
#: Of a batch of ten: the third and the last message were not delivered.
UNSUCCESSFUL = [2, 9]


class Shell:
    """Answers effects by their type and notes them."""

    def __init__(self, answers: Mapping[type, Any]) -> None:
        self.asked: list[Effect] = []
        self._answers = answers

    def perform(self, effect: Effect) -> Any:
        self.asked.append(effect)
        answer = self._answers.get(type(effect))
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def kinds(self) -> list[type]:
        return [type(effect) for effect in self.asked]

    def only(self, kind: type) -> Any:
        (found,) = [effect for effect in self.asked if type(effect) is kind]
        return found


def played(batch: Batch) -> Played:
    delivered = ~np.isin(batch.positions(), UNSUCCESSFUL)
    return Played(Outcomes(np.full(batch.count, 0.5), delivered), np.full(batch.count, NOON + 3))


def delivery(
    batch: Batch,
    standing: Standing = NOTHING_SETTLED,
    settled: Settled | Exception | None = None,
    **options: bool,
) -> tuple[Shell, str | None]:
    """Let a batch be delivered to a worker, and return what it asked for and what it said."""
    shell = Shell(
        {
            ReadStanding: standing,
            Play: played(batch),
            Settle: settled or Settled(bitmap(*UNSUCCESSFUL)),
        }
    )
    steps = deliver(batch, "w1", ManualClock(NOON + 4), **options)
    return shell, drive(steps, shell.perform)


def test_an_attempt_is_played_settled_and_its_remainder_handed_on() -> None:
    batch = make.batch(10)
    shell, said = delivery(batch)
    assert shell.kinds == [ReadStanding, Play, Settle, Publish]
    settlement = shell.only(Settle).settlement
    assert (settlement.worker, settlement.settled_at) == ("w1", NOON + 4)
    assert (settlement.delivered, settlement.retried) == (8, 2)
    assert shell.only(Publish).batch == batch.remainder(np.array(UNSUCCESSFUL))
    assert said == f"retried as run 1, batch 0: 2 SMS, attempt 2 in {shell.only(Publish).delay} s"


def test_what_is_handed_on_is_what_the_ledger_holds_not_what_was_played() -> None:
    shell, _ = delivery(make.batch(10), settled=Settled(bitmap(5), new=False))
    assert shell.only(Publish).batch.positions().tolist() == [5]
    assert shell.only(Note).kind is Absorbed.REPEATED


def test_nothing_is_handed_on_when_nothing_is_left() -> None:
    shell, said = delivery(make.batch(10), settled=Settled(None))
    assert shell.kinds == [ReadStanding, Play, Settle]
    assert said is None


def test_the_pause_before_a_retry_follows_the_policy() -> None:
    policy = RetryPolicy(backoff=8, jitter=0)
    shell, _ = delivery(make.batch(10, retry=policy))
    assert shell.only(Publish).delay == 8


def test_an_attempt_that_is_settled_is_answered_and_not_played() -> None:
    batch = make.batch(10)
    standing = Standing(Control.RUNNING, Settled(bitmap(1), new=False))
    shell, _ = delivery(batch, standing)
    assert shell.kinds == [ReadStanding, Note, Publish]
    assert shell.only(Note) == Note(Absorbed.ANSWERED, batch)
    assert shell.only(Publish).batch.attempt == 1


@pytest.mark.parametrize("control", [Control.PAUSED, Control.CANCELLED])
def test_what_is_settled_is_handed_on_whatever_the_user_wants_by_now(control: Control) -> None:
    shell, _ = delivery(make.batch(10), Standing(control, Settled(bitmap(1), new=False)))
    assert shell.kinds == [ReadStanding, Note, Publish]


def test_an_attempt_that_left_nothing_ends_there() -> None:
    standing = Standing(Control.RUNNING, Settled(None, new=False))
    shell, said = delivery(make.batch(10), standing)
    assert (shell.kinds, said) == ([ReadStanding, Note], None)


def test_a_batch_of_a_paused_run_comes_back_as_it_is() -> None:
    batch = make.batch(10)
    shell, said = delivery(batch, Standing(Control.PAUSED, None))
    assert shell.asked == [ReadStanding(batch), Publish(batch, PAUSE_SECONDS)]
    assert said == "retried as run 1, batch 0: 10 SMS in 2 s"


def test_without_a_queue_a_pause_holds_nothing_up() -> None:
    shell, _ = delivery(make.batch(10), Standing(Control.PAUSED, None), queued=False)
    assert Play in shell.kinds


def test_a_batch_of_a_cancelled_run_is_settled_without_being_played() -> None:
    shell, said = delivery(make.batch(10), Standing(Control.CANCELLED, None), Settled(None))
    assert (shell.kinds, said) == ([ReadStanding, Settle], None)
    settlement = shell.only(Settle).settlement
    assert (settlement.cancelled, settlement.settled_at) == (10, NOON + 4)


def test_senders_are_told_until_when_they_may_start() -> None:
    assert delivery(make.batch(10, deadline=5.0))[0].only(Play).give_up_at == NOON + 5


def test_what_ended_after_the_deadline_has_expired() -> None:
    shell, _ = delivery(make.batch(10, deadline=2.0))
    assert shell.only(Settle).settlement.expired == 10


def test_an_attempt_that_cannot_be_settled_is_not_handed_on() -> None:
    with pytest.raises(ConnectionError):
        delivery(make.batch(10), settled=ConnectionError())


def test_nothing_is_handed_on_before_it_is_settled() -> None:
    shell, _ = delivery(make.batch(10))
    assert shell.kinds.index(Settle) < shell.kinds.index(Publish)


def window(opens: float, hours: float = 1.0) -> Window:
    """Hours that begin so many hours after now, to the minute."""
    start = datetime.fromtimestamp(NOON + opens * 3_600, UTC)
    end = start + timedelta(hours=hours)
    return Window(hours=f"{start:%H:%M}-{end:%H:%M}", zone="UTC")


def test_outside_its_hours_a_batch_comes_back_as_it_is() -> None:
    batch = make.batch(10, window=window(opens=1))
    shell, said = delivery(batch)
    # No later than in a minute, so that `cancel` takes effect
    assert shell.asked == [ReadStanding(batch), Publish(batch, LONGEST_CLOSED_SECONDS)]
    assert said == "retried as run 1, batch 0: 10 SMS in 60 s"


@pytest.mark.parametrize(("opens_in", "delay"), [(10.5, 11), (0.25, 1)])
def test_a_batch_comes_back_when_its_hours_begin(opens_in: float, delay: int) -> None:
    batch = make.batch(10, window=window(opens=1))
    opening = NOON + 3_600 - NOON % 60
    steps = deliver(batch, "w1", ManualClock(opening - opens_in))
    shell = Shell({ReadStanding: NOTHING_SETTLED})
    drive(steps, shell.perform)
    assert shell.only(Publish).delay == delay


def test_what_is_cancelled_or_expired_does_not_wait_for_its_hours() -> None:
    closed = window(opens=1)
    shell, _ = delivery(make.batch(10, window=closed), Standing(Control.CANCELLED, None))
    assert shell.only(Settle).settlement.cancelled == 10
    shell, _ = delivery(make.batch(10, window=closed, deadline=2.0))
    assert shell.only(Play).give_up_at == NOON + 2
    # One that expires before that comes back when it does
    shell, _ = delivery(make.batch(10, window=closed, deadline=9.0))
    assert shell.only(Publish).delay == 5


def cut_short(batch: Batch, unsent: list[int]) -> tuple[Shell, str | None]:
    """A delivery whose senders took all but these before the hours were over."""
    left = np.isin(batch.positions(), unsent)
    seen = played(batch)
    delivered = seen.outcomes.delivered & ~left
    outcomes = seen.outcomes._replace(delivered=delivered, unsent=left)
    shell = Shell(
        {
            ReadStanding: NOTHING_SETTLED,
            Play: seen._replace(outcomes=outcomes),
            Settle: Settled(bitmap(*sorted({*unsent, *UNSUCCESSFUL}))),
        }
    )
    said = drive(deliver(batch, "w1", ManualClock(NOON + 4)), shell.perform)
    return shell, said


def test_no_attempt_is_made_of_a_batch_that_no_sender_took_before_its_hours_were_over() -> None:
    batch = make.batch(10, window=window(opens=0))
    shell, _ = cut_short(batch, list(range(10)))
    assert shell.kinds == [ReadStanding, Play, Publish]
    assert shell.only(Play).closes_at == NOON + 3_600 - NOON % 60
    assert shell.only(Publish).batch == batch


def test_an_attempt_that_its_hours_cut_short_does_not_count() -> None:
    # Given the last attempt that is allowed
    once = RetryPolicy(max_attempts=1)
    batch = make.batch(10, window=window(opens=0), retry=once)
    shell, _ = cut_short(batch, [7, 8])
    # Then what was left unsent has not failed, but what did has
    settlement = shell.only(Settle).settlement
    assert (settlement.failed, settlement.retried) == (2, 2)
    assert settlement.remainder == bitmap(7, 8)
    # And the next one is the last again
    following = shell.only(Publish).batch
    assert (following.attempt, following.spared) == (1, 1)
    assert not following.retry.allows_after(following.attempt - following.spared)
