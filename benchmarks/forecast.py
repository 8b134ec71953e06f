"""Forecasts against real runs: in one process, and through RabbitMQ with a worker a profile.

Each setting is forecast once and run for real with several seeds. Where the machine decides, what
it takes its time for is measured first. Every run is audited. The times at which 50, 90 and 99 % of
the messages were reached come from the ledger. While a run is on, what views say of the time left
is noted. Fleets that `plan` chose are run for real, too. `--only` runs a part: "RabbitMQ", "plan",
the name of a row.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks import harness
from benchmarks.harness import Record
from benchmarks.rehearsal import (
    TIMEOUT_SECONDS,
    Services,
    await_done,
    await_run,
    command,
    start_workers,
)
from sms_pipeline.cli.measure import machine
from sms_pipeline.config.files import load_simulation
from sms_pipeline.core.checks import messages_for
from sms_pipeline.core.records import Run
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import COSTS, Costs
from sms_pipeline.forecast.measuring import from_names
from sms_pipeline.forecast.outlook import SHARES, Outlook, Spread, look_ahead
from sms_pipeline.forecast.plan import Goal, make_plan
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.measurements import newest
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from sms_pipeline.views.reader import Reader

NAME = "forecast"
SEEDS, TINY_SEEDS = (4, 5, 6), (4,)
TINY_MESSAGES = 300
#: The time left is looked at from this part of a run on, and until so many seconds before its end.
_FROM, _LEAST_LEFT = 0.25, 1.0
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
    #: Whether the machine decides how long it takes: what it takes its time for is measured first.
    measured: bool = False


def _one(messages: int, workers: int | None = None, retry: Any = None, **sender: Any) -> Case:
    """One profile."""
    profile = {"name": "bench", "mean_time": 0.1, "failure_rate": 0.05, "count": 20} | sender
    configuration = {"num_messages": messages, "senders": [profile]}
    return Case(configuration | ({"retry": retry} if retry else {}), workers)


_LIMITED = {"name": "bench", "failure_rate": 0.02}


def _bad(events: list[dict[str, Any]], workers: int | None = None, **sender: Any) -> Case:
    """20,000 messages through two profiles, in about half a minute without the events."""
    senders = [
        {"name": "fast", "count": 60, "mean_time": 0.1, "failure_rate": 0.05} | sender,
        {"name": "slow", "count": 60, "mean_time": 0.4, "failure_rate": 0.05} | sender,
    ]
    return Case({"num_messages": 20_000, "senders": senders, "events": events}, workers)


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
    # So fast that what the machine takes is a part of it.
    "RabbitMQ, 600,000 senders": Case(
        {"num_messages": 6_000_000, "senders": [_BIG | {"count": 600_000}]}, 1, measured=True
    ),
}

#: Those with carriers' limits and bad days.
CASES |= {
    "bad day: parts a second": Case(
        {
            "num_messages": 3_000,
            "max_text_length": 400,
            "senders": [_LIMITED | {"mean_time": 1.0, "count": 40, "parts_per_second": 3}],
        }
    ),
    "bad day: outage": _bad([{"at": 5, "for": 10, "outage": True}]),
    "bad day: outage of half a profile": _bad(
        [{"at": 5, "for": 10, "profile": "fast", "share": 0.5, "outage": True}]
    ),
    "bad day: slowdown and failures": _bad(
        [{"at": 5, "for": 15, "profile": "slow", "slowdown": 3, "failure_rate": 0.6}]
    ),
    "bad day: validity": _bad(
        [{"at": 5, "for": 10, "profile": "fast", "outage": True}], validity=4
    ),
    "bad day: RabbitMQ, outage": _bad([{"at": 5, "for": 10, "outage": True}], workers=1),
}

_FAILING = {"name": "fast", "count": 60, "mean_time": 0.1, "failure_rate": 0.4}
_BACKUP = {"name": "backup", "count": 60, "mean_time": 0.4, "failure_rate": 0.05}
CASES |= {
    "failover: retries by another profile": Case(
        {
            "num_messages": 10_000,
            "senders": [_FAILING, _BACKUP],
            "failover": {"attempts": 1, "to": "backup"},
        },
        workers=1,
    ),
}

#: Senders take hardly any time.
_IDLE = {
    "senders": [{"name": "bench", "mean_time": 0.001, "failure_rate": 0.1, "count": 100_000}],
    "retry": {"backoff": 0.05},
}
#: Those in which the machine decides, measured just before.
CASES |= {
    "machine: one process": Case(_IDLE | {"num_messages": 5_000_000}, measured=True),
    "machine: RabbitMQ": Case(_IDLE | {"num_messages": 5_000_000}, workers=1, measured=True),
}

#: What is planned, and for what.
PLANS = {
    "plan: default, 5,000 in 20 s": (Case({"num_messages": 5_000}), Goal(0.99, 20.0)),
    "plan: five profiles, 20,000 in 30 s": (
        Case({"num_messages": 20_000, "senders": _FIVE}),
        Goal(0.9, 30.0),
    ),
    "plan: a million in 40 s": (
        Case({"num_messages": 1_000_000, "senders": [_BIG]}),
        Goal(0.99, 40.0),
    ),
}


def real_run(services: Services, case: Case, seed: int) -> dict[str, Any]:
    """When a real run reached its shares and ended, seconds from its start; and its time left.

    `eta_off` is by how much the time left was off, as a share of it: one figure for each look from
    a quarter of the run on.
    """
    folder = services.new_folder()
    config = folder / "simulation.yml"
    config.write_text(yaml.safe_dump(case.configuration | {"seed": seed}))
    database_url = services.database_url("sqlite")
    environment = {"SMS_DATABASE_URL": database_url, "SMS_CONFIG": str(config)}
    with ExitStack() as stack:
        ledger = Ledger.open(database_url)
        stack.callback(ledger.close)
        if case.workers is not None:
            environment["CELERY_BROKER_URL"] = stack.enter_context(services.vhost())
            profiles = [one.name for one in load_simulation(config).senders]
            start_workers(profiles * case.workers, folder, environment, stack)
        stack.enter_context(
            command(folder, environment, "run" if case.workers is None else "produce")
        )
        run = await_run(ledger)
        watched = Watched(ledger, run)
        await_done(ledger, run, look=watched.look)
        times = _times(ledger, run)
        return times | {"eta_off": watched.off(times["end"])}


class Watched:
    """What a view says of the time left, again and again."""

    def __init__(self, ledger: Ledger, run: Run) -> None:
        self._reader = Reader(ledger, run)
        self._told: list[tuple[float, float]] = []

    def look(self) -> None:
        """Note it, if it is known."""
        progress = self._reader.read().progress
        if progress.eta_seconds is not None:
            self._told.append((progress.seconds, progress.eta_seconds))

    def off(self, end: float | None) -> list[float]:
        """By which share of the time that was really left it was off, each time."""
        assert end is not None
        return [
            abs(told - (end - at)) / (end - at)
            for at, told in self._told
            if end * _FROM <= at <= end - _LEAST_LEFT
        ]


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


def compared(outlook: Outlook, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A forecast beside real runs: how far its times are off, at the middle one of the runs."""
    off = {}
    for share, spread in outlook.reached.items():
        seen = [at for run in runs if (at := run[f"{share:.0%}"]) is not None]
        if spread and len(seen) == len(runs):
            real = harness.median(seen)
            off[f"{share:.0%}"] = (spread.middle - real) / real
    ends = [run["end"] for run in runs]
    eta_off = [off for run in runs for off in run["eta_off"]]
    return {
        "forecast": {f"{share:.0%}": _numbers(one) for share, one in outlook.reached.items()}
        | {"end": _numbers(outlook.end)},
        "runs": [{name: at for name, at in run.items() if name != "eta_off"} for run in runs],
        "eta_off": harness.median(eta_off) if eta_off else None,
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
    costs = _measured(services, case, config) if case.measured else COSTS
    began = time.process_time()
    outlook = look_ahead(load_simulation(config), case.workers, costs=costs)
    cpu_seconds = time.process_time() - began
    runs = [real_run(services, case, seed) for seed in seeds]
    return compared(outlook, runs) | {"cpu_seconds": cpu_seconds, "workers": case.workers}


def _measured(services: Services, case: Case, config: Path) -> Costs:
    """What `sms-pipeline measure` finds out here."""
    database_url = services.database_url("sqlite")
    environment = {"SMS_DATABASE_URL": database_url, "SMS_CONFIG": str(config)}
    with ExitStack() as stack:
        if case.workers is not None:
            environment["CELERY_BROKER_URL"] = stack.enter_context(services.vhost())
        process = stack.enter_context(command(config.parent, environment, "measure"))
        assert process.wait(TIMEOUT_SECONDS) == 0
        ledger = Ledger.open_to_read(database_url)
        stack.callback(ledger.close)
        found = newest(ledger, machine(), embedded=case.workers is None)
        assert found is not None
        return from_names(found.costs)


def measure_plan(
    services: Services, case: Case, goal: Goal, seeds: tuple[int, ...]
) -> dict[str, Any]:
    """A fleet that was planned, run for real."""
    plan = make_plan(Simulation.model_validate(case.configuration, strict=False), goal)
    assert plan.chosen is not None
    fleet = Case(plan.chosen.simulation.model_dump(mode="json"), plan.chosen.workers)
    runs = [real_run(services, fleet, seed) for seed in seeds]
    reached = [run[f"{goal.share:.0%}"] for run in runs]
    return {
        "share": goal.share,
        "within": goal.within,
        "senders": plan.chosen.senders,
        "workers": plan.chosen.workers,
        "reached": reached,
        "in_time": sum(at is not None and at <= goal.within for at in reached),
    }


def measure(record: Record, services: Services) -> None:
    """The rows that are wanted."""
    seeds = TINY_SEEDS if record.tiny else SEEDS
    for title, whole in CASES.items():
        if record.wants(title):
            case = _tiny(whole) if record.tiny else whole
            row = measure_case(services, case, seeds)
            record.add("rows", title, row)
            print(_told(title, row, len(seeds)), flush=True)
    for title, (whole, goal) in PLANS.items():
        if record.wants(title):
            case = _tiny(whole) if record.tiny else whole
            row = measure_plan(services, case, goal, seeds)
            record.add("plans", title, row)
            print(f"{title:34} {row['in_time']} of {len(seeds)} in time", flush=True)


def _tiny(case: Case) -> Case:
    return replace(case, configuration=case.configuration | {"num_messages": TINY_MESSAGES})


def _told(title: str, row: dict[str, Any], runs: int) -> str:
    off = "  ".join(f"{share} {by:+.1%}" for share, by in row["off"].items())
    eta = "-" if row["eta_off"] is None else f"{row['eta_off']:.0%}"
    return (
        f"{title:34} {off}  ends {row['ends_inside']} of {runs} inside  "
        f"ETA off {eta}  forecast {row['cpu_seconds']:.1f} CPU s"
    )


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
