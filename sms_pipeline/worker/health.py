"""Whether a worker is alive, and whether it is ready to take batches. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sms_pipeline.worker.intake import AWAY_SECONDS
from sms_pipeline.worker.signs import Part, SignsOfLife


class Vitals(NamedTuple):
    """What one look at a worker that has joined its ledger finds; spans of time are in seconds."""

    worker: str
    #: Since the ledger last answered.
    ledger_silence: float
    #: Since settlements were last committed; None before that.
    commit_age: float | None
    #: Whether there is a connection to the broker, and batches are taken from it.
    is_consuming: bool
    #: Whether it finishes what is in hand, and takes no more.
    is_stopping: bool


class Health(NamedTuple):
    """What is to be told of a worker."""

    #: Whether it does its work, or waits for what others must mend. If not, only its end helps.
    live: bool
    #: Whether it takes batches and can settle them.
    ready: bool
    #: Why it is not live, or not ready.
    reasons: tuple[str, ...]
    #: The same and the figures behind it, for JSON.
    told: dict[str, Any]


def examine(host: str, signs: SignsOfLife, now: float, vitals: Vitals | None) -> Health:
    """The health of a worker.

    Args:
        host: where it runs.
        signs: when its parts last came round.
        now: on the clock of `signs`.
        vitals: None while it has not joined its ledger yet.
    """
    silent = [
        f"the {part} has not come round for {signs.silence(part, now) or 0.0:.0f} s"
        for part in signs.silent(now)
    ]
    reasons = (*silent, *_hindrances(vitals))
    live, ready = not silent, not reasons
    told = {
        "live": live,
        "ready": ready,
        "reasons": list(reasons),
        "host": host,
        "worker": vitals.worker if vitals else None,
        **{_key(part): _rounded(signs.silence(part, now)) for part in Part},
        "last_commit_seconds": _rounded(vitals.commit_age) if vitals else None,
        "ledger_seconds": _rounded(vitals.ledger_silence) if vitals else None,
        "consuming": vitals.is_consuming if vitals else False,
    }
    return Health(live, ready, reasons, told)


def _hindrances(vitals: Vitals | None) -> Iterator[str]:
    """What others must mend, or time will."""
    if vitals is None:
        yield "the worker is starting"
        return
    if vitals.is_stopping:
        yield "the worker is stopping"
    if vitals.ledger_silence > AWAY_SECONDS:
        yield f"the ledger has not answered for {vitals.ledger_silence:.0f} s"
    if not vitals.is_consuming:
        yield "the broker is not connected, or delivers nothing to this worker"


def _key(part: Part) -> str:
    return f"{part.replace(' ', '_')}_seconds"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
