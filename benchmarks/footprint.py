"""What the pipeline takes when little happens, and what it takes to start.

Seconds for `sms-pipeline --help` and from `sms-pipeline run` to its first settled batch; CPU and
memory of a worker that waits; memory of a million senders, of a producer, and of a worker for each
message in its hands.
"""

from __future__ import annotations

import subprocess
import time
from typing import Any

import psutil

from benchmarks import harness
from benchmarks.harness import Record
from benchmarks.rehearsal import (
    BIN,
    MEGABYTE,
    PROFILE,
    Fleet,
    Meter,
    Services,
    Setting,
    command,
    cpu_seconds,
    fleet,
    own_environment,
    resident_mb,
)
from benchmarks.scaling import bank
from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config.settings import Settings
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.trace import settlements_since
from tests.services.waiting import wait_until

NAME = "footprint"
HELP, FIRST_BATCH, IDLE, IN_FLIGHT, BANK = (
    "--help",
    "run to the first settled batch",
    "idle worker",
    "messages in flight",
    "bank of a million senders",
)
REPEATS = 5
IDLE_SECONDS, TINY_IDLE_SECONDS = 15.0, 1.0
#: After its start a worker still has this and that to do; so it has with what it has just taken.
CALM_SECONDS = 3.0
#: So slow that all messages are in the worker's hands before one batch is done.
HELD = Setting(messages=1_000_000, senders=1_000_000, mean_time=20.0, routing="static")
TINY_HELD = Setting(messages=1_000, senders=1_000, mean_time=20.0, routing="static")
BANK_SENDERS = 1_000_000
BANK_WARM_UP_SECONDS, BANK_WINDOW_SECONDS = 3.0, 3.0
TIMEOUT_SECONDS = 60.0


def seconds_of(arguments: list[str], services: Services) -> float:
    """How long `sms-pipeline` takes with these arguments."""
    began = time.perf_counter()
    subprocess.run(
        [BIN / "sms-pipeline", *arguments],
        cwd=services.new_folder(),
        env=own_environment(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def seconds_to_first_batch(services: Services) -> float:
    """From the start of `sms-pipeline run`, no server, to the first settlement in its ledger."""
    folder = services.new_folder()
    url = f"sqlite:///{folder / 'sms_pipeline.db'}"
    began_at = time.time()
    with command(folder, {}, "run") as process:
        process.wait(TIMEOUT_SECONDS)
    ledger = Ledger.open(url)
    try:
        return settlements_since(ledger, ledger.run().id, 0)[0].settled_at - began_at
    finally:
        ledger.close()


def repeated(record: Record, title: str, times: list[float]) -> None:
    """Keep the best and the middle of several measurements."""
    row = {"best_seconds": min(times), "median_seconds": harness.median(times)}
    record.add("rows", title, row)
    print(f"{title}: {row['median_seconds']:.2f} s (best {row['best_seconds']:.2f} s)", flush=True)


def idle(workers: Fleet, seconds: float) -> dict[str, float]:
    """CPU, in cores, and memory of a worker that has nothing to do."""
    process = psutil.Process(workers.workers[0])
    time.sleep(min(CALM_SECONDS, seconds))
    before, began = cpu_seconds([process]), time.monotonic()
    time.sleep(seconds)
    used = cpu_seconds([process]) - before
    return {"cores": used / (time.monotonic() - began), "resident_mb": resident_mb([process])}


def in_flight(workers: Fleet, setting: Setting) -> dict[str, Any]:
    """Memory of a worker for each message in its hands, and of the producer that made them."""
    worker = psutil.Process(workers.workers[0])
    before = resident_mb([worker])
    with workers.producing(setting) as producer:
        meter = Meter({"producer": [producer.pid]})
        meter.start()
        url = workers.environment["CELERY_BROKER_URL"]
        publisher = Publisher(url, Settings().queue_type)
        wait_until(lambda: _dispatched(workers) == setting.messages, TIMEOUT_SECONDS, "dispatched")
        wait_until(lambda: not publisher.depth([PROFILE]), TIMEOUT_SECONDS, "all are taken")
        time.sleep(CALM_SECONDS)
        held = resident_mb([worker])
        usage = meter.stop()
    assert not workers.ledger.snapshot(workers.ledger.run()).counts.finished
    return {
        "messages": setting.messages,
        "worker_mb_before": before,
        "worker_mb": held,
        "worker_bytes_per_message": (held - before) * MEGABYTE / setting.messages,
        "producer_peak_mb": usage["producer"].peak_mb,
    }


def _dispatched(workers: Fleet) -> int:
    if workers.ledger.latest_run_id() is None:
        return 0
    snapshot = workers.ledger.snapshot(workers.ledger.run())
    return sum(profile.dispatched for profile in snapshot.profiles)


def measure_worker(record: Record, services: Services) -> None:
    """A worker before it has work, and with its hands full."""
    setting = TINY_HELD if record.tiny else HELD
    with fleet(services, setting) as workers:
        row = idle(workers, TINY_IDLE_SECONDS if record.tiny else IDLE_SECONDS)
        record.add("rows", IDLE, row)
        print(f"{IDLE}: {row['cores']:.2%} of a core, {row['resident_mb']:.0f} MB", flush=True)
        held = in_flight(workers, setting)
        record.add("rows", IN_FLIGHT, held)
        print(
            f"{IN_FLIGHT}: worker {held['worker_bytes_per_message']:.0f} bytes each, "
            f"producer at most {held['producer_peak_mb']:.0f} MB",
            flush=True,
        )


def measure_bank(record: Record) -> None:
    """The process of a bank alone, all its senders at work."""
    row = bank(BANK_SENDERS, BANK_WARM_UP_SECONDS, BANK_WINDOW_SECONDS)
    record.add("rows", BANK, row)
    print(f"{BANK}: {row['peak_mb']:.0f} MB, {row['bank_mb']:.0f} of it the bank's", flush=True)


def measure(record: Record, services: Services) -> None:
    """The rows that are wanted."""
    repeats = 1 if record.tiny else REPEATS
    if record.wants(HELP):
        repeated(record, HELP, [seconds_of(["--help"], services) for _ in range(repeats)])
    if record.wants(FIRST_BATCH) and not record.tiny:
        times = [seconds_to_first_batch(services) for _ in range(repeats)]
        repeated(record, FIRST_BATCH, times)
    if record.wants(IDLE) or record.wants(IN_FLIGHT):
        measure_worker(record, services)
    if record.wants(BANK) and not record.tiny:  # `scaling` has a tiny row of it.
        measure_bank(record)


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
