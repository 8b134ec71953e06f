"""An urgent run beside a bulk run, as against alone: the same run, in pairs, on one worker.

What counts is the time from the start of the run until 99 % of its messages are delivered.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks import harness
from benchmarks.harness import Record
from benchmarks.rehearsal import (
    TIMEOUT_SECONDS,
    Fleet,
    Services,
    Setting,
    await_done,
    await_run,
    command,
    fleet,
    write_config,
)
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.timeline import timeline
from sms_pipeline.ledger.verdict import Verdict
from tests.services.waiting import wait_until

NAME = "urgent"
PAIRS, TINY_PAIRS = 5, 1
SHARE = 0.99
#: With 10 %, two attempts deliver just 99 %: chance would decide whether a third is waited for.
FAILURE_RATE = 0.05
#: Of the bulk run, before the urgent one comes: its senders and all hands of its worker are busy.
BEGUN = 0.2
SMALL = Setting(messages=20_000, senders=2_000, failure_rate=FAILURE_RATE)
SETTINGS = {
    "20,000 messages, 2,000 senders": SMALL,
    "200,000 messages, 20,000 senders": Setting(200_000, senders=20_000, failure_rate=FAILURE_RATE),
}
#: How many times as many messages the bulk run has.
BULK = 5


def reached(workers: Fleet, setting: Setting) -> float:
    """Seconds that an urgent run takes until its share is delivered."""
    run = _produce(workers, replace(setting, urgent=True))
    await_done(workers.ledger, run)
    _require_proven(workers, run)
    seconds = timeline(workers.ledger, run, shares=(SHARE,)).time_to_reach[SHARE]
    assert seconds is not None, f"run {run.id} never reached {SHARE:.0%}"
    return seconds


def reached_beside(workers: Fleet, setting: Setting) -> float:
    """The same, while a bulk run has all that was published at once."""
    bulk = _produce(workers, replace(setting, messages=BULK * setting.messages, routing="static"))

    def finished() -> int:
        return workers.ledger.snapshot(bulk).counts.finished

    wait_until(lambda: finished() >= BEGUN * bulk.total, TIMEOUT_SECONDS, "bulk is being sent")
    seconds = reached(workers, setting)
    assert finished() < bulk.total, "the bulk run was over before the urgent one was"
    await_done(workers.ledger, bulk)
    _require_proven(workers, bulk)
    return seconds


def _produce(workers: Fleet, setting: Setting) -> Run:
    write_config(setting, workers.folder)
    latest = workers.ledger.latest_run_id()
    with command(workers.folder, workers.environment, "produce") as producer:
        run = await_run(workers.ledger, latest)
        producer.wait(TIMEOUT_SECONDS)
    return run


def _require_proven(workers: Fleet, run: Run) -> None:
    report = audit_ledger(workers.ledger, run)
    assert report.verdict is Verdict.PROVEN, "\n".join(report.lines())


def measure(record: Record, services: Services) -> None:
    """Every row that is wanted."""
    for title, setting in SETTINGS.items():
        if (record.tiny and setting is not SMALL) or not record.wants(title):
            continue
        pairs: list[dict[str, Any]] = []
        with fleet(services, setting) as workers:
            reached(workers, replace(setting, messages=setting.senders))  # To warm up.
            for _ in range(TINY_PAIRS if record.tiny else PAIRS):
                alone, beside = reached(workers, setting), reached_beside(workers, setting)
                pairs.append({"alone": alone, "beside": beside, "ratio": beside / alone})
                record.add("rows", title, {"ratio": ratio(pairs), "pairs": pairs})
                print(f"{title}: {alone:.2f} s alone, {beside:.2f} s beside a bulk run", flush=True)
        print(f"{title}: {ratio(pairs):.2f} times as long as alone", flush=True)


def ratio(pairs: list[dict[str, Any]]) -> float:
    """That of the middle pair."""
    return harness.median([pair["ratio"] for pair in pairs])


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
