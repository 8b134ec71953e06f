"""What simulated runs came to: kept as lines of a file, and told on the page on faults."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.scenario import ROOT
from tests.simulation.chance import Fault

if TYPE_CHECKING:
    from tests.simulation.run import Outcome

RESULTS = ROOT / "benchmarks" / "results" / "simulation.jsonl"

HEAD = """
## Simulated runs

The matrix above meets a few interleavings of each fault. `make simulate` plays the same code on
virtual time, where anything may happen at *every* effect: a process dies before it, in it or after
it; a transaction fails, or is committed and says that it failed; a confirm is lost; a message comes
twice, late, out of order or to another worker; the broker restarts, or loses a queue; clocks are
set; workers come and go; somebody pauses, continues, cancels or resumes, also twice at once.

Real are `send_sms` and all that a worker does below it, producer, `resume`, `cancel`, the ledger
(on SQLite in memory) and the audit. Models are time, threads, RabbitMQ and the senders' network.
Each run has 100 to 240 messages in small batches, two profiles, three workers. All of it follows
from one number, its seed. When the trouble is over, and before anybody resumes, no batch may be
missing but those that a fault explains: dead letters, a lost queue, a producer that was killed.
Then one `resume` must bring the run to its end, the audit must say *proven*, and every index must
have one fate that a journal of what was really sent agrees with.

Not simulated: the connections of Celery and kombu (so no confirm that is taken for another's),
PostgreSQL, and SIGSTOP inside a transaction. The matrix above has those.

Seed 12399 of source 409112f613ed was a mistake of the simulation, which is mended: a batch that it
threw in as garbage bore the name of the other ledger, so a worker of that one rightly took it.

Seeds 26465 and 27680 of source 15be48afef7c found a mistake of the pipeline, which is mended: where
two producers had a run in hand that was paused, and that ended while it was, the second waited for
ever for a `continue` that was refused. Seed 23922 was one of the simulation: a `pause` that came
after the faults had ended, and nobody who continued the run.

Seed 76151 of source fcb081920786 found another one, which is mended: a worker took over the batches
of a profile without workers, settled one, and died before it had handed on what failed. The batch
came back to a queue that nobody looked after any more, since nothing was in flight there.

"""


@dataclass
class Tally:
    """The sums of some runs."""

    #: The first seed.
    first: int
    source: str = ""
    machine: str = ""
    seeds: int = 0
    messages: int = 0
    sent_twice: int = 0
    faults: int = 0
    #: Of the processor, and virtual ones.
    cpu_seconds: float = 0.0
    virtual_seconds: float = 0.0
    #: By effect, how often it met each fault; "" is none.
    coverage: dict[str, dict[str, int]] = field(default_factory=dict)
    #: By seed.
    failed: dict[str, list[str]] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Add a run."""
        self.seeds += 1
        self.messages += outcome.messages
        self.sent_twice += outcome.sent_twice
        self.faults += len(outcome.fired)
        self.virtual_seconds += outcome.seconds
        for (effect, fault), times in outcome.seen.items():
            row = self.coverage.setdefault(effect, {})
            row[fault] = row.get(fault, 0) + times
        if outcome.problems:
            self.failed[str(outcome.seed)] = outcome.problems

    def include(self, other: Tally) -> None:
        """Add the sums of others."""
        for name in (
            "seeds",
            "messages",
            "sent_twice",
            "faults",
            "cpu_seconds",
            "virtual_seconds",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for effect, row in other.coverage.items():
            mine = self.coverage.setdefault(effect, {})
            for fault, times in row.items():
                mine[fault] = mine.get(fault, 0) + times
        self.failed |= other.failed


@dataclass
class Found:
    """Which seed, counted from 0, was the first to find each planted mistake; None: no one did."""

    source: str
    mistakes: dict[str, int | None]
    tried: int


def keep(result: Tally | Found, file: Path = RESULTS) -> None:
    """Append a line, in one write."""
    with file.open("a") as results:
        results.write(json.dumps(asdict(result)) + "\n")


def read(file: Path = RESULTS) -> tuple[list[Tally], Found | None]:
    """All that was kept; of the planted mistakes, what was found last."""
    tallies, found = list[Tally](), None
    for line in file.read_text().splitlines() if file.exists() else ():
        values = json.loads(line)
        if "mistakes" in values:
            found = Found(**values)
        else:
            tallies.append(Tally(**values))
    return tallies, found


def text(file: Path = RESULTS) -> str:
    """What the page says; nothing while there is nothing to tell."""
    tallies, found = read(file)
    if not tallies:
        return ""
    return HEAD + "".join([*_versions(tallies), *_coverage(tallies), *_mistakes(found)])


_COLUMNS = (
    "source",
    "machine",
    "runs",
    "failed",
    "messages",
    "sent twice",
    "faults",
    "virtual hours",
    "runs a CPU second",
)


def _versions(tallies: list[Tally]) -> Iterator[str]:
    sums: dict[tuple[str, str], Tally] = {}
    for tally in tallies:
        key = tally.source, tally.machine
        sums.setdefault(key, Tally(tally.first, *key)).include(tally)
    yield f"| {' | '.join(_COLUMNS)} |\n"
    yield f"| --- | --- | {' | '.join(['--:'] * (len(_COLUMNS) - 2))} |\n"
    for (source, machine), one in sums.items():
        rate = one.seeds / one.cpu_seconds if one.cpu_seconds else 0.0
        hours = one.virtual_seconds / 3_600
        yield (
            f"| {source} | {machine} | {one.seeds:,} | {len(one.failed)} | {one.messages:,} | "
            f"{one.sent_twice:,} | {one.faults:,} | {hours:,.0f} | {rate:.1f} |\n"
        )
    for one in tallies:
        for seed, problems in one.failed.items():
            yield f"\nSeed {seed} of {one.source} failed: {problems[0]}\n"


def _coverage(tallies: Iterable[Tally]) -> Iterator[str]:
    """One line for each effect: how often it was asked for, and what struck it how often."""
    rows: dict[str, Counter[str]] = {}
    for tally in tallies:
        for effect, row in tally.coverage.items():
            rows.setdefault(effect, Counter()).update(row)
    yield "\n### Effects and what struck them\n\n"
    yield "| effect | times | what struck it |\n| --- | --: | --- |\n"
    order = [fault.value for fault in Fault]
    for effect in sorted(rows):
        row = rows[effect]
        struck = "; ".join(f"{fault}: {row[fault]:,}" for fault in order if row[fault])
        yield f"| {effect} | {row.total():,} | {struck or '-'} |\n"


def _mistakes(found: Found | None) -> Iterator[str]:
    if found is None:
        return
    yield "\n### Planted mistakes\n\n"
    yield (
        "The simulation is tested, too: each of these mistakes was planted in the pipeline, and "
        "seeds were tried from 0 on.\n\n"
    )
    yield "| mistake | runs until it was found |\n| --- | --: |\n"
    for name, seed in found.mistakes.items():
        runs = f"not in {found.tried:,}" if seed is None else f"{seed + 1:,}"
        yield f"| {name} | {runs} |\n"
