"""Which hosts workers are on. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sms_pipeline.core.records import WorkerRow

#: Of a worker's id, characters: the ledger has room for so many.
MAX_WORKER_ID = 128
#: What a worker process calls itself: at Celery, in the ledger, and so in every view.
_WORKER_ID = re.compile(r"(?P<name>.+)-(?P<process>\d+-[0-9a-f]+)@(?P<host>.+)", re.DOTALL)
#: As ledgers have it that were written before ids were the names of Celery's nodes.
_EARLIER_ID = re.compile(r"(?P<host>[^@]+)-(?P<process>\d+-[0-9a-f]+)", re.DOTALL)


def worker_id(name: str, host: str, pid: int, token: str) -> str:
    """The id of a worker process; a hexadecimal `token` keeps it apart.

    Process ids do not: in containers that share their host's network, every worker may be process 1
    of the same host.
    """
    rest = f"-{pid}-{token}@{host}"
    return f"{name[: MAX_WORKER_ID - len(rest)]}{rest}"


def host_of(worker: str) -> str | None:
    """The host in a worker's id; None if it has none."""
    match = _WORKER_ID.fullmatch(worker) or _EARLIER_ID.fullmatch(worker)
    return match["host"] if match else None


class HostPart(NamedTuple):
    """The workers of one profile on one host."""

    #: None if their ids do not say it.
    host: str | None
    workers: int
    senders: int
    #: Messages a second that these senders can attempt.
    capacity: float


def by_host(workers: Iterable[WorkerRow]) -> tuple[HostPart, ...]:
    """What each host contributes, by name."""
    rows: dict[str | None, list[WorkerRow]] = {}
    for worker in workers:
        rows.setdefault(host_of(worker.id), []).append(worker)
    return tuple(
        HostPart(
            host,
            len(mine),
            sum(worker.senders for worker in mine),
            sum(worker.capacity for worker in mine),
        )
        for host, mine in sorted(rows.items(), key=lambda entry: entry[0] or "")
    )
