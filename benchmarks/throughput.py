"""End to end through RabbitMQ: messages a second, CPU and memory, beside the asyncio reference.

Each row is one audited rehearsal, read from the ledger: from the start of the run to its last
settlement, with the wave in which senders start and the tail of delayed retries. Both last seconds,
whatever the size of the run, so each run is long against them: a quarter of a minute and more, most
of them half a minute, of messages that take a second. The machine's speed drifts, so the reference
is measured before and after each row, and the better of the two is what the row is held against.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from benchmarks import harness
from benchmarks.harness import Record
from benchmarks.reference_asyncio import MESSAGES_PER_SENDER
from benchmarks.rehearsal import Result, Services, Setting, rehearse

NAME = "throughput"
#: Senders of the reference around its best point.
REFERENCE_SENDERS = (20_000, 35_000, 50_000)
TINY_REFERENCE_SENDERS = (200,)
#: More than can be kept busy: the pipeline is the limit, not the senders.
PLENTY = 1_000_000
BASE = Setting(messages=30_000_000, senders=PLENTY)
NO_FAILURES, FAILURES = "no failures", "10 % failures"
#: Batch sizes beside the automatic one, each with a run of a quarter of a minute and more.
BATCHES = ((1, 8_000), (10, 60_000), (100, 500_000), (1_000, 4_000_000), (5_000, 15_000_000))
#: Rows that a tiny run is content with: both databases, both ends of the batch size.
TINY_ROWS = ("PostgreSQL", "batch 1")
TINY = Setting(messages=10_000, senders=1_000, mean_time=0.01)
TINY_SINGLE_MESSAGES = 300


def settings() -> Iterator[tuple[str, Setting]]:
    """Every row of the table."""
    yield NO_FAILURES, BASE
    yield FAILURES, replace(BASE, failure_rate=0.1)
    yield "2 workers", replace(BASE, workers=2)
    yield "classic queue", replace(BASE, queue_type="classic")
    yield "PostgreSQL", replace(BASE, database="postgresql")
    for size, messages in BATCHES:
        yield f"batch {size:,}", replace(BASE, batch_size=size, messages=messages)
    yield "100,000 senders", Setting(messages=3_000_000, senders=100_000)


def shrink(setting: Setting) -> Setting:
    """The same at a size that takes a second."""
    messages = TINY_SINGLE_MESSAGES if setting.batch_size == 1 else TINY.messages
    return replace(setting, messages=messages, senders=TINY.senders, mean_time=TINY.mean_time)


def chosen(record: Record) -> Iterator[tuple[str, Setting]]:
    """The rows that this run is to measure, at their size."""
    for title, setting in settings():
        if record.tiny and title not in TINY_ROWS:
            continue
        if record.wants(title):
            yield title, shrink(setting) if record.tiny else setting


class Reference:
    """The asyncio reference: all sizes once, then its best size again and again."""

    def __init__(self, tiny: bool) -> None:
        """Measure all sizes."""
        self._per_sender = 1 if tiny else MESSAGES_PER_SENDER
        sizes = TINY_REFERENCE_SENDERS if tiny else REFERENCE_SENDERS
        self.measured = [harness.reference(size, self._per_sender) for size in sizes]
        self._best_size = max(self.measured, key=lambda found: found["rate"])["senders"]
        self.latest = self.best

    @property
    def best(self) -> float:
        """The best rate of all."""
        return float(max(found["rate"] for found in self.measured))

    def again(self) -> float:
        """Measure the best size; return the better of this rate and the one before."""
        before = self.latest
        self.measured.append(harness.reference(self._best_size, self._per_sender))
        self.latest = float(self.measured[-1]["rate"])
        return max(before, self.latest)


def to_row(result: Result, nearby: float) -> dict[str, Any]:
    """A row of the results."""
    return {**result.to_json(), "reference_nearby": nearby, "ratio": result.rate / nearby}


def line(name: str, result: Result, row: dict[str, Any]) -> str:
    """A line of the table."""
    used = "  ".join(f"{role} {value:.2f}" for role, value in result.cpu_per_million.items())
    return (
        f"{name:<18}{result.rate:>12,.0f}/s{row['ratio']:>8.1f} x"
        f"{result.efficiency:>8.1%} at work   CPU s per million: {used}"
    )


def measure(record: Record, services: Services) -> None:
    """Measure every row that is wanted, and print it."""
    reference = Reference(record.tiny)
    print(f"reference at its best: {reference.best:,.0f}/s", flush=True)
    for title, setting in chosen(record):
        result = rehearse(services, setting)
        row = to_row(result, reference.again())
        record.note(reference=reference.measured)
        record.add("rows", title, row)
        print(line(title, result, row), flush=True)


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
