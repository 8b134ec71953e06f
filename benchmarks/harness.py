"""What every benchmark shares: its options, its services, and a file that grows row by row."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.rehearsal import Services

RESULTS = Path(__file__).parent / "results"
#: PostgreSQL runs as a user of its own, who must get through the folder.
_PASSABLE = 0o711


class Record:
    """The results of one benchmark; the file is written after each row, so a stop loses little."""

    def __init__(self, name: str, output: Path | None, tiny: bool = False, only: str = "") -> None:
        """Nothing is written yet; without `output` nothing ever is.

        A part (`only`) that goes to a file of results leaves the other rows there as they are.
        """
        self.tiny = tiny
        self._only = only
        self._output = output
        self._content: dict[str, Any] = {"benchmark": name, "at": time.time(), "machine": machine()}
        if only and output is not None and output.exists():
            self._content = _earlier(output, self._content)

    def wants(self, title: str) -> bool:
        """Whether the user asked for this row."""
        return self._only in title

    def add(self, part: str, title: str, row: dict[str, Any]) -> None:
        """Keep a row of a part of the results, with when it was measured and under what load."""
        when = {"at": time.time(), "load_average_after": os.getloadavg()}
        self._content.setdefault(part, {})[title] = row | when
        self._write()

    def note(self, **values: Any) -> None:
        """Keep values that are no rows."""
        self._content.update(values)
        self._write()

    def _write(self) -> None:
        self._content["load_average_after"] = os.getloadavg()
        if self._output is not None:
            self._output.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._output, self._content)


def _earlier(path: Path, fresh: dict[str, Any]) -> dict[str, Any]:
    """The content of a results file that more rows are measured for."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        benchmark, machine = content["benchmark"], content["machine"]
        same = all(machine[key] == fresh["machine"][key] for key in _SAME_MACHINE)
    except (ValueError, TypeError, KeyError):
        sys.exit(f"{path} has no results of a benchmark; write to another file")
    if benchmark != fresh["benchmark"]:
        sys.exit(f"{path} has results of the benchmark {benchmark}; write to another file")
    if not same:
        sys.exit(f"{path} has results of another machine; write to another file")
    return content


#: What tells that rows can stand beside one another.
_SAME_MACHINE = ("cores", "processor")

Measure = Callable[[Record, Services], None]


def machine() -> dict[str, Any]:
    """What a reader must know of the machine."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_average_before": os.getloadavg(),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace the file in one step: whoever reads it sees the old content or the new."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(content, indent=1) + "\n")
    draft.replace(path)


def options(name: str, description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--tiny", action="store_true", help="every row in seconds, nothing kept")
    parser.add_argument("--only", default="", help="rows with this in their name; see -o")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help=f"results file; default: {name}.json in benchmarks/results, none for a part of it; a "
        "part is added to the rows that a file has",
    )
    return parser


def record_for(name: str, chosen: argparse.Namespace) -> Record:
    """Where the rows go: a tiny run is kept nowhere, a part of a run only where it is asked to."""
    default = None if chosen.only else RESULTS / f"{name}.json"
    output = None if chosen.tiny else chosen.output or default
    return Record(name, output, chosen.tiny, chosen.only)


def run(name: str, description: str | None, measure: Measure) -> None:
    """The `main` of a benchmark: its options, services of its own, its rows."""
    chosen = options(name, description).parse_args()
    with services() as own:
        measure(record_for(name, chosen), own)


@contextmanager
def services() -> Iterator[Services]:
    """A broker and, when asked for, a database in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sms-bench-") as name:
        Path(name).chmod(_PASSABLE)
        with Services(Path(name)) as started:
            yield started


def in_own_process(module: str, *arguments: object) -> dict[str, Any]:
    """Run a module that prints one JSON object; its memory and threads are its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def reference(senders: int, messages_per_sender: int) -> dict[str, Any]:
    """The asyncio reference."""
    return in_own_process(
        "reference_asyncio", senders, "--messages-per-sender", messages_per_sender
    )


def median(values: Sequence[float]) -> float:
    """The middle one; the upper of two."""
    return sorted(values)[len(values) // 2]
