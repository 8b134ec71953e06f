"""The messages of a run: from its seed, or from a file that is read along with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.messages import split
from sms_pipeline.core.records import Run, Unsettled
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer import table
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.messages import Messages, messages_of
from sms_pipeline.producer.producer import Producer
from tests.unit import make
from tests.unit.producer import people


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHUNK_ROWS", 7)
    monkeypatch.setattr(table, "BLOCK", 140)


@pytest.fixture(params=["csv", "csv.gz", "parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return people.write(tmp_path / f"people.{request.param}")


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    return people.write(tmp_path / "people.csv")


def run_to(path: Path, **values: object) -> Run:
    simulation = people.checked(path, routing="static", **values)
    return Run(1, make.NOON, 7, simulation.num_messages, simulation)


def taken(messages: Messages, first: int, size: int) -> list[tuple[str, str]]:
    columns = messages.take(first, size)()
    return list(zip(split(columns.to), split(columns.text), strict=True))


def expected(first: int, size: int) -> list[tuple[str, str]]:
    sent = people.rows(100)[first : first + size]
    return list(zip((to for to, _ in sent), people.texts(sent), strict=True))


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 100)],
        [(0, 1), (1, 6), (7, 7), (14, 20), (34, 66)],
        # What is passed by, and what was passed by before.
        [(50, 10), (90, 10), (0, 3), (3, 5), (2, 40)],
    ],
)
def test_a_message_goes_to_the_row_of_its_index(
    ledger: Ledger, file: Path, ranges: list[tuple[int, int]]
) -> None:
    messages = messages_of(ledger, run_to(file))
    for first, size in ranges:
        assert taken(messages, first, size) == expected(first, size)


def test_line_breaks_reach_the_text(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(b'to,zone\n2025550100,"a\nb"\n2025550101,"a\r\nb"\n2025550102,c\n')
    messages = messages_of(ledger, run_to(path, text="Go\n{zone}."))
    assert [text for _, text in taken(messages, 0, 3)] == ["Go\na\nb.", "Go\na\nb.", "Go\nc."]


def test_a_producer_sends_the_rows_in_batches(ledger: Ledger, csv_file: Path) -> None:
    # Given a run to a file
    run = ledger.start_run(people.checked(csv_file, routing="static", batch_size=9), seed=7)
    sent = list[Batch]()

    # When it is dispatched
    messages = messages_of(ledger, run)
    Producer(ledger, sent.append, run, Loads(run.simulation), messages=messages).dispatch()

    # Then each batch has the rows of its messages
    sent.sort(key=lambda batch: batch.number)
    assert [batch.size for batch in sent] == [9] * 11 + [1]
    for batch in sent:
        pairs = list(zip(split(batch.to), split(batch.text), strict=True))
        assert pairs == expected(batch.first_index, batch.size)


def test_what_is_left_of_a_batch_is_read_again(ledger: Ledger, csv_file: Path) -> None:
    # Given a batch of which messages 12 and 15 are left
    run = ledger.start_run(people.checked(csv_file, routing="static"), seed=7)
    left = Unsettled(make.row(run.id, 1, 10), 2, make.bitmap(2, 5))
    whole = Unsettled(make.row(run.id, 2, 20), 0, None)
    sent = list[Batch]()

    # When it is resumed
    messages = messages_of(ledger, run)
    producer = Producer(ledger, sent.append, run, Loads(run.simulation), messages=messages)
    assert producer.dispatch_again([left, whole]) == 2

    # Then these go out again
    assert sent[0].attempt == 2
    assert split(sent[0].to) == [people.number(12), people.number(15)]
    assert split(sent[1].to) == [people.number(row) for row in range(20, 30)]


def test_another_file_is_refused(ledger: Ledger, file: Path) -> None:
    run = run_to(file)
    people.write(file, 99)
    with pytest.raises(ConfigError) as refused:
        messages_of(ledger, run)
    assert str(refused.value) == (
        f"{file}: is not the file that run 1 was started with: its SHA-256 differs. Put that one "
        "back, or end the run: sms-pipeline cancel 1"
    )


def test_a_file_that_is_gone_is_named(ledger: Ledger, file: Path) -> None:
    run = run_to(file)
    file.unlink()
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        messages_of(ledger, run)


def test_a_file_may_be_elsewhere(ledger: Ledger, file: Path) -> None:
    run = run_to(file)
    moved = file.rename(file.with_name("moved"))
    assert taken(messages_of(ledger, run, moved), 3, 9) == expected(3, 9)


def test_a_run_from_its_seed_has_no_file(ledger: Ledger, tmp_path: Path) -> None:
    run = Run(1, make.NOON, 7, 10, make.simulation())
    assert len(taken(messages_of(ledger, run), 0, 10)) == 10
    with pytest.raises(ConfigError, match="run 1 has no file of recipients"):
        messages_of(ledger, run, tmp_path / "people.csv")


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 10)
        file.write(b"9")


def replace(path: Path) -> None:
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize("change", [overwrite, replace, os.unlink])
def test_a_file_that_changes_in_mid_run_ends_it(
    ledger: Ledger, csv_file: Path, change: object
) -> None:
    # Given a run that has read a part of its file
    messages = messages_of(ledger, run_to(csv_file))
    assert taken(messages, 0, 20) == expected(0, 20)

    # When the file is changed, then nothing more of it is sent, and the row is named
    change(csv_file)  # type: ignore[operator]
    with pytest.raises(ConfigError) as refused:
        messages.take(20, 10)
    assert str(refused.value) == (
        f"{csv_file}: was changed in mid-run, and nothing was sent from message 20 on. Put the "
        "file back as it was, then: sms-pipeline resume 1"
    )
