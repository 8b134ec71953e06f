"""Does the rate hold, and are the senders kept busy?

Six runs in a row on one broker, one ledger and one worker that is never restarted; then the
efficiency per sender: 50,000 senders through RabbitMQ, and the sender bank alone with 2,000,000.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks import harness
from benchmarks.bank import MEAN_SECONDS, WARM_UP_SECONDS, WINDOW_SECONDS
from benchmarks.harness import Record
from benchmarks.rehearsal import Services, Setting, fleet, rehearse
from benchmarks.scaling import bank
from benchmarks.throughput import PLENTY, TINY

NAME = "stability"
RUNS, TINY_RUNS = 6, 2
REPEATED = Setting(messages=20_000_000, senders=PLENTY, failure_rate=0.05)
#: 120 messages for each sender: the wave in which they end is little.
BUSY = Setting(messages=6_000_000, senders=50_000, mean_time=MEAN_SECONDS)
BANK_SENDERS = 2_000_000
ROW, PIPELINE, BANK = "runs in a row", "50,000 senders", "bank alone"


def measure_runs(record: Record, services: Services) -> None:
    """The same run again and again."""
    setting = replace(TINY, failure_rate=REPEATED.failure_rate) if record.tiny else REPEATED
    rates: list[float] = []
    with fleet(services, setting) as workers:
        for number in range(1, 1 + (TINY_RUNS if record.tiny else RUNS)):
            result = workers.rehearse(setting)
            rates.append(result.rate)
            record.add("runs", str(number), result.to_json())
            print(f"run {number}: {result.rate:,.0f}/s", flush=True)
    found = decay(rates)
    record.note(decay=found)
    print(f"the later half is {found['loss']:.1%} below the earlier", flush=True)


def decay(rates: list[float]) -> dict[str, Any]:
    """Whether the rate falls: the later half against the earlier, and the spread of all.

    A loss below 0 is a gain.
    """
    half = len(rates) // 2
    earlier, later = harness.median(rates[:half]), harness.median(rates[-half:])
    return {"loss": 1 - later / earlier, "spread": max(rates) / min(rates) - 1}


def measure_pipeline(record: Record, services: Services) -> None:
    """A run that is limited by its senders."""
    result = rehearse(services, BUSY)
    record.add("efficiency", PIPELINE, result.to_json())
    print(f"{result.setting.senders:,} senders: {result.efficiency:.1%} at work", flush=True)


def measure_bank(record: Record) -> None:
    """The steady part of the bank alone."""
    row = bank(BANK_SENDERS, WARM_UP_SECONDS, WINDOW_SECONDS)
    record.add("efficiency", BANK, row)
    print(f"bank alone, {row['senders']:,} senders: {row['efficiency']:.1%} at work", flush=True)


def measure(record: Record, services: Services) -> None:
    """The rows that are wanted."""
    if record.wants(ROW):
        measure_runs(record, services)
    if record.wants(PIPELINE) and not record.tiny:  # A tiny one is what `measure_runs` does.
        measure_pipeline(record, services)
    if record.wants(BANK) and not record.tiny:  # `scaling` has a tiny row of it.
        measure_bank(record)


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
