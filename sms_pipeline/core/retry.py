"""How long a remainder waits for its next attempt. Pure."""

from __future__ import annotations

import math
import random

from sms_pipeline.config.simulation import RetryPolicy

#: 2**64 seconds is beyond any `backoff_max`; larger exponents would only overflow.
_MAX_DOUBLINGS = 64


def retry_delay(policy: RetryPolicy, attempt: int, rng: random.Random) -> int:
    """Whole seconds between the failure of `attempt` (0 is the first) and the next attempt.

    pause = min(backoff_max, backoff * 2**attempt), then * (1 - jitter * u) with u uniform in
    [0, 1), rounded half up. Whole seconds, because the broker's delayed delivery knows no others.
    """
    doublings = min(attempt, _MAX_DOUBLINGS)
    pause: float = min(policy.backoff_max, policy.backoff * 2.0**doublings)
    return math.floor(pause * (1 - policy.jitter * rng.random()) + 0.5)
