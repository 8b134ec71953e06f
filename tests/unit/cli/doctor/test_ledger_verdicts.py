"""What was seen at the ledger's database, and what it means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sms_pipeline.cli.doctor import ledger_verdicts as verdicts
from sms_pipeline.cli.doctor.check import State
from sms_pipeline.cli.doctor.ledger_probes import (
    ClockReading,
    Connections,
    Contents,
    Pooling,
    ServerState,
)
from sms_pipeline.ledger.schema import SCHEMA_VERSION

GOOD = ServerState("15.3", "UTF8", is_read_only=False, is_durable=True)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ('FATAL:  password authentication failed for user "sms"', "password"),
        ('FATAL:  database "sms" does not exist', "createdb"),
        ("connection refused", "start PostgreSQL"),
        ("connection timeout expired", "firewall"),
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ("could not translate host name", "correct the host"),
        ("something new", "check that the database is up"),
    ],
)
def test_why_there_is_no_connection(words: str, remedy: str) -> None:
    check = verdicts.unreachable(words)
    assert check.state is State.FAULT
    assert check.finding == words
    assert remedy in (check.remedy or "")


@pytest.mark.parametrize(
    ("exists", "writable", "state"),
    [(True, True, State.OK), (True, False, State.FAULT), (False, False, State.FAULT)],
)
def test_a_file_that_is_not_there(exists: bool, writable: bool, state: State) -> None:
    assert verdicts.no_file_yet("sqlite:///x", exists, writable, "/folder").state is state


@pytest.mark.parametrize(
    ("contents", "state"),
    [
        (Contents(0, None), State.OK),
        (Contents(3, None), State.FAULT),
        (Contents(12, SCHEMA_VERSION), State.OK),
        (Contents(12, SCHEMA_VERSION - 1), State.FAULT),
        (Contents(12, SCHEMA_VERSION + 1), State.FAULT),
    ],
)
def test_what_a_database_holds(contents: Contents, state: State) -> None:
    assert verdicts.holds("here", contents).state is state


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("database is locked", State.WARNING),
        ("attempt to write a readonly database", State.FAULT),
    ],
)
def test_a_file_that_can_not_be_written(words: str, state: State) -> None:
    assert verdicts.can_not_be_written("file", words).state is state


@pytest.mark.parametrize(
    ("found", "state", "word"),
    [
        (GOOD, State.OK, "15.3"),
        (replace(GOOD, is_read_only=True), State.FAULT, "read-only"),
        (replace(GOOD, encoding="SQL_ASCII"), State.FAULT, "SQL_ASCII"),
        (replace(GOOD, is_durable=False), State.WARNING, "fsync"),
    ],
)
def test_whether_commits_stay(found: ServerState, state: State, word: str) -> None:
    check = verdicts.durability(found)
    assert check.state is state
    assert word in check.finding


def test_missing_rights() -> None:
    assert verdicts.rights([]).state is State.OK
    check = verdicts.rights([f"INSERT on t{n}" for n in range(5)])
    assert check.state is State.FAULT
    assert check.finding.endswith("INSERT on t3 and 1 more")


@pytest.mark.parametrize(("seconds", "state"), [(0.25, State.OK), (0.251, State.WARNING)])
def test_commits(seconds: float, state: State) -> None:
    assert verdicts.commits(seconds).state is state


@pytest.mark.parametrize(
    ("free", "state"),
    [(10**9, State.OK), (10**9 - 1, State.WARNING), (10**7, State.FAULT)],
)
def test_space(free: int, state: State) -> None:
    assert verdicts.space(free).state is state


@pytest.mark.parametrize(("used", "state"), [(77, State.OK), (78, State.WARNING)])
def test_connections(used: int, state: State) -> None:
    # Five processes of four connections each are 20.
    assert verdicts.connections(Connections(97, used), 5).state is state


@pytest.mark.parametrize(
    ("found", "state", "word"),
    [
        (Pooling(False, False), State.OK, "none"),
        (Pooling(True, False), State.OK, "by session"),
        (Pooling(True, True), State.OK, "by transaction"),
    ],
)
def test_pooling(found: Pooling, state: State, word: str) -> None:
    check = verdicts.pooling(found)
    assert check.state is state
    assert word in check.finding


@pytest.mark.parametrize(
    ("reading", "state", "words"),
    [
        (ClockReading(0.0, 0.001), State.OK, "agree to 0.001 s"),
        (ClockReading(0.5, 0.001), State.OK, "agree to 0.499 s"),
        (ClockReading(0.6, 0.01), State.WARNING, "0.590 s behind the database"),
        (ClockReading(-0.6, 0.01), State.WARNING, "0.590 s ahead of the database"),
        # What a slow connection blurs is not held against the clock.
        (ClockReading(2.0, 1.9), State.OK, "agree to 1.900 s"),
        (ClockReading(-3600.0, 0.01), State.FAULT, "deadlines"),
    ],
)
def test_clocks(reading: ClockReading, state: State, words: str) -> None:
    check = verdicts.clocks(reading)
    assert check.state is state
    assert words in check.finding


def test_a_file_for_hosts_that_can_not_reach_it() -> None:
    assert verdicts.sqlite_for_hosts(None) is None
    check = verdicts.sqlite_for_hosts("rabbit.test")
    assert check and check.state is State.WARNING
    assert "rabbit.test" in check.finding
