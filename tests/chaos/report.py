"""docs/faults.md: what the fault matrix came to, written from all runs on record.

Each run is a line in the file of results, which is committed: the matrix can be run in portions,
over days, on several machines, and the page can be checked. To start over, delete the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TypeVar

from tests.chaos.cases import CASES, Case
from tests.chaos.faults import Fault
from tests.chaos.scenario import ROOT, Result
from tests.simulation import report as simulated

HEAD = """\
# Faults

What happened to runs in which something broke under load. `make chaos` writes this page from the
results in benchmarks/results/faults.jsonl; do not edit it. Its words are those of the
[glossary](glossary.md).

Every run uses real processes: a producer, Celery workers, RabbitMQ and the ledger. Any of them may
be killed. After the fault the run continues to its end. Then two independent proofs must hold:

1. `sms-pipeline audit` says *proven* and ends with 0.
2. Each worker has written the indexes of the messages that it sent to a file of its own. These
   files are compared with the ledger as sets, not as totals: every index of the run has exactly one
   fate in the ledger, some worker has noted every index that counts as delivered, and every
   settlement is what its own worker has noted. Each worker draws its own outcomes, so two workers
   that play the same attempt do not agree by chance.

The queues must be empty (no batches, no waiting retries, no dead letters but the garbage), and
every process that was not killed must end in good order.

- **lost**: messages without a fate. **doubled**: messages with two.
- **sent twice**: messages delivered by more than one attempt. Messages are sent at least once: if a
  worker dies after sending a batch and before settling it, the batch is sent again. It is still
  counted once.
- **recovery**: seconds from the end of the fault (the process runs again, the broker answers, the
  lock is released) to the next settlement seen. It is "-" where a fault has no end. Where several
  runs shared a machine, they competed for the processor and recovered more slowly. A run that goes
  on only after 20 s counts as failed (not yet in the sources 4821e0ee5fa3 and b30f4a4d3848).

Broker and database are killed as they are, with nothing flushed to disk. (In those two sources the
broker's register of queues was flushed first.) What RabbitMQ has confirmed survives that, but for
one window of half a second: see *A broker killed just after its queues were made*.

Faults that need several hosts or a cluster are tried by `make hosts`, once each and without a line
in the results: a host that is cut off or lost, a worker whose link to the database is cut for a
minute, and the death of the node that leads a queue in a cluster of three
(`tests/hosts/test_broker_cluster.py`: settling stops for 5 s at most).

## After a broker crash, retries can be three minutes late

Retries wait in quorum queues that dead-letter at least once. When RabbitMQ starts again, such a
queue may hand on the retries that are due before the bindings are back. Then the retries have no
route to the next queue: RabbitMQ logs `Cannot forward any dead-letter messages`, holds up to 32
retries of that queue, and tries to hand them on again after
`dead_letter_worker_publisher_confirm_timeout`, which is three minutes by default. Meanwhile no
other retry leaves that queue. Nothing is lost: the audit shows the messages as in flight, the
monitor as retrying. They move on after the timeout, or at once when any policy is set on the
queues. `sms-pipeline resume` does not wait for them. It sees the queues as empty, sends the
messages again after ten quiet seconds, and the ledger absorbs the late ones. (Messages that fail
once more must wait with the others.)

`docker-compose.yml` and the runs below set the timeout to five seconds, with
`RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-rabbit dead_letter_worker_publisher_confirm_timeout 5000"`.
Do the same on your own broker. This was measured with RabbitMQ 3.10.8 and 60 retries that had no
route because a binding was missing for three seconds. Once the binding was back, the retries came
after 177 s, and so did a retry that was published only then. With the setting they came after 2 s;
after setting a policy they came at once.

## A broker killed just after its queues were made

RabbitMQ 3.10 writes its register of quorum queues to disk about 0.5 s after a queue is declared.
If its process is killed (SIGKILL, a power cut) before that, it starts again with a queue that
exists in name only: it can be declared and reports no messages, but no publish to it is ever
confirmed, and nothing can be consumed from it. The batches in it are gone, although they were
confirmed. This window opens whenever a profile gets its first worker or producer on a broker, and
closes half a second later; queues that exist longer are not affected.

The ledger knows what was in the queue, so nothing is lost for good. A producer whose publishes are
not confirmed twice in a row looks at the queue and says what is the matter. `sms-pipeline resume`
looks at all queues of the run, the waiting rooms of retries included. It deletes those that do not
answer within 8 s (which takes RabbitMQ 5 s more), makes them anew, and dispatches again what is not
settled. Workers that waited at such a queue then go on by themselves, within a second or two.

In a cluster a queue does not answer either while most of its members are away. So nobody but
`resume` makes a queue anew, and you should not start it during such an outage.

## A cluster without one of its nodes holds back retries

When a node of a cluster is killed, RabbitMQ 3.10 may go on asking that node for the dead letters of
a waiting room that it led. Retries that wait there come only when the node is back; first attempts
and all other retries go on with a new leader, within seconds. Nothing is lost: the audit shows the
messages as in flight. So bring a lost node back instead of leaving it out.

## A frozen worker can hold the ledger's lock

A worker that is stopped in mid-commit (by SIGSTOP, or on a suspended machine) keeps the write lock
of an SQLite ledger: nobody else can settle anything until it continues or dies. Nothing is lost
meanwhile: the others wait, and say that the database is locked. This happened twice while the
matrix was freezing a worker (`worker-freeze-3-workers`, seeds 9 and 19; both runs were given up
after 120 s). Since then the matrix freezes workers between two commits. With PostgreSQL, only what
the frozen worker was committing is locked.

## A closed connection that nobody noticed

When the broker closed a connection within about 0.1 s of its opening, Celery dropped the error, and
the worker sat idle until it missed heartbeats, about a minute later. This happened in two runs of
source 4821e0ee5fa3, both with seed 7: `connections-closed-flower` continued after 69 s, and
`connections-closed` found six batches still unacknowledged at the end (all of them settled). A
worker now checks its connection every second, and a test cuts the connection at that very moment.

Something like it is still there: in one run of source 272bab75d63b (`connections-closed-flower`,
seed 21) the broker closed a connection while the worker was setting it up, and the worker did not
read from it until the broker gave up and cut it, 31 s later. Nothing was lost; the run counts as
failed because it took longer than 20 s.

## Results

"""

COUNT_COLUMNS = ("runs", "failed runs", "messages", "lost", "doubled", "sent twice")
CASE_COLUMNS = ("case", "setting", *COUNT_COLUMNS, "median recovery", "longest")
VERSION_COLUMNS = ("source", "machine", *COUNT_COLUMNS)

RESULTS = ROOT / "benchmarks" / "results" / "faults.jsonl"
RECORD = "CHAOS_RECORD"

#: What decides how a run fares …
PACKAGE = "sms_pipeline"
#: … but for rooms that show what is in the ledger, or that only tests use.
OTHER_ROOMS = {"views", "testing"}
DIGEST_LENGTH = 12


@dataclass(frozen=True)
class Line:
    """A run of a case, as it is kept in the file of results."""

    source: str
    machine: str
    case: str
    seed: int
    problems: tuple[str, ...]
    #: Messages; None where the run did not come to its end, so that nobody knows.
    total: int | None = None
    lost: int | None = None
    doubled: int | None = None
    sent_twice: int | None = None
    recovery_seconds: float | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, case: Case, seed: int, result: Result) -> Line:
        """A scenario that came to its end; with problems it counts as failed, too."""
        findings = result.findings
        return cls(
            source=source_digest(),
            machine=machine(),
            case=case.name,
            seed=seed,
            problems=tuple(result.problems),
            total=result.total,
            lost=len(findings.lost),
            doubled=len(findings.doubled),
            sent_twice=len(findings.sent_twice),
            recovery_seconds=result.recovery_seconds,
            seconds=result.seconds,
        )

    @classmethod
    def of_failure(cls, case: Case, seed: int, problem: str) -> Line:
        """A scenario that did not come to its end."""
        return cls(source_digest(), machine(), case.name, seed, (problem,))


def source_digest() -> str:
    """What names this version of the package: any change of its source changes it."""
    digest = hashlib.sha256()
    package = ROOT / PACKAGE
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package)
        if name.parts[0] not in OTHER_ROOMS:
            digest.update(str(name).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:DIGEST_LENGTH]


def machine() -> str:
    """On what the runs were made."""
    at_once = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    return (
        f"{os.cpu_count()} cores, runs at once: {at_once}; Python {platform.python_version()}, "
        f"Celery {version('celery')}, kombu {version('kombu')}"
    )


def is_recording() -> bool:
    """Whether results are to be recorded, and the pages written."""
    return os.environ.get(RECORD) == "1"


def record(line: Line) -> None:
    """Append a run to the file of results, if that is wanted."""
    if is_recording():
        keep(line, RESULTS)


def keep(line: Line, file: Path) -> None:
    """Append a run to a file of results, in one write: several processes may do so."""
    with file.open("a") as results:
        results.write(json.dumps(asdict(line)) + "\n")


def read(file: Path) -> list[Line]:
    """All runs, in the order in which they ended."""
    if not file.exists():
        return []
    return [Line(**json.loads(text)) for text in file.read_text().splitlines()]


def write(lines: list[Line], page: Path) -> None:
    """Write the page, unless there is nothing to tell."""
    if lines:
        page.write_text(HEAD + "".join(_text(lines)) + simulated.text())


def _text(lines: list[Line]) -> Iterator[str]:
    yield f"{_summary(lines)}\n\n"
    yield from _table(CASE_COLUMNS, _case_rows(lines))
    yield "\n## Versions\n\n"
    yield from _table(VERSION_COLUMNS, _version_rows(lines))
    if failed := [line for line in lines if line.problems]:
        yield "\n## Runs that failed\n\n"
        yield "The sums above leave out the messages of runs that did not come to their end.\n\n"
        for line in failed:
            yield f"- {line.case}, seed {line.seed}, {line.source}: {'; '.join(line.problems)}\n"
    yield "\n## The faults\n\n"
    for fault in Fault:
        yield f"- **{fault}**: {fault.meaning}\n"


def _summary(lines: list[Line]) -> str:
    seeds = len({line.seed for line in lines})
    return (
        f"{len(lines):,} runs with {seeds} seed{'s' * (seeds > 1)}, "
        f"{_failed(lines)} of them failed. "
        f"{_sum(lines, 'total')} messages: {_sum(lines, 'lost')} lost, "
        f"{_sum(lines, 'doubled')} doubled, {_sum(lines, 'sent_twice')} sent twice."
    )


def _case_rows(lines: Iterable[Line]) -> Iterator[list[object]]:
    by_case = _grouped(lines, lambda line: line.case)
    for case in CASES:
        runs = by_case.get(case.name, [])
        times = [line.recovery_seconds for line in runs if line.recovery_seconds is not None]
        yield [
            case.name,
            case.setting.describe(),
            *_counts(runs),
            f"{median(times):.1f} s" if times else "-",
            f"{max(times):.1f} s" if times else "-",
        ]


def _version_rows(lines: Iterable[Line]) -> Iterator[list[object]]:
    by_version = _grouped(lines, lambda line: (line.source, line.machine))
    for (source, machine), runs in by_version.items():
        yield [source, machine, *_counts(runs)]


def _counts(lines: list[Line]) -> list[object]:
    sums = (_sum(lines, name) for name in ("total", "lost", "doubled", "sent_twice"))
    return [len(lines), _failed(lines), *sums]


K = TypeVar("K", bound=Hashable)


def _grouped(lines: Iterable[Line], key: Callable[[Line], K]) -> dict[K, list[Line]]:
    groups: dict[K, list[Line]] = {}
    for line in lines:
        groups.setdefault(key(line), []).append(line)
    return groups


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Two columns of words, then figures."""
    yield _row(columns)
    yield _row(["---", "---", *["--:"] * (len(columns) - 2)])
    yield from map(_row, rows)


def _failed(lines: Iterable[Line]) -> int:
    return sum(bool(line.problems) for line in lines)


def _sum(lines: Iterable[Line], name: str) -> str:
    return f"{sum(getattr(line, name) or 0 for line in lines):,}"


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |\n"
