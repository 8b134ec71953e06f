"""Which small mistakes in the code the tests would not notice: `make mutants`.

mutmut changes the code in one place at a time and runs the tests that reach it. What comes out is
written to docs/mutants.md, and in short to CONTRIBUTING.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

from mutmut.mutation.diff_apply import get_diff_for_mutant

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mutants.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- mutants -->\n", "<!-- end of mutants -->"
MUTMUT = (sys.executable, "-m", "scripts.mutant_runner")
#: Outcomes of a mutant that a test noticed. One that hangs is noticed, too.
NOTICED = {"killed", "timeout", "caught by type check", "suspicious", "segfault"}
#: That of one whose turn has not come: a run was stopped.
NOT_RUN = "not checked"

_RESULT = re.compile(r"^\s+(?P<name>sms_pipeline\.\S+): (?P<outcome>.+)$", re.MULTILINE)


class Mutant(NamedTuple):
    """A changed place in the code, and whether the tests noticed."""

    name: str
    outcome: str

    @property
    def room(self) -> str:
        """The room it is in."""
        return self.name.split(".")[1]

    @property
    def module(self) -> str:
        """Its module, without the package."""
        return ".".join(self.name.split(".")[1:3])

    @property
    def function(self) -> str:
        """The function it is in: `Class.method`, or the function's name."""
        mangled = self.name.split(".")[-1].rpartition("__mutmut_")[0]
        return mangled.removeprefix("xǁ").removeprefix("x_").replace("ǁ", ".")

    @property
    def was_run(self) -> bool:
        """Whether tests were asked."""
        return self.outcome != NOT_RUN

    @property
    def noticed(self) -> bool:
        """Whether a test failed."""
        return self.outcome in NOTICED


def main() -> None:
    """Run mutmut with the arguments given, then write what it found."""
    subprocess.run([*MUTMUT, "run", *sys.argv[1:]], cwd=ROOT, check=True)
    mutants = read_results()
    survivors = [mutant for mutant in mutants if mutant.was_run and not mutant.noticed]
    with chdir(ROOT):
        changes = {mutant: read_change(mutant) for mutant in survivors}
    PAGE.write_text("\n".join(page(mutants, changes, read_commit())) + "\n")
    text = CONTRIBUTING.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    CONTRIBUTING.write_text(before + BEGIN + "\n".join(table(mutants)) + "\n" + END + after)


def read_results() -> list[Mutant]:
    """What became of each mutant."""
    shown = subprocess.run(
        [*MUTMUT, "results", "--all", "true"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [Mutant(found["name"], found["outcome"]) for found in _RESULT.finditer(shown.stdout)]


def read_change(mutant: Mutant) -> tuple[str, str]:
    """The line that it changes, and what it makes of it."""
    path = Path("sms_pipeline", *mutant.module.split(".")).with_suffix(".py")
    shown = get_diff_for_mutant(mutant.name, path=path)
    lines = [line for line in shown.splitlines() if not line.startswith(("---", "+++"))]
    removed = next((line[1:].strip() for line in lines if line.startswith("-")), "")
    added = next((line[1:].strip() for line in lines if line.startswith("+")), "")
    return removed, added


def read_commit() -> str:
    """The commit whose code was changed."""
    shown = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return shown.stdout.strip()


def table(mutants: Iterable[Mutant]) -> Iterator[str]:
    """A row for each room, and one for all."""
    yield "| room | mutants run | noticed | share | not run |"
    yield "|---|---|---|---|---|"
    counts: dict[str, Counter[bool | None]] = defaultdict(Counter)
    for mutant in mutants:
        noticed = mutant.noticed if mutant.was_run else None
        counts[mutant.room][noticed] += 1
        counts["all"][noticed] += 1
    for room in sorted(counts, key=lambda room: (room == "all", room)):
        noticed, run = counts[room][True], counts[room][True] + counts[room][False]
        share = f"{noticed / run:.1%}" if run else "-"
        yield f"| {room} | {run:,} | {noticed:,} | {share} | {counts[room][None]:,} |"


def page(
    mutants: list[Mutant], changes: dict[Mutant, tuple[str, str]], commit: str
) -> Iterator[str]:
    """docs/mutants.md."""
    yield "# Mutants"
    yield ""
    yield "`make mutants` changes the code of `core`, `ledger` and `worker` in one place at a"
    yield "time, and runs unit tests that reach it for up to five seconds: first those of its own"
    yield "module, then those that call most of it. What none of them notices is listed below;"
    yield "others may notice it. Lines that only log are left as they are. This is the code of"
    yield f"commit {commit}."
    yield ""
    yield from table(mutants)
    yield ""
    yield "## Not noticed"
    by_module: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in changes:
        by_module[mutant.module].append(mutant)
    for module in sorted(by_module):
        yield ""
        yield f"### {module}"
        yield ""
        for mutant in by_module[module]:
            removed, added = changes[mutant]
            yield f"- `{mutant.function}`: {_code(removed)} → {_code(added)}"


def _code(line: str) -> str:
    return f"`` {line} ``" if line else "nothing"


if __name__ == "__main__":
    main()
