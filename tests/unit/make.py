"""Short ways to make what the tests need; what a test does not name is unimportant to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.bitmap import pack_offsets
from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.histogram import count_buckets
from sms_pipeline.core.messages import make_columns
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import BatchRow, Control, Settlement, Snapshot, WorkerRow
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation

#: A moment, seconds since the epoch.
NOON = 1_700_000_000.0


def profile(name: str = "fast", **values: Any) -> SenderProfile:
    return SenderProfile(**{"name": name, "mean_time": 0.1, "failure_rate": 0.1, **values})


def simulation(**values: Any) -> Simulation:
    return Simulation(**{"senders": (profile("fast"), profile("slow")), **values})


def batch(size: int = 10, seed: int = 7, first_index: int = 0, **values: Any) -> Batch:
    columns = make_columns(seed, first_index, size, 100, "xxx-xxx-xxxx")
    return Batch(
        **{
            "ledger": "ledger",
            "run": 1,
            "number": 0,
            "first_index": first_index,
            "size": size,
            "profile": "fast",
            "attempt": 0,
            "started_at": NOON,
            "queued_at": NOON,
            "seed": seed,
            "retry": RetryPolicy(),
            "to": columns.to,
            "text": columns.text,
            **values,
        }
    )


def row(run: int, number: int = 0, first_index: int = 0, size: int = 10, **values: Any) -> BatchRow:
    return BatchRow(
        **{
            "run": run,
            "number": number,
            "profile": "fast",
            "first_index": first_index,
            "size": size,
            "queued_at": NOON,
            **values,
        }
    )


def settlement(run: int, number: int = 0, attempt: int = 0, **values: Any) -> Settlement:
    """All of ten messages delivered, unless `values` says otherwise."""
    return Settlement(
        **{
            "key": (run, number, attempt),
            "profile": "fast",
            "worker": "w1",
            "messages": 10,
            "delivered": 10,
            "failed": 0,
            "retried": 0,
            "send_seconds": 1.0,
            "delivery_seconds": 2.0,
            "transit_seconds": 1.5,
            "settled_at": NOON + 1,
            "taken": None,
            "remainder": None,
            **values,
        }
    )


#: How long each message takes in an honest settlement, seconds.
EACH = 0.2


def honest(run: int, number: int = 0, attempt: int = 0, **values: Any) -> Settlement:
    """The same, with times that fit what it says was delivered and failed."""
    timed = values.get("delivered", 10) + values.get("failed", 0)
    seconds = {"delivery_seconds": EACH * timed, "transit_seconds": EACH * timed}
    times = count_buckets(np.full(max(timed, 0), EACH))
    longest = EACH if timed else 0.0
    return settlement(
        run,
        number,
        attempt,
        **{**seconds, "delivery_times": times, "longest_delivery": longest, **values},
    )


def bitmap(*offsets: int, size: int = 10) -> bytes:
    return pack_offsets(list(offsets), size)


def counts(profile: str = "fast", **values: Any) -> ProfileCounts:
    return ProfileCounts(profile=profile, **values)


def worker(id: str = "w1", heartbeat: int = 1, **values: Any) -> WorkerRow:
    return WorkerRow(
        **{
            "id": id,
            "profile": "fast",
            "senders": 5,
            "mean_time": 0.1,
            "failure_rate": 0.1,
            "heartbeat": heartbeat,
            "joined_at": NOON,
            "left_at": None,
            "shape": 16.0,
            "max_time": None,
            "seen_at": NOON,
            **values,
        }
    )


def snapshot(*profiles: ProfileCounts, **values: Any) -> Snapshot:
    return Snapshot(
        **{
            "run": 1,
            "total": 100,
            "seed": 7,
            "simulation": simulation(),
            "control": Control.RUNNING,
            "profiles": profiles,
            "workers": (),
            "started_at": NOON,
            "settled_at": None,
            **values,
        }
    )
