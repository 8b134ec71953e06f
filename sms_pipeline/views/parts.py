"""How many parts a run has sent: what providers charge for. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sms_pipeline.core.parts import parts_per_message
from sms_pipeline.core.progress import Progress
from sms_pipeline.views.format import count, mean_parts


def parts_sent(progress: Progress) -> int | None:
    """In all attempts; None if nobody knows.

    The ledger has attempts, not parts: which texts were tried again makes hardly a difference.
    """
    each = parts_per_message(progress.simulation, progress.seed)
    return None if each is None else round(each * progress.counts.attempts_made)


def parts_lines(progress: Progress) -> Iterator[str]:
    """For people; nothing if nobody knows."""
    each, sent = parts_per_message(progress.simulation, progress.seed), parts_sent(progress)
    if each is not None and sent is not None:
        about = "" if each.is_integer() else "about "
        yield f"Parts: {about}{count(sent)} in all attempts, {mean_parts(each)} a message."


def parts_json(progress: Progress) -> dict[str, Any]:
    """The fields of `--json`."""
    return {
        "parts_per_message": parts_per_message(progress.simulation, progress.seed),
        "parts_sent": parts_sent(progress),
    }
