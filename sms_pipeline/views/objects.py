"""The figures of a run as JSON, for `--json` and for the page of the dashboard."""

from __future__ import annotations

import math
from typing import Any

from sms_pipeline.core.counts import Counts
from sms_pipeline.core.progress import ProfileProgress, Progress
from sms_pipeline.views.format import iso
from sms_pipeline.views.parts import parts_json
from sms_pipeline.views.percentiles import percentiles, percentiles_on_phone
from sms_pipeline.views.states import cure


def progress_json(progress: Progress) -> dict[str, Any]:
    """The fields of `--json`."""
    counts = progress.counts
    return {
        "run": progress.run,
        "name": progress.simulation.name,
        "tags": progress.simulation.tags,
        "urgent": progress.simulation.urgent,
        "total": progress.total,
        "seed": progress.seed,
        "started_at": iso(progress.started_at),
        **counts_json(counts),
        **parts_json(progress),
        "seconds": round(progress.seconds, 3),
        "average_rate": round(progress.average_rate, 3),
        "done": progress.done,
        "state": progress.state.value,
        "cure": cure(progress),
        "control": progress.control.value,
        "rate": round(progress.rate, 3),
        "history": [round(rate, 3) for rate in progress.history],
        "paused_seconds": round(progress.paused_seconds, 3),
        "interrupted_seconds": round(progress.interrupted_seconds, 3),
        "still_seconds": round(progress.still_seconds, 3),
        "eta_seconds": rounded(progress.eta_seconds),
        "next_retry_seconds": rounded(progress.next_retry_seconds),
        "reached": rounded(progress.reached),
        "cost": rounded(progress.cost),
        "profiles": [profile_json(profile) for profile in progress.profiles],
        "warnings": list(progress.warnings),
        "thresholds": [judgement.to_json() for judgement in progress.thresholds],
    }


def profile_json(profile: ProfileProgress) -> dict[str, Any]:
    """A profile's part in the run."""
    return {
        "name": profile.name,
        "senders": profile.senders,
        "share": rounded(profile.share),
        **counts_json(profile.counts),
        "failure_rate": rounded(profile.failure_rate),
        "capacity": rounded(profile.capacity),
        "efficiency": rounded(profile.efficiency),
        "cost": rounded(profile.cost),
        "hosts": [{**part._asdict(), "capacity": rounded(part.capacity)} for part in profile.hosts],
    }


def counts_json(counts: Counts) -> dict[str, Any]:
    """What became of messages, and how long they took."""
    return {
        "dispatched": counts.dispatched,
        "in_flight": counts.in_flight,
        "backlog": counts.backlog,
        "retrying": counts.retrying,
        "handed_in": counts.handed_in,
        "handed_away": counts.handed_away,
        "delivered": counts.delivered,
        "failed": counts.failed,
        "expired": counts.expired,
        "cancelled": counts.cancelled,
        "attempts": counts.attempts_made,
        "failed_attempts": counts.failed_attempts,
        "failure_rate_seen": rounded(counts.failure_rate),
        "mean_send_seconds": rounded(counts.mean_send),
        "mean_send_in_all_seconds": rounded(counts.mean_send_in_all),
        "mean_transit_seconds": rounded(counts.mean_transit),
        "mean_delivery_seconds": rounded(counts.mean_delivery),
        **{
            f"{name}_delivery_seconds": rounded(seconds)
            for name, seconds in percentiles(counts).items()
        },
        **_on_phone_json(counts),
    }


def _on_phone_json(counts: Counts) -> dict[str, Any]:
    known = counts.on_phone
    return {
        "receipts": known.receipts,
        "without_receipt": known.missing,
        "mean_on_phone_seconds": rounded(known.mean),
        **{
            f"{name}_on_phone_seconds": rounded(seconds)
            for name, seconds in percentiles_on_phone(counts).items()
        },
    }


def rounded(value: float | None) -> float | None:
    """As JSON can hold it."""
    return None if value is None or math.isinf(value) else round(value, 6)
