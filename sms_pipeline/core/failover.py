"""Who plays an attempt where its own profile does not deliver it, or has no workers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from sms_pipeline.core.frozen import Frozen
from sms_pipeline.core.profiles import PROFILE_NAME, SenderProfile, no_profile
from sms_pipeline.core.retry import MAX_ATTEMPTS, RetryPolicy
from sms_pipeline.core.times import AS_TIME

#: Longest time that a queue may be left unattended, seconds: a day.
MAX_UNATTENDED = 86_400


class Failover(Frozen):
    """When messages go from their own profile to another one."""

    attempts: int | None = Field(
        default=None,
        ge=1,
        le=MAX_ATTEMPTS,
        description="after so many failed attempts the others are made by `to`; null = never",
        examples=[2],
    )
    to: str | None = Field(
        default=None,
        pattern=f"^{PROFILE_NAME.pattern}$",
        description="the profile that makes them",
        examples=["standard"],
    )
    unattended: Annotated[float, Field(gt=0, le=MAX_UNATTENDED), AS_TIME] | None = Field(
        default=10.0,
        description="seconds without a worker after which idle workers of other profiles take "
        "over a profile's messages; null = never",
    )

    @staticmethod
    def switched(value: object) -> object:
        """`false` is short for none, `true` for the default."""
        if isinstance(value, bool):
            return {} if value else None
        return value

    def without(self, profile: str) -> Self:
        """The same where there is no such profile."""
        if profile != self.to:
            return self
        return self.model_copy(update={"attempts": None, "to": None})

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.attempts is not None and self.to is None:
            raise ValueError("attempts needs to: the profile that makes the others")
        if self.to is not None and self.attempts is None:
            raise ValueError("to needs attempts: how many must have failed")
        return self


def problem_of(failover: Failover, profiles: Sequence[str], retry: RetryPolicy) -> str | None:
    """What is wrong with it in a run with these profiles, in the user's words."""
    if failover.to is None:
        return None
    if failover.to not in profiles:
        return f"failover.to: {no_profile(failover.to, profiles)}"
    if len(profiles) == 1:
        return f"failover.to: {failover.to!r} is the only profile; there is no other one"
    if failover.attempts is not None and not retry.allows_after(failover.attempts - 1):
        return (
            f"failover.attempts is {failover.attempts}, but retry.max_attempts is "
            f"{retry.max_attempts}, so nothing would go to {failover.to!r}"
        )
    return None


def endless(
    profiles: Iterable[SenderProfile], failover: Failover | None, retry: RetryPolicy
) -> list[str]:
    """Profiles whose messages would never come to their end."""
    if retry.max_attempts is not None:
        return []
    to = failover.to if failover else None
    return [one.name for one in profiles if one.failure_rate == 1 and to in (None, one.name)]


class HandOver(NamedTuple):
    """Messages that go from one profile to another."""

    source: str
    target: str
    messages: int
    #: … of which no attempt had been made.
    untried: int = 0


def profile_of(home: str, attempt: int, failover: Failover | None) -> str:
    """The profile whose workers an attempt is meant for.

    Args:
        home: the profile that the batch was dispatched to.
        attempt: 0 is the first.
        failover: of the run; None: it has none.
    """
    if failover is None or failover.to is None or failover.attempts is None:
        return home
    return failover.to if attempt >= failover.attempts else home


def hand_overs(
    home: str, failover: Failover | None, attempt: int, played_by: str, messages: int, left: int
) -> Iterator[HandOver]:
    """What goes from profile to profile with one attempt.

    Args:
        home: the profile that the batch was dispatched to.
        failover: of the run.
        attempt: 0 is the first.
        played_by: the profile whose senders made it.
        messages: how many it took.
        left: how many of them are left for the next one.
    """
    meant_for = profile_of(home, attempt, failover)
    if played_by != meant_for:
        yield HandOver(meant_for, played_by, messages, 0 if attempt else messages)
    goes_to = profile_of(home, attempt + 1, failover)
    if left and played_by != goes_to:
        yield HandOver(played_by, goes_to, left)
