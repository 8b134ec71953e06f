"""docs/faults.md: what the fault matrix came to, written from all runs of this version.

Each run is a line in the file of results, which is committed: the matrix can be run in portions,
over days, on several machines, and the page can be checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.chaos.cases import CASES, Case
from tests.chaos.faults import Fault
from tests.chaos.scenario import ROOT, Result

HEAD = """\
# Faults

What happened to a run when something broke under load. Written by `make chaos`, from the results in
benchmarks/results/faults.jsonl; do not edit.

In every run real processes are used: a producer, Celery workers, RabbitMQ and the ledger, each of
which may be killed. After the fault the run goes on to its end. Then two independent proofs must
hold:

1. `sms-pipeline audit` says *proven*, and ends with 0.
2. Each worker has noted, in a file of its own, which message indexes it has sent. Set by set, not
   in total: every index of the run has exactly one fate in the ledger, every index that counts as
   sent is noted by some worker, and every settlement is what its own worker has noted. Workers
   draw outcomes of their own, so two that play the same attempt do not agree by chance.

Queues must be empty (batches, waiting retries, dead letters other than garbage), and every process
that was not killed must end in good order.

- **lost**: messages without a fate. **double-counted**: messages with two.
- **sent twice**: messages delivered by more than one attempt. Sending is at least once: a batch
  that was sent and not settled before its worker died is sent again. It is still counted once.
- **recovery**: seconds from the end of the fault (the process runs again, the broker answers, the
  lock is gone) to the next settlement that could be seen; "-" where a fault has no end. Where
  several runs shared a machine, they took the processor from one another, and it was longer.

## After a crash of the broker, retries can be three minutes late

Retries wait in quorum queues that dead-letter at least once. When RabbitMQ starts again, such a
queue may hand on what is due before the bindings are back. Then there is no way to the next queue:
RabbitMQ logs `Cannot forward any dead-letter messages`, keeps up to 32 messages of that queue in
hand, and tries them again after `dead_letter_worker_publisher_confirm_timeout`, three minutes by
default. No other message of that queue moves meanwhile. Nothing is lost: the audit shows the
messages as in flight, the monitor as being retried; then they come, or at once when any policy is
set on the queues. `sms-pipeline resume` does not wait for them: it sees the queues as empty, sends
them again after ten quiet seconds, and the ledger absorbs those that come later. (What fails once
more and must wait, waits with the others.)

`docker-compose.yml` and the runs below set five seconds instead, by
`RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-rabbit dead_letter_worker_publisher_confirm_timeout 5000"`.
Do the same for a broker of your own. Measured with RabbitMQ 3.10.8, on 60 retries that found no way
back because a binding was missing for three seconds: once it was there again they came after 177 s,
and so did a retry published only then; with the setting after 2 s; after setting a policy at once.

## Results

"""

COLUMNS = (
    "case",
    "setting",
    "runs",
    "failed",
    "messages",
    "lost",
    "double-counted",
    "sent twice",
    "recovery, median",
    "max",
)

RESULTS = ROOT / "benchmarks" / "results" / "faults.jsonl"
RECORD = "CHAOS_RECORD"

#: What decides how a run fares: a result counts for exactly this source.
SOURCES = ("celeryconfig.py", "sms_pipeline/*.py")
#: They show what is in the ledger, and no case of the matrix uses them.
VIEWS = {
    f"{name}.py"
    for name in (
        "charts",
        "compare",
        "exporter",
        "history",
        "listings",
        "metrics",
        "page",
        "report",
    )
}
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
    for pattern in SOURCES:
        for file in sorted(ROOT.glob(pattern)):
            if file.name not in VIEWS:
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
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


def forget_other_versions(file: Path) -> None:
    """Leave only what this version of the package came to."""
    lines = read(file)
    if any(line.source != source_digest() for line in lines):
        file.write_text("")
        for line in lines:
            if line.source == source_digest():
                keep(line, file)


def write(lines: Iterable[Line], page: Path) -> None:
    """Write the page, unless there is nothing to tell."""
    by_case = defaultdict(list)
    for line in lines:
        by_case[line.case].append(line)
    if by_case:
        page.write_text(HEAD + "".join(_text(by_case)))


def _text(by_case: Mapping[str, list[Line]]) -> Iterator[str]:
    yield f"{_summary([line for lines in by_case.values() for line in lines])}\n\n"
    yield _row(COLUMNS)
    yield _row(["---", "---", *["--:"] * (len(COLUMNS) - 2)])
    for case in CASES:
        yield _row(_cells(case, by_case.get(case.name, [])))
    yield "\n## The faults\n\n"
    for fault in Fault:
        yield f"- **{fault}**: {fault.meaning}\n"


def _summary(lines: list[Line]) -> str:
    seeds = len({line.seed for line in lines})
    sources = dict.fromkeys(line.source for line in lines)
    machines = dict.fromkeys(line.machine for line in lines)
    return (
        f"{len(lines)} runs with {seeds} seed{'s' * (seeds > 1)}, {_failed(lines)} of them failed. "
        f"{_sum(lines, 'total')} messages: {_sum(lines, 'lost')} lost, "
        f"{_sum(lines, 'doubled')} double-counted, {_sum(lines, 'sent_twice')} sent twice.\n\n"
        f"Source {', '.join(sources)}; {'; '.join(machines)}."
    )


def _cells(case: Case, lines: list[Line]) -> Iterator[object]:
    times = [line.recovery_seconds for line in lines if line.recovery_seconds is not None]
    yield from (case.name, case.setting.describe(), len(lines), _failed(lines))
    yield from (_sum(lines, name) for name in ("total", "lost", "doubled", "sent_twice"))
    yield f"{median(times):.1f} s" if times else "-"
    yield f"{max(times):.1f} s" if times else "-"


def _failed(lines: Iterable[Line]) -> int:
    return sum(bool(line.problems) for line in lines)


def _sum(lines: Iterable[Line], name: str) -> str:
    return f"{sum(getattr(line, name) or 0 for line in lines):,}"


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |\n"
