"""docs/faults.md: what the fault matrix came to, written by the run itself."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.chaos.cases import CASES, Case
from tests.chaos.faults import Fault
from tests.chaos.scenario import Result

HEAD = """\
# Faults

What happened to a run when something broke under load. Written by `make chaos`; do not edit.

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
  lock is gone) to the next settlement that could be seen; "-" where a fault has no end.

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


class Report:
    """Results by case."""

    def __init__(self) -> None:
        self._results: dict[Case, list[Result]] = defaultdict(list)
        self._failures: dict[Case, int] = defaultdict(int)

    def add(self, case: Case, result: Result) -> None:
        """A scenario that came to its end; with problems it counts as failed, too."""
        self._results[case].append(result)
        if result.problems:
            self._failures[case] += 1

    def add_failure(self, case: Case) -> None:
        """A scenario that did not come to its end: what it lost is not known."""
        self._results[case] += []
        self._failures[case] += 1

    def write(self, file: Path) -> None:
        """Write the page, unless there is nothing to tell."""
        if self._results:
            file.write_text(HEAD + "".join(self._lines()))

    def _lines(self) -> Iterator[str]:
        runs = sum(map(len, self._results.values()))
        yield (
            f"{runs} runs on {os.cpu_count()} cores; Python {platform.python_version()}, "
            f"Celery {version('celery')}, kombu {version('kombu')}.\n\n"
        )
        yield _line(COLUMNS)
        yield _line(["---", "---", *["--:"] * (len(COLUMNS) - 2)])
        for case in CASES:
            if case in self._results:
                yield _row(case, self._results[case], self._failures[case])
        yield "\n## The faults\n\n"
        for fault in Fault:
            yield f"- **{fault}**: {fault.meaning}\n"


def _row(case: Case, results: list[Result], failures: int) -> str:
    unknown = failures - sum(bool(result.problems) for result in results)
    times = [r.recovery_seconds for r in results if r.recovery_seconds is not None]
    cells = [
        case.name,
        case.setting.describe(),
        len(results) + unknown,
        failures,
        f"{sum(result.total for result in results):,}",
        *(
            f"{sum(len(getattr(result.findings, name)) for result in results):,}"
            for name in ("lost", "doubled", "sent_twice")
        ),
        f"{median(times):.1f} s" if times else "-",
        f"{max(times):.1f} s" if times else "-",
    ]
    return _line(cells)


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |\n"
