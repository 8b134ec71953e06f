"""Whatever is changed in the ledger of a run that has ended is found, with the constraints off."""

# ruff: noqa: E501, S608 - statements are read more easily on one line, and are all ours

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from sms_pipeline.core.errors import DamagedLedgerError, NoLedgerError, UnknownRunError
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from tests.unit.ledger import honest


class Made(NamedTuple):
    """The file of a ledger, and the seal of its run."""

    file: Path
    seal: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """A ledger of each kind of run, audited and sealed."""
    found = {}
    for kind in ("two workers", "receipts", "expired", "cancelled", "delivered twice"):
        file = tmp_path_factory.mktemp("made") / "ledger.db"
        ledger = Ledger.open(f"sqlite:///{file}")
        report = audit_ledger(ledger, honest.RUNS[kind](ledger))
        assert report.verdict is Verdict.PROVEN, report.problems
        assert report.sealed
        assert report.seal
        ledger.close()
        found[kind] = Made(file, report.seal)
    return found


#: The last message that failed, one of its batch that was delivered, and the last batch.
_FAILED = "(SELECT max(message_index) FROM failures WHERE reason = 'failed')"
_LAST = "(SELECT max(number) FROM batches)"
_RETRIED = (
    "attempt = 0 AND retried > 0 AND batch = (SELECT min(batch) FROM settlements WHERE retried)"
)
_FIRST = "batch = 0 AND attempt = 0"

#: How a run of two workers with retries is falsified.
FALSIFIED: dict[str, str] = {
    # The run
    "another seed": "UPDATE runs SET seed = seed + 1",
    "an earlier start": "UPDATE runs SET started_at = started_at - 1",
    "a later start": "UPDATE runs SET started_at = started_at + 0.001",
    "fewer messages asked for": "UPDATE runs SET total = total - 1",
    "more messages asked for": "UPDATE runs SET total = total + 1",
    "another name": "UPDATE runs SET simulation = replace(simulation, '\"name\":null', '\"name\":\"x\"')",
    "more attempts allowed": (
        "UPDATE runs SET simulation = replace(simulation, '\"max_attempts\":3', '\"max_attempts\":4')"
    ),
    "fewer attempts allowed": (
        "UPDATE runs SET simulation = replace(simulation, '\"max_attempts\":3', '\"max_attempts\":2')"
    ),
    "a deadline of 1 ms": (
        "UPDATE runs SET simulation = replace(simulation, '\"deadline\":null', '\"deadline\":0.001')"
    ),
    "another failure rate": "UPDATE runs SET simulation = replace(simulation, '0.3', '0.2')",
    "another profile's name": "UPDATE runs SET simulation = replace(simulation, '\"fast\"', '\"fest\"')",
    "a broker inside the process": "UPDATE runs SET embedded = 1 - embedded",
    "cancelled afterwards": "UPDATE runs SET control = 'cancelled'",
    "paused afterwards": "UPDATE runs SET control = 'paused'",
    "dispatch stands elsewhere": "UPDATE runs SET next_index = next_index - 1",
    "fewer batches dispatched": "UPDATE runs SET next_batch = next_batch - 1",
    "another number": "UPDATE runs SET id = 2",
    "another ledger": "UPDATE ledger_identity SET id = 'other'",
    # Batches
    "a batch removed": "DELETE FROM batches WHERE number = 1",
    "the last batch removed": f"DELETE FROM batches WHERE number = {_LAST}",
    "a batch of another profile": "UPDATE batches SET profile = 'slow' WHERE profile = 'fast'",
    "a batch of an unknown profile": "UPDATE batches SET profile = 'none' WHERE number = 0",
    "a batch moved": "UPDATE batches SET first_index = first_index + 1 WHERE number = 1",
    "a larger batch": "UPDATE batches SET size = size + 1 WHERE number = 0",
    "queued earlier": "UPDATE batches SET queued_at = queued_at - 0.001 WHERE number = 0",
    "queued before the start": "UPDATE batches SET queued_at = queued_at - 1e6 WHERE number = 0",
    "published at another time": "UPDATE batches SET published_at = published_at + 1 WHERE number = 0",
    "published before it was queued": "UPDATE batches SET published_at = 1 WHERE number = 0",
    "never published": "UPDATE batches SET published_at = NULL WHERE number = 0",
    "recorded by another": "UPDATE batches SET writer = 'dispatch-000000000000' WHERE number = 0",
    "recorded at another place": "UPDATE batches SET link = link + 1 WHERE number = 0",
    # Settlements
    "a settlement removed": f"DELETE FROM settlements WHERE {_FIRST}",
    "a last attempt removed": "DELETE FROM settlements WHERE attempt = 2",
    "settled by nobody known": f"UPDATE settlements SET worker = 'nobody' WHERE {_FIRST}",
    "settled by the other worker": (
        "UPDATE settlements SET worker = (SELECT max(worker) FROM settlements) "
        "WHERE worker = (SELECT min(worker) FROM settlements)"
    ),
    "settled by cancel": f"UPDATE settlements SET worker = 'cancel' WHERE {_FIRST}",
    "settled for another profile": f"UPDATE settlements SET profile = 'slow' WHERE {_FIRST}",
    "a negative count": f"UPDATE settlements SET delivered = -1 WHERE {_FIRST}",
    "a delivered message more": f"UPDATE settlements SET delivered = delivered + 1 WHERE {_FIRST}",
    "delivered instead of failed": (
        "UPDATE settlements SET delivered = delivered + failed, failed = 0 WHERE attempt = 2"
    ),
    "failed instead of delivered": (
        "UPDATE settlements SET failed = failed + 1, delivered = delivered - 1 WHERE attempt = 2"
    ),
    "failed before the last attempt": (
        f"UPDATE settlements SET failed = 1, delivered = delivered - 1 WHERE {_RETRIED}"
    ),
    "expired without a deadline": (
        f"UPDATE settlements SET expired = 1, delivered = delivered - 1 WHERE {_FIRST}"
    ),
    "cancelled in a run that never was": (
        f"UPDATE settlements SET cancelled = 1, delivered = delivered - 1 WHERE {_FIRST}"
    ),
    "more attempts than allowed": "UPDATE settlements SET attempt = 3 WHERE attempt = 2",
    "attempt 2 before attempt 1": (
        "UPDATE settlements SET settled_at = settled_at - 0.05 WHERE attempt = 1"
    ),
    "settled before it was queued": f"UPDATE settlements SET settled_at = settled_at - 1e4 WHERE {_FIRST}",
    "settled a millisecond later": f"UPDATE settlements SET settled_at = settled_at + 1e-3 WHERE {_FIRST}",
    "send seconds": f"UPDATE settlements SET send_seconds = send_seconds * 2 WHERE {_FIRST}",
    "delivery seconds": f"UPDATE settlements SET delivery_seconds = delivery_seconds / 2 WHERE {_FIRST}",
    "transit seconds": f"UPDATE settlements SET transit_seconds = transit_seconds / 2 WHERE {_FIRST}",
    "taken by another bitmap": "UPDATE settlements SET taken = zeroblob(length(taken)) WHERE attempt = 1",
    "left by another bitmap": f"UPDATE settlements SET remainder = zeroblob(length(remainder)) WHERE {_RETRIED}",
    "nothing left": f"UPDATE settlements SET remainder = NULL WHERE {_RETRIED}",
    "settled in another chain": f"UPDATE settlements SET writer = 'settling-0' WHERE {_FIRST}",
    "settled at another place": f"UPDATE settlements SET link = link + 1 WHERE {_FIRST}",
    "settled for another run": f"UPDATE settlements SET run = 2 WHERE {_FIRST}",
    # Failures
    "a failure removed": f"DELETE FROM failures WHERE message_index = {_FAILED}",
    "a failure swapped for a delivered message": (
        "UPDATE failures SET message_index = (SELECT b.first_index FROM batches b WHERE NOT EXISTS "
        "(SELECT 1 FROM failures f WHERE f.message_index = b.first_index) AND b.number = "
        f"failures.batch) WHERE message_index = {_FAILED}"
    ),
    "a failure of another batch": f"UPDATE failures SET batch = batch + 1 WHERE message_index = {_FAILED}",
    "a failure after fewer attempts": "UPDATE failures SET attempts = attempts - 1",
    "a failure after more attempts": f"UPDATE failures SET attempts = 9 WHERE message_index = {_FAILED}",
    "a failure of another profile": f"UPDATE failures SET profile = 'none' WHERE message_index = {_FAILED}",
    "a failure for another reason": f"UPDATE failures SET reason = 'expired' WHERE message_index = {_FAILED}",
    "a failure at another time": f"UPDATE failures SET failed_at = failed_at + 1 WHERE message_index = {_FAILED}",
    "a failure made up": (
        "INSERT INTO failures SELECT run, 0, 0, 'fast', 'failed', 3, failed_at FROM failures LIMIT 1"
    ),
    # Sums
    **{
        f"counter {name}": f"UPDATE counters SET {name} = {name} + 1"
        for name in (
            "settlements", "first_attempts", "attempts", "delivered", "failed", "expired",
            "cancelled", "retried", "send_seconds", "delivery_seconds", "transit_seconds",
            "longest_delivery", "last_settled_at",
        )
    },
    "counters swapped between workers": (
        "UPDATE counters SET worker = '~' WHERE worker = (SELECT min(worker) FROM settlements);"
        "UPDATE counters SET worker = (SELECT min(worker) FROM settlements) WHERE worker != '~';"
        "UPDATE counters SET worker = (SELECT max(worker) FROM settlements) WHERE worker = '~';"
    ),
    "a counter removed": "DELETE FROM counters WHERE profile = 'fast'",
    "a negative counter": "UPDATE counters SET delivered = -delivered",
    "a histogram moved": "UPDATE delivery_times SET bucket = bucket + 1 WHERE bucket = (SELECT max(bucket) FROM delivery_times)",
    "a histogram counts more": "UPDATE delivery_times SET messages = messages + 1",
    "a negative histogram": "UPDATE delivery_times SET messages = -messages",
    "a histogram removed": "DELETE FROM delivery_times",
    "fewer dispatched": "UPDATE dispatched SET messages = messages - 1",
    "fewer batches counted": "UPDATE dispatched SET batches = batches - 1",
    "dispatched later": "UPDATE dispatched SET last_at = last_at + 1",
    "the last batch removed from all": (
        f"UPDATE runs SET total = (SELECT first_index FROM batches WHERE number = {_LAST}), "
        f"next_index = (SELECT first_index FROM batches WHERE number = {_LAST}), next_batch = {_LAST};"
        f"DELETE FROM failures WHERE batch = {_LAST};"
        f"DELETE FROM settlements WHERE batch = {_LAST};"
        f"DELETE FROM batches WHERE number = {_LAST};"
    ),
    # Workers
    "a worker's name": "UPDATE workers SET id = 'other' WHERE id = (SELECT min(worker) FROM counters)",
    "a worker removed": "DELETE FROM workers",
    "a worker's senders": "UPDATE workers SET senders = senders * 2",
    "a worker's failure rate": "UPDATE workers SET failure_rate = 0.01",
    "a worker's mean time": "UPDATE workers SET mean_time = 9.0",
    "a worker's shape": "UPDATE workers SET shape = 9.0",
    "a worker's longest time": "UPDATE workers SET max_time = 9.0",
    "a worker joined earlier": "UPDATE workers SET joined_at = joined_at - 1",
    "a worker's own profile": "UPDATE workers SET profile = 'brought' WHERE profile = 'fast'",
    # Chains and seal
    "a link changed": "UPDATE links SET digest = substr(digest, 2) || substr(digest, 1, 1) WHERE place = 1",
    "a link removed": "DELETE FROM links WHERE place = 1",
    "the last links removed": "DELETE FROM links WHERE place > 1",
    "a link made up": "INSERT INTO links SELECT run, 'settling-x', 1, digest FROM links LIMIT 1",
    "a chain renamed": "UPDATE links SET writer = 'x' || writer",
    "the seal changed": "UPDATE seals SET seal = substr(seal, 2) || substr(seal, 1, 1)",
    "a step made up": (
        "INSERT INTO steps SELECT 1, 1, 'paused', started_at + 1, 0.0, 'steering-x', 1 FROM runs"
    ),
    # What can't be read
    "no configuration": "UPDATE runs SET simulation = '{'",
    "a text in a column of numbers": f"UPDATE settlements SET delivered = 'many' WHERE {_FIRST}",
    "a text in a column of moments": "UPDATE batches SET queued_at = 'noon' WHERE number = 0",
    "binary in a column of texts": "UPDATE batches SET profile = x'ff00' WHERE number = 0",
    "a fraction in a column of numbers": f"UPDATE settlements SET retried = 1.5 WHERE {_FIRST}",
    "an unknown state": "UPDATE runs SET control = 'sleeping'",
    "an unknown reason": "UPDATE failures SET reason = 'tired'",
    "a bucket that is none": "UPDATE delivery_times SET bucket = 999999 WHERE bucket = "
    "(SELECT max(bucket) FROM delivery_times)",
    "a moment that never comes": "UPDATE runs SET started_at = 1e300",
    "no table of settlements": "DROP TABLE settlements",
    "the run removed": "DELETE FROM runs",
}  # fmt: skip
#: The same, of other runs.
OTHERS: dict[tuple[str, str], str] = {
    ("expired", "no deadline"): (
        "UPDATE runs SET simulation = replace(simulation, '\"deadline\":0.02', '\"deadline\":null')"
    ),
    ("expired", "a longer deadline"): (
        "UPDATE runs SET simulation = replace(simulation, '\"deadline\":0.02', '\"deadline\":9.0')"
    ),
    ("expired", "delivered instead"): (
        "UPDATE settlements SET delivered = delivered + expired, expired = 0"
    ),
    ("cancelled", "never cancelled"): "UPDATE runs SET control = 'running'",
    ("cancelled", "no steps"): "DELETE FROM steps",
    ("cancelled", "cancelled at another time"): "UPDATE steps SET at = at + 1 WHERE what = 'cancelled'",
    ("cancelled", "resumed instead of paused"): "UPDATE steps SET what = 'resumed' WHERE what = 'paused'",
    ("cancelled", "steps in another order"): "UPDATE steps SET id = 10 - id",
    ("cancelled", "after a rest"): "UPDATE steps SET idle_seconds = 5.0",
    ("cancelled", "delivered instead"): (
        "UPDATE settlements SET delivered = cancelled, cancelled = 0 WHERE cancelled > 0"
    ),
    **{
        ("receipts", f"counter {name}"): f"UPDATE receipt_counters SET {name} = {name} + 1"
        for name in ("receipts", "missing", "seconds", "longest")
    },
    **{
        ("receipts", f"{name} of an attempt"): f"UPDATE receipts SET {name} = {name} + 1 WHERE {_FIRST}"
        for name in ("receipts", "missing", "seconds")
    },
    ("receipts", "came after all"): (
        f"UPDATE receipts SET receipts = receipts + missing, missing = 0 WHERE {_FIRST}"
    ),
    ("receipts", "of an attempt removed"): f"DELETE FROM receipts WHERE {_FIRST}",
    ("receipts", "of another attempt"): f"UPDATE receipts SET attempt = 7 WHERE {_FIRST}",
    ("receipts", "of another batch"): f"UPDATE receipts SET batch = 999 WHERE {_FIRST}",
    ("receipts", "made up"): (
        "INSERT INTO receipts SELECT run, batch, attempt, delivered, 0, 999.0 FROM settlements "
        "WHERE profile = 'slow'"
    ),
    ("receipts", "all removed"): (
        "DELETE FROM receipts; DELETE FROM receipt_counters; DELETE FROM receipt_times"
    ),
    ("receipts", "sums removed"): "DELETE FROM receipt_counters",
    ("receipts", "of another worker"): (
        "UPDATE receipt_counters SET worker = 'other' WHERE worker = (SELECT min(worker) FROM receipt_counters)"
    ),
    ("receipts", "a histogram moved"): "UPDATE receipt_times SET bucket = bucket + 1 WHERE bucket = (SELECT max(bucket) FROM receipt_times)",
    ("receipts", "a histogram counts more"): "UPDATE receipt_times SET messages = messages + 1",
    ("receipts", "a negative histogram"): "UPDATE receipt_times SET messages = -messages",
    ("receipts", "a histogram removed"): "DELETE FROM receipt_times",
    ("receipts", "a text instead of a number"): "UPDATE receipts SET missing = 'many'",
    ("delivered twice", "nothing came twice"): "UPDATE absorbed SET batches = 0, messages = 0",
    ("delivered twice", "came twice elsewhere"): "UPDATE absorbed SET worker = 'other'",
    ("delivered twice", "came twice in another way"): "UPDATE absorbed SET kind = 'repeated'",
}  # fmt: skip
CASES = [("two workers", name, sql) for name, sql in FALSIFIED.items()]
CASES += [(kind, name, sql) for (kind, name), sql in OTHERS.items()]


@pytest.fixture
def falsified(
    request: pytest.FixtureRequest, made: dict[str, Made], tmp_path: Path
) -> Iterator[tuple[Path, str]]:
    """A copy of a ledger in which a statement has changed something; and the seal of before."""
    kind, _, sql = request.param
    file = tmp_path / "ledger.db"
    shutil.copyfile(made[kind].file, file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        before = list(connection.iterdump())
        connection.executescript(sql)
        assert list(connection.iterdump()) != before, "the statement changed nothing"
    yield file, made[kind].seal


@pytest.mark.parametrize(
    "falsified", CASES, indirect=True, ids=[f"{kind}: {name}" for kind, name, _ in CASES]
)
def test_what_was_falsified_is_found(falsified: tuple[Path, str]) -> None:
    file, _ = falsified
    try:
        ledger = Ledger.open_to_read(f"sqlite:///{file}")
        report = audit_ledger(ledger, ledger.run(1))
    except (DamagedLedgerError, UnknownRunError) as error:
        assert "\n" not in str(error)
        return
    assert report.verdict is Verdict.BROKEN
    assert all("\n" not in problem for problem in report.problems)


def test_there_are_enough_ways_to_falsify() -> None:
    assert len(CASES) >= 100


# The whole ledger, written anew


def test_who_writes_all_chains_anew_is_found_by_the_seal_that_was_noted(
    made: dict[str, Made], tmp_path: Path
) -> None:
    # Given another run with the same settings, in a ledger of the same name
    other = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    report = audit_ledger(other, honest.RUNS["two workers"](other))
    assert report.verdict is Verdict.PROVEN
    # When it is held against the seal of the first one
    report.compare_seal(made["two workers"].seal[:8])
    # Then it is found
    assert report.verdict is Verdict.BROKEN
    assert len(report.problems) == 1


@pytest.mark.parametrize("part", range(0, 100, 5))
def test_bytes_that_are_overwritten_are_found_or_were_of_no_use(
    made: dict[str, Made], tmp_path: Path, part: int
) -> None:
    file, seal = tmp_path / "ledger.db", made["two workers"].seal
    content = bytearray(made["two workers"].file.read_bytes())
    start = len(content) * part // 100
    content[start : start + 64] = bytes(range(100, 164))
    file.write_bytes(content)
    try:
        ledger = Ledger.open_to_read(f"sqlite:///{file}")
        report = audit_ledger(ledger, ledger.run(1))
    except (DamagedLedgerError, UnknownRunError, NoLedgerError):
        return
    # Unused space of a page, or a column that may change
    assert report.verdict is Verdict.BROKEN or report.seal == seal
