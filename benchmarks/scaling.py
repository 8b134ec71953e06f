"""How rate and cost grow: over the number of senders, and over the number of messages.

Over senders, at a mean of one second a message: the asyncio reference, the sender bank alone on
the real clock, and the whole pipeline through RabbitMQ. Over messages: CPU seconds and wall-clock
seconds for a million, which stay flat where nothing piles up. `figures.py` draws the results.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks import harness
from benchmarks.bank import MEAN_SECONDS, WARM_UP_SECONDS, WINDOW_SECONDS
from benchmarks.harness import Record
from benchmarks.rehearsal import MILLION, Result, Services, Setting, rehearse

NAME = "scaling"
#: People in the United States, about.
POPULATION = 340_000_000
REFERENCE, BANK, PIPELINE, MESSAGES = "reference", "bank", "pipeline", "messages"

REFERENCE_SENDERS = (1, 10, 100, 1_000, 10_000, 20_000, 50_000, 100_000)
BANK_SENDERS = (1, 10, 100, 1_000, 10_000, 100_000, 500_000, 1_000_000, 2_000_000)
PIPELINE_SENDERS = (1, 10, 100, 1_000, 10_000, 50_000, 100_000, 300_000, 1_000_000)
#: Of the reference and of the pipeline: the last of them, when senders end one by one, is little.
SENDER_MESSAGES = 30
#: A reference that can't keep up takes far longer for its messages, so it needs fewer of them.
OVERLOADED_SENDERS, OVERLOADED_MESSAGES = 50_000, 10
MESSAGE_COUNTS = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
#: Short messages: the wait for the last ones must not be a part of what a small run costs.
MESSAGE_SENDERS, MESSAGE_MEAN_SECONDS = 10_000, 0.01

TINY_SENDERS = (100,)
TINY_SENDER_MESSAGES = 2
TINY_WARM_UP_SECONDS, TINY_WINDOW_SECONDS = 1.0, 3.0


def measure_reference(record: Record) -> None:
    """The asyncio reference."""
    for senders in TINY_SENDERS if record.tiny else REFERENCE_SENDERS:
        usual = OVERLOADED_MESSAGES if senders >= OVERLOADED_SENDERS else SENDER_MESSAGES
        found = harness.reference(senders, TINY_SENDER_MESSAGES if record.tiny else usual)
        add_point(record, REFERENCE, senders, found)


def measure_bank(record: Record) -> None:
    """The sender bank alone, each size in a process of its own."""
    warm_up = TINY_WARM_UP_SECONDS if record.tiny else WARM_UP_SECONDS
    window = TINY_WINDOW_SECONDS if record.tiny else WINDOW_SECONDS
    for senders in TINY_SENDERS if record.tiny else BANK_SENDERS:
        add_point(record, BANK, senders, bank(senders, warm_up, window))


def bank(senders: int, warm_up: float, window: float) -> dict[str, Any]:
    """One size of the bank."""
    return harness.in_own_process("bank", senders, "--warm-up", warm_up, "--window", window)


def measure_pipeline(record: Record, services: Services) -> None:
    """The whole pipeline, over whole runs."""
    for setting in pipeline_settings(record.tiny):
        add_point(record, PIPELINE, setting.senders, rehearse(services, setting).to_json())


def pipeline_settings(tiny: bool) -> Iterator[Setting]:
    """The same number of messages for each sender."""
    each = TINY_SENDER_MESSAGES if tiny else SENDER_MESSAGES
    for senders in TINY_SENDERS if tiny else PIPELINE_SENDERS:
        yield Setting(messages=senders * each, senders=senders, mean_time=MEAN_SECONDS)


def add_point(record: Record, curve: str, senders: int, row: dict[str, Any]) -> None:
    """A point of each of the three figures over senders."""
    point = {**row, "rate_per_sender": row["rate"] / senders}
    point["population_seconds"] = POPULATION / row["rate"] if row["rate"] else None
    record.add(curve, str(senders), point)
    print(f"{curve:<10}{senders:>10,} senders{row['rate']:>14,.0f}/s", flush=True)


def measure_messages(record: Record, services: Services) -> None:
    """What a million messages cost in runs of growing size."""
    for messages in MESSAGE_COUNTS:
        setting = Setting(messages, MESSAGE_SENDERS, MESSAGE_MEAN_SECONDS)
        row = cost(rehearse(services, setting))
        record.add(MESSAGES, str(messages), row)
        print(
            f"{messages:>20,} messages{row['cpu_seconds_per_million_in_all']:>10.2f} CPU s and "
            f"{row['wall_seconds_per_million']:.2f} s for a million",
            flush=True,
        )


def cost(result: Result) -> dict[str, Any]:
    """A rehearsal and what a million of its messages cost."""
    return {
        **result.to_json(),
        "cpu_seconds_per_million_in_all": sum(result.cpu_per_million.values()),
        "wall_seconds_per_million": result.seconds / result.setting.messages * MILLION,
        "ledger_bytes_per_million": result.ledger_bytes / result.setting.messages * MILLION,
    }


def measure(record: Record, services: Services) -> None:
    """The curves that are wanted."""
    if record.wants(REFERENCE):
        measure_reference(record)
    if record.wants(BANK):
        measure_bank(record)
    if record.wants(PIPELINE):
        measure_pipeline(record, services)
    if record.wants(MESSAGES) and not record.tiny:  # A rehearsal like any other.
        measure_messages(record, services)


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
