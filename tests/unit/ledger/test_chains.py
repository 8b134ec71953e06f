"""Chains of what writers record survive lost connections, killed processes and repeated calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Table

from sms_pipeline.core import seal
from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.core.records import Control, Run
from sms_pipeline.ledger import chains, schema
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.database import Database
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from tests.unit import make
from tests.unit.ledger import honest
from tests.unit.ledger.stored import everything
from tests.unit.make import NOON

pytestmark = pytest.mark.checked


class Losing:
    """A database whose connection is lost at a commit: after it, or before."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.next_is: str | None = None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        lost, self.next_is = self.next_is, None
        with self._database.writing() as connection:
            yield connection
            if lost == "before":
                raise LedgerUnavailableError("lost before the commit")
        if lost == "after":
            raise LedgerUnavailableError("lost after the commit")

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)


def losing(ledger: Ledger) -> Losing:
    """Let the ledger work on such a database."""
    database = Losing(ledger._database)
    for holder in (ledger, ledger._settling, ledger._controls):
        holder._database = database  # type: ignore[attr-defined]
    return database


@pytest.fixture
def run(ledger: Ledger) -> Run:
    """A run of a hundred messages, with two batches and a worker."""
    run = ledger.start_run(make.simulation(num_messages=50, batch_size=10), 7, started_at=NOON)
    ledger.join("w1", [make.profile()])
    ledger.record_batches(run.id, [make.row(run.id, 0), make.row(run.id, 1, 10)])
    return run


@pytest.mark.parametrize("lost", ["before", "after"])
def test_chain_goes_on_after_a_commit_of_unknown_outcome(
    ledger: Ledger, run: Run, lost: str
) -> None:
    database = losing(ledger)
    # When the connection is lost at every second commit, and every call is made again
    calls = [
        lambda: ledger.settle([make.honest(run.id, 0)]),
        lambda: ledger.record_batches(run.id, [make.row(run.id, 2, 20), make.row(run.id, 3, 30)]),
        lambda: ledger.settle([make.honest(run.id, 1), make.honest(run.id, 2)]),
        lambda: ledger.control(run.id, Control.PAUSED),
        lambda: ledger.record_batches(run.id, [make.row(run.id, 4, 40)]),
        lambda: ledger.settle([make.honest(run.id, 2), make.honest(run.id, 3)]),
        lambda: ledger.control(run.id, Control.RUNNING),
        lambda: ledger.settle([make.honest(run.id, 4)]),
    ]
    for call in calls:
        database.next_is = lost
        with pytest.raises(LedgerUnavailableError):
            call()
        call()
    # Then each transaction is one link, and the run is proven
    links = [(row["writer"].partition("-")[0], row["place"]) for row in everything(ledger)["links"]]
    assert sorted(links) == [
        *(("dispatch", place) for place in (1, 2, 3)),
        *(("settling", place) for place in (1, 2, 3, 4)),
        *(("steering", place) for place in (1, 2)),
    ]
    report = audit_ledger(ledger, run)
    assert report.problems == []
    assert report.verdict is Verdict.PROVEN


def test_transaction_that_was_committed_late_does_not_fork_the_chain(
    ledger: Ledger, ledger_url: str, run: Run
) -> None:
    # Given a process that knows where its chain ends
    ledger.settle([make.honest(run.id, 0)])
    writer = ledger._settling._writer
    (end,) = writer._last.values()
    # When a transaction that it took for lost adds a link after all
    with ledger.writing() as connection:
        row = {"run": run.id, "writer": writer.name, "place": end.place + 1, "digest": "0" * 64}
        connection.execute(schema.links.insert(), row)
    # Then its next one is refused, and goes on from there when it is made again
    with pytest.raises(LedgerUnavailableError, match="lost connection"):
        ledger.settle([make.honest(run.id, 1)])
    assert ledger.settle([make.honest(run.id, 1)])[0].new
    (end,) = writer._last.values()
    assert end.place == 3


def test_worker_that_is_killed_leaves_a_chain_that_others_do_not_need(ledger_url: str) -> None:
    # Given a run whose first worker is gone after a few batches, without a word
    first = Ledger.open(ledger_url)
    made = honest.Rehearsal(first)
    made.dispatch()
    made.join()
    made.work_off(most=3)
    gone = made.workers.pop()
    gone.abandon()
    # When another one, with a ledger of its own, does the rest, and what the first one had in hand
    second = Ledger.open(ledger_url)
    made.ledger = second
    made.join()
    made.work_off()
    made.stop()
    # Then there are two chains, and the run is proven
    found = everything(second)["links"]
    assert len({row["writer"] for row in found if row["writer"].startswith("settling-")}) == 2
    assert audit_ledger(second, made.run).verdict is Verdict.PROVEN
    gone.stop()


def test_writers_share_no_row(ledger: Ledger, ledger_url: str, run: Run) -> None:
    other = Ledger.open(ledger_url)
    other.join("w2", [make.profile()])
    ledger.settle([make.honest(run.id, 0)])
    other.settle([make.honest(run.id, 1, worker="w2")])
    places = [
        (row["writer"], row["place"])
        for row in everything(ledger)["links"]
        if row["writer"].startswith("settling-")
    ]
    assert len(places) == len(set(places)) == 2
    assert {place for _, place in places} == {1}


def test_run_that_is_sealed_takes_nothing_more(ledger: Ledger) -> None:
    run = honest.RUNS["retried"](ledger)
    before = audit_ledger(ledger, run)
    assert before.sealed
    # When somebody is late
    ledger.mark_published(run.id, [(0, NOON)])
    ledger.note_resume(run.id)
    assert ledger.control(run.id, Control.PAUSED) is Control.RUNNING
    # Then nothing has changed
    assert audit_ledger(ledger, run) == before


def test_first_seal_stands(ledger: Ledger) -> None:
    run = honest.RUNS["retried"](ledger)
    seals = {audit_ledger(ledger, run).seal for _ in range(3)}
    assert len(seals) == 1
    assert [row["seal"] for row in everything(ledger)["seals"]] == list(seals)


def test_run_whose_producer_has_something_to_note_is_not_sealed_yet(ledger: Ledger) -> None:
    # Given a run that has ended before its producer noted that the last batch was confirmed
    made = honest.Rehearsal(ledger)
    made.dispatch()
    made.join()
    with ledger.writing() as connection:
        batch = schema.batches
        connection.execute(batch.update().where(batch.c.number == 1).values(published_at=None))
    made.work_off()
    made.stop()
    # Then it is proven, and sealed once that is noted
    report = audit_ledger(ledger, made.run)
    assert (report.verdict, report.seal) == (Verdict.PROVEN, None)
    ledger.mark_published(made.run.id, [(1, made.run.started_at + 1)])
    assert audit_ledger(ledger, made.run).sealed


# What is hashed of a row


@pytest.mark.parametrize(
    ("table", "left_out"),
    [
        (schema.runs, {"id", "control", "next_index", "next_batch", "digest"}),
        (schema.batches, {"published_at"}),
        (schema.workers, {"heartbeat", "left_at", "seen_at", "digest"}),
        (schema.absorbed, {"digest"}),
        (schema.settlements, set()),
    ],
)
def test_all_is_hashed_but_what_changes_later(table: Table, left_out: set[str]) -> None:
    # Given a row in which each value is another
    row = {column.name: place for place, column in enumerate(table.columns)}
    # When it is hashed, then nothing is missing but what changes after it was written
    kept = [place for name, place in row.items() if name not in left_out]
    assert chains.values(table, row) == kept


def test_a_digest_is_over_the_name_of_the_table_and_what_does_not_change() -> None:
    row = {column.name: place for place, column in enumerate(schema.absorbed.columns)}
    kept = [place for name, place in row.items() if name != "digest"]
    assert chains.digest(schema.absorbed, row) == seal.digest_of("absorbed", *kept)


def test_whole_numbers_and_fractions_are_hashed_as_their_columns_are() -> None:
    # Given a database that gives whole numbers back where fractions were written
    row = {column.name: 1 for column in schema.batches.columns} | {"queued_at": 5}
    hashed = [column.name for column in schema.batches.columns if column.name != "published_at"]
    found = dict(zip(hashed, chains.values(schema.batches, row), strict=True))
    assert type(found["queued_at"]) is float
    assert type(found["size"]) is int


def test_each_kind_of_rows_has_a_chain_of_its_own(ledger: Ledger, run: Run) -> None:
    ledger.settle([make.honest(run.id, 0)])
    ledger.control(run.id, Control.PAUSED)
    kinds = {row["writer"].partition("-")[0] for row in everything(ledger)["links"]}
    assert kinds == {"dispatch", "settling", "steering"}
