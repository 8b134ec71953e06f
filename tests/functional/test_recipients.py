"""Runs to a file of recipients, with real processes that are killed at any time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sms_pipeline.core.messages import split
from tests.functional import checker
from tests.functional.terminal import Terminal
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

ROOT = Path(__file__).parents[2]
ROWS, BATCH = 30_000, 500
#: Tells `seen_app` its folder. That module changes the pipeline when it is imported.
SEEN = "SEEN_FOLDER"
PATIENCE_SECONDS = 100.0
ZONES = ("north", "so\nuth", "é€st, or so", "中央")
FLEET = [{"name": "fast", "count": 60, "mean_time": 0.03, "failure_rate": 0.2}]


def number(row: int) -> str:
    return f"+1202{row:07d}"


def text(row: int) -> str:
    return f"Evacuate {ZONES[row % len(ZONES)]} now.\nRow {row} {{x}}"


@pytest.fixture
def people(shared_terminal: Terminal) -> Path:
    """A file with one number twice, and a configuration beside it."""
    path = shared_terminal.folder / "people.csv"
    rows = [(number(row), ZONES[row % len(ZONES)], row) for row in range(ROWS)]
    lines = [f'{to},"{zone}",{row}\n' for to, zone, row in rows]
    path.write_text("to,zone,row\n" + "".join(lines))
    shared_terminal.configure(
        recipients=path.name,
        text="Evacuate {zone} now.\nRow {row} {{x}}",
        senders=FLEET,
        batch_size=BATCH,
        retry={"max_attempts": 3, "backoff": 1, "backoff_max": 1},
        report_period=0.5,
    )
    return path


def seen(folder: Path) -> Iterator[tuple[int, int, list[int], list[str], list[str]]]:
    """What workers have played: batch, attempt, offsets, numbers, texts."""
    for file in folder.iterdir():
        for line in file.read_text().splitlines():
            try:
                batch, attempt, offsets, to, texts = json.loads(line)
            except ValueError:
                # It was killed while it wrote.
                continue
            yield batch, attempt, offsets, split(to), split(texts)


def test_kills_at_any_time_neither_lose_nor_double_a_row(
    shared_terminal: Terminal,
    database_url: str,
    people: Path,
    start_worker: Callable[..., WorkerProcess],
    tmp_path: Path,
) -> None:
    chance, terminal = random.Random(), shared_terminal
    folder = tmp_path / "seen"
    folder.mkdir()

    def dispatched() -> int:
        return len(checker.rows(database_url, "batches", 1))

    # Given a worker, and a producer that is killed somewhere
    app = "tests.functional.seen_app"
    variables = {
        SEEN: str(folder),
        "PYTHONPATH": str(ROOT),
        "SMS_CONFIG": terminal.environment["SMS_CONFIG"],
    }
    worker = start_worker("fast", variables, app=app)
    producer = terminal.start("produce")
    at = chance.randrange(3, 15)
    producer.says("Run 1")
    wait_until(lambda: dispatched() >= at, PATIENCE_SECONDS, "something is dispatched")
    producer.kill()

    # When it is resumed, and the next one and the worker are killed as well
    resumed = terminal.start("resume", "--force")
    wait_until(lambda: dispatched() >= at + 10, PATIENCE_SECONDS, "it goes on")
    worker.kill()
    resumed.kill()
    worker.restart()

    # Then yet another one finishes the run
    result = terminal.run("resume", "--force", timeout=PATIENCE_SECONDS)
    assert result.code == 0, result.err
    assert terminal.run("monitor", "--every", "1", timeout=PATIENCE_SECONDS).code == 0
    assert terminal.run("audit").code == 0

    # And each row was counted once, and what was sent was what is in it
    checker.assert_counted_once(database_url, 1, ROWS)
    first = {row["number"]: row["first_index"] for row in checker.rows(database_url, "batches", 1)}
    sent = set[int]()
    for batch, attempt, offsets, to, texts in seen(folder):
        rows = [first[batch] + offset for offset in offsets]
        assert to == [number(row) for row in rows]
        assert texts == [text(row) for row in rows]
        if attempt == 0:
            sent.update(rows)
    assert sent == set(range(ROWS))

    # And neither ledger nor logs hold a number
    ledger = terminal.folder / "ledger.db"
    for path in (*terminal.folder.glob("command-*"), worker.log, ledger):
        assert b"+1202" not in path.read_bytes(), path


def test_another_file_is_refused(terminal: Terminal) -> None:
    # Given a run to a file that was interrupted
    terminal.folder.joinpath("people.csv").write_text(
        "to\n" + "".join(f"{number(row)}\n" for row in range(5_000))
    )
    fleet = [{"name": "slow", "count": 20, "mean_time": 0.1, "failure_rate": 0}]
    terminal.configure(recipients="people.csv", text="Go", senders=fleet, report_period=0.1)
    run = terminal.start("run")
    run.says("delivered 2")
    run.interrupt()
    run.wait()

    # When the file is another one, then nothing goes on
    people = terminal.folder / "people.csv"
    right = people.read_text()
    people.write_text(right + "2025550100\n")
    refused = terminal.run("resume")
    assert refused.code == 2
    assert len(refused.err.splitlines()) == 1
    assert "is not the file that run 1 was started with: its SHA-256 differs" in refused.err

    # And with the right one somewhere else it does
    (terminal.folder / "moved.csv").write_text(right)
    resumed = terminal.run("resume", "--force", "--recipients", "moved.csv", "--every", "1")
    assert resumed.code == 0, resumed.err
    assert "5,000 of 5,000" in resumed.out


def test_those_who_were_not_reached_are_listed_and_written_to_again(terminal: Terminal) -> None:
    # Given a run in which some fail
    rows = range(400)
    people = "to,name\n" + "".join(f"{number(row)},n{row}\n" for row in rows)
    (terminal.folder / "people.csv").write_text(people)
    fleet = [{"name": "flaky", "count": 50, "mean_time": 0, "failure_rate": 0.5}]
    once = {"max_attempts": 1}
    terminal.configure(senders=fleet, retry=once)
    texts = ("--recipients", "people.csv", "--text", "Go {name}")
    assert terminal.run("run", *texts).code == 0

    # Then the ledger knows them by their place, and the file has their numbers
    listed = terminal.run("failures", "--csv")
    assert "not kept" in listed.out
    joined = terminal.run("failures", "--csv", "--recipients", "people.csv")
    failed = [line.split(",")[:2] for line in joined.out.splitlines()[1:]]
    assert 100 < len(failed) < 300
    assert all(to == f"'{number(int(index))}" for index, to in failed)

    # And a follow-up goes to them, the all-clear to the others; a file says the same
    again = terminal.run("run", "--echo", "--to", "failed:1", "--text", "Again {name}")
    assert again.code == 0, again.err
    assert sorted(line.partition(": ")[2] for line in again.out.splitlines()) == sorted(
        f"{number(int(index))}  Again n{index}" for index, _ in failed
    )
    others = {"file": "people.csv", "only": "delivered:1"}
    terminal.configure(senders=fleet, retry=once, recipients=others, text="All clear")
    clear = terminal.run("run", "--json")
    assert clear.json["total"] == len(rows) - len(failed)
    assert clear.json["parts_sent"] == clear.json["total"]
