"""Who would send a run over the broker, beside its configuration. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import WorkerRow
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.views.format import count, exact_percent, exact_seconds


def fewest(rows: Sequence[WorkerRow]) -> int | None:
    """How many workers each profile has at least; None without any."""
    return min(Counter(row.profile for row in rows).values(), default=None)


def other_senders(simulation: Simulation, rows: Sequence[WorkerRow]) -> Iterator[str]:
    """A note if workers have other senders than the configuration."""
    others = {
        _senders(row)
        for sender in simulation.senders
        for row in rows
        if row.profile == sender.name and not _plays(row, sender)
    }
    if others:
        yield (
            "Note: workers have other senders than the configuration, and the run goes by those: "
            f"{', '.join(sorted(others))}."
        )


def _plays(row: WorkerRow, sender: SenderProfile) -> bool:
    return row == WorkerRow.playing(sender, row.id, row.heartbeat, row.joined_at, row.seen_at)


def _senders(row: WorkerRow) -> str:
    return (
        f"{row.profile} {count(row.senders)} at {exact_seconds(row.mean_time)} "
        f"failing {exact_percent(row.failure_rate)}"
    )
