"""The ledger as one process sees it: at each call others go on, and anything may happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sms_pipeline.core.unattended import OpenRun
from sms_pipeline.ledger.store import Ledger
from tests.simulation import hub as hubs
from tests.simulation.chance import READ, WRITE, Chance, Fault
from tests.simulation.database import Database, unavailable
from tests.simulation.hub import Process

#: What a call takes, seconds, and how late what is late may come.
LATENCY = 0.01
LATENESS = (0.3, 6.0, 40.0)
#: Most statements of a transaction.
_STATEMENTS = 8
_READS = {"snapshot", "stuck", "run", "unsettled", "standing", "workers", "open_runs"}


class ProcessLedger:
    """What a process asks of the ledger; see `ledger.store.Ledger`."""

    def __init__(
        self, ledger: Ledger, process: Process, chance: Chance, database: Database
    ) -> None:
        self.id = ledger.id
        self._ledger = ledger
        self._process = process
        self._chance = chance
        self._database = database
        self._rng = chance.stream(f"{process.name}'s ledger")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._ledger, name)
        faults = READ if name in _READS else WRITE

        def call(*arguments: Any, **options: Any) -> Any:
            about = _about(name, arguments) if self._chance.tell else ""
            return self._call(name, about, faults, lambda: method(*arguments, **options))

        return call

    def _call(
        self, effect: str, about: str, among: tuple[Fault, ...], act: Callable[[], Any]
    ) -> Any:
        hubs.sleep(LATENCY * self._rng.random())
        fault = self._chance.fault(self._process.name, effect, among, about)
        is_early = self._rng.random() < 0.5
        if fault is Fault.DIES_BEFORE:
            self._process.die()
        if fault is Fault.LATE and not is_early:
            hubs.sleep(self._lateness())
        self._set_trap(fault)
        try:
            answer = act()
        finally:
            self._database.disarm()
        if fault in (Fault.DIES_DURING, Fault.DIES_DONE, Fault.DIES_AFTER):
            self._process.die()
        hubs.sleep(self._lateness() if fault is Fault.LATE and is_early else 0.0)
        return answer

    def _set_trap(self, fault: Fault | None) -> None:
        match fault:
            case Fault.DIES_DURING:
                self._database.fail_at_commit(self._process.die)
            case Fault.DIES_DONE:
                self._database.fail_after_commit(self._process.die)
            case Fault.FAILS:
                self._database.fail_at_statement(0)
            case Fault.FAILS_MIDWAY:
                self._fail_midway(int(self._rng.random() * _STATEMENTS))
            case Fault.SAYS_FAILED:
                self._database.fail_after_commit(_fail)

    def _fail_midway(self, statement: int) -> None:
        if statement:
            self._database.fail_at_statement(statement)
        else:
            self._database.fail_at_commit(_fail)

    def _lateness(self) -> float:
        return self._rng.random() * self._rng.choice(LATENESS)


class ForeignLedger:
    """Another ledger: it may list its own workers, and never judge a batch of ours."""

    def __init__(self, ledger: ProcessLedger, identity: str) -> None:
        self.id = identity
        self._ledger = ledger

    def open_runs(self) -> list[OpenRun]:
        """None."""
        return []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        assert name in ("join", "beat", "leave", "absorb"), f"another ledger was asked for {name}"
        return getattr(self._ledger, name)


def _fail() -> None:
    raise unavailable()


def _about(call: str, arguments: tuple[Any, ...]) -> str:
    """Which batches a call is about."""
    match call, arguments:
        case "standing", ((_, batch, attempt),):
            return f"batch {batch}, attempt {attempt + 1}"
        case "settle", (group,):
            return "; ".join(f"batch {one.key[1]}, attempt {one.key[2] + 1}" for one in group)
        case "record_batches", (_, rows):
            return f"batches {rows[0].number} to {rows[-1].number}"
        case "mark_published", (_, published):
            return ", ".join(f"batch {number}" for number, _ in published)
        case "control", (_, wanted):
            return str(wanted)
    return ""
