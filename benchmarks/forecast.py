"""Forecasts against real runs: in one process, and through RabbitMQ with a worker a profile.

Each setting is forecast once and run for real with several seeds. Every run is audited. The times
at which 50, 90 and 99 % of the messages were reached come from the ledger.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks import harness
from benchmarks.harness import Record
from benchmarks.rehearsal import TIMEOUT_SECONDS, Services, command
from sms_pipeline.config.files import load_simulation
from sms_pipeline.core.checks import messages_for
from sms_pipeline.core.records import Run
from sms_pipeline.forecast.outlook import SHARES, Outlook, Spread, look_ahead
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

NAME = "forecast"
SEEDS, TINY_SEEDS = (1, 2, 3), (1,)
TINY_MESSAGES = 300
_POLL_SECONDS = 0.25
_BIG = {"name": "bench", "mean_time": 1.0, "failure_rate": 0.1, "count": 50_000}
_FIVE = [
    {"name": f"p{number}", "count": 10 * number, "mean_time": 0.05 * number, "failure_rate": 0.04}
    for number in range(1, 6)
]


@dataclass(frozen=True)
class Case:
    """A configuration, and where it is played."""

    configuration: dict[str, Any] = field(default_factory=dict)
    #: Worker processes of each profile; None: one process for all.
    workers: int | None = None


def _one(messages: int, workers: int | None = None, retry: Any = None, **sender: Any) -> Case:
    """One profile."""
    profile = {"name": "bench", "mean_time": 0.1, "failure_rate": 0.05, "count": 20} | sender
    configuration = {"num_messages": messages, "senders": [profile]}
    return Case(configuration | ({"retry": retry} if retry else {}), workers)


CASES = {
    "default": Case(),
    "default, 20,000": Case({"num_messages": 20_000}),
    "one sender": _one(400, count=1, mean_time=0.05),
    "five profiles": Case({"num_messages": 10_000, "senders": _FIVE}),
    "half of the attempts fail": _one(2_000, retry={"max_attempts": None}, failure_rate=0.5),
    "long tails": _one(5_000, shape=0.5, max_time=2.0),
    "long pauses": _one(5_000, retry={"backoff": 4.0, "max_attempts": 3}, failure_rate=0.2),
    "deadline": Case({"num_messages": 20_000, "deadline": 15}),
    "static routing": Case({"num_messages": 5_000, "routing": "static"}),
    "50,000 senders": Case({"num_messages": 1_000_000, "senders": [_BIG]}),
    "RabbitMQ, default, 10,000": Case({"num_messages": 10_000}, 1),
    "RabbitMQ, two workers a profile": Case({"num_messages": 20_000}, 2),
    "RabbitMQ, 50,000 senders": Case({"num_messages": 2_000_000, "senders": [_BIG]}, 1),
    "RabbitMQ, 600,000 senders": Case(
        {"num_messages": 6_000_000, "senders": [_BIG | {"count": 600_000}]}, 1
    ),
}


def real_times(services: Services, case: Case, seed: int) -> dict[str, float | None]:
    """When a real run reached its shares, and when it ended; seconds from its start."""
    folder = services.new_folder()
    config = folder / "simulation.yml"
    config.write_text(yaml.safe_dump(case.configuration | {"seed": seed}))
    database_url = services.database_url("sqlite")
    environment = {"SMS_DATABASE_URL": database_url, "SMS_CONFIG": str(config)}
    with ExitStack() as stack:
        ledger = Ledger.open(database_url)
        stack.callback(ledger.close)
        if case.workers is None:
            stack.enter_context(command(folder, environment, "run"))
        else:
            environment["CELERY_BROKER_URL"] = stack.enter_context(services.vhost())
            _start_workers(case, folder, environment, stack)
            stack.enter_context(command(folder, environment, "produce"))
        run = _await_end(ledger)
        return _times(ledger, run)


def _start_workers(case: Case, folder: Path, environment: dict[str, str], stack: ExitStack) -> None:
    simulation = load_simulation(folder / "simulation.yml")
    workers = [
        WorkerProcess(profile.name, folder, environment)
        for profile in simulation.senders
        for _ in range(case.workers or 1)
    ]
    for worker in workers:
        stack.callback(worker.kill)
        worker.start()
    for worker in workers:
        worker.ready()


def _await_end(ledger: Ledger) -> Run:
    wait_until(lambda: ledger.latest_run_id() is not None, TIMEOUT_SECONDS, "the run is registered")
    run = ledger.run()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not ledger.snapshot(run).done:
        assert time.monotonic() < deadline, f"run {run.id} is not done"
        time.sleep(_POLL_SECONDS)
    return run


def _times(ledger: Ledger, run: Run) -> dict[str, float | None]:
    report = audit_ledger(ledger, run)
    assert report.verdict is Verdict.PROVEN, "\n".join(report.lines())
    settled_at = ledger.snapshot(run).settled_at
    assert settled_at is not None
    found: dict[str, float | None] = {"end": settled_at - run.started_at}
    for share in SHARES:
        at = ledger.delivered_at(run.id, messages_for(share, run.total))
        found[f"{share:.0%}"] = None if at is None else at - run.started_at
    return found


def compared(outlook: Outlook, runs: list[dict[str, float | None]]) -> dict[str, Any]:
    """A forecast beside real runs: how far its times are off, at the middle one of the runs."""
    off = {}
    for share, spread in outlook.reached.items():
        seen = [at for run in runs if (at := run[f"{share:.0%}"]) is not None]
        if spread and len(seen) == len(runs):
            real = harness.median(seen)
            off[f"{share:.0%}"] = (spread.middle - real) / real
    ends = [end for run in runs if (end := run["end"]) is not None]
    return {
        "forecast": {f"{share:.0%}": _numbers(one) for share, one in outlook.reached.items()}
        | {"end": _numbers(outlook.end)},
        "runs": runs,
        "off": off,
        "ends_inside": sum(outlook.end.low <= end <= outlook.end.high for end in ends),
        "thinning_error": outlook.error,
    }


def _numbers(spread: Spread | None) -> list[float] | None:
    return None if spread is None else [spread.low, spread.middle, spread.high]


def measure_case(services: Services, case: Case, seeds: tuple[int, ...]) -> dict[str, Any]:
    """One setting."""
    folder = services.new_folder()
    config = folder / "simulation.yml"
    config.write_text(yaml.safe_dump(case.configuration))
    began = time.process_time()
    outlook = look_ahead(load_simulation(config), case.workers)
    cpu_seconds = time.process_time() - began
    runs = [real_times(services, case, seed) for seed in seeds]
    return compared(outlook, runs) | {"cpu_seconds": cpu_seconds, "workers": case.workers}


def measure(record: Record, services: Services) -> None:
    """The rows that are wanted."""
    seeds = TINY_SEEDS if record.tiny else SEEDS
    for title, whole in CASES.items():
        if not record.wants(title):
            continue
        tiny = Case(whole.configuration | {"num_messages": TINY_MESSAGES}, whole.workers)
        case = tiny if record.tiny else whole
        row = measure_case(services, case, seeds)
        record.add("rows", title, row)
        off = "  ".join(f"{share} {by:+.1%}" for share, by in row["off"].items())
        print(
            f"{title:34} {off}  ends {row['ends_inside']} of {len(seeds)} inside  "
            f"forecast {row['cpu_seconds']:.1f} CPU s",
            flush=True,
        )


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
