"""How often, and after which pause, a failed message is tried again. Pure."""

from __future__ import annotations

import hashlib
import math
from typing import Annotated

from pydantic import Field

from sms_pipeline.core.frozen import Frozen
from sms_pipeline.core.times import AS_TIME

#: 2**64 seconds is beyond any `backoff_max`; larger exponents would only overflow.
_MAX_DOUBLINGS = 64
#: Far more than anybody waits for; null says "until delivered".
MAX_ATTEMPTS = 1_000_000
#: A day.
MAX_PAUSE = 86_400
Pause = Annotated[float, Field(ge=0, le=MAX_PAUSE), AS_TIME]
#: A number in [0, 1) is drawn from so many bytes.
_CHANCE_BYTES = 8
#: … of which so many bits fit in the number.
_MANTISSA_BITS = 53
_SPARE_BITS = 8 * _CHANCE_BYTES - _MANTISSA_BITS


class RetryPolicy(Frozen):
    """How often, and after which pause, a failed message is tried again."""

    max_attempts: int | None = Field(
        default=4,
        ge=1,
        le=MAX_ATTEMPTS,
        description="attempts in all; 1 = never retry, null = until delivered",
    )
    backoff: Pause = Field(default=1.0, description="seconds before the first retry")
    backoff_max: Pause = Field(default=60.0, description="longest pause, seconds")
    jitter: float = Field(
        default=0.5, ge=0, le=1, description="share of the pause that is random, 0 to 1"
    )

    def allows_after(self, attempt: int) -> bool:
        """Whether a message that failed in `attempt` (0 is the first) is tried again."""
        return self.max_attempts is None or attempt + 1 < self.max_attempts


def full_pause(policy: RetryPolicy, attempt: int) -> float:
    """Seconds after the failure of `attempt` (0 is the first), before chance shortens them."""
    return min(policy.backoff_max, policy.backoff * 2.0 ** min(attempt, _MAX_DOUBLINGS))


def retry_delay(policy: RetryPolicy, seed: int, key: tuple[int, int, int]) -> int:
    """Whole seconds between the failure of an attempt and the next one.

    pause = min(backoff_max, backoff * 2**attempt), then * (1 - jitter * u) with u uniform in
    [0, 1), rounded half up. Whole seconds, because the broker's delayed delivery knows no others.

    Args:
        policy: the retry policy.
        seed: that of the run.
        key: (run, batch number, attempt), where 0 is the first. u depends on seed and key alone, so
            who reads the ledger knows when a retry is due.
    """
    *_, attempt = key
    return math.floor(full_pause(policy, attempt) * (1 - policy.jitter * _chance(seed, key)) + 0.5)


def _chance(seed: int, key: tuple[int, int, int]) -> float:
    """A number in [0, 1), as good as random."""
    named = ",".join(map(str, (seed, *key))).encode()
    digest = hashlib.blake2b(named, digest_size=_CHANCE_BYTES).digest()
    return math.ldexp(int.from_bytes(digest) >> _SPARE_BITS, -_MANTISSA_BITS)


def longest_pause(policy: RetryPolicy) -> float:
    """The longest pause, in seconds, between two attempts at a message that the policy knows."""
    if policy.max_attempts is None:
        return policy.backoff_max
    return full_pause(policy, max(policy.max_attempts - 2, 0))
