"""The checker sees what it must see. No service is needed here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker import delivery
from tests.chaos import instruments
from tests.chaos.checker import Findings, Indexes, Played, Recorded, check
from tests.chaos.evidence import Evidence, read_journals
from tests.unit import make

NOBODY: Indexes = frozenset()
ALL: Indexes = frozenset(range(10))


def _recorded(taken: Indexes, attempt: int = 0, batch: int = 0, **values: Any) -> Recorded:
    defaults: dict[str, Any] = {
        "worker": "w1",
        "remainder": NOBODY,
        "unreached": NOBODY,
        "cancelled": False,
    }
    return Recorded(batch=batch, attempt=attempt, taken=taken, **{**defaults, **values})


def _played(
    taken: Indexes, delivered: Indexes, attempt: int = 0, batch: int = 0, worker: str = "w1"
) -> Played:
    return Played(worker, batch, attempt, taken, delivered)


#: Ten messages in one batch: 7 is delivered by the second attempt, 8 and 9 never.
RECORDED = (
    _recorded(ALL, remainder=frozenset({7, 8, 9})),
    _recorded(frozenset({7, 8, 9}), attempt=1, unreached=frozenset({8, 9})),
)
PLAYED = (
    _played(ALL, ALL - {7, 8, 9}),
    _played(frozenset({7, 8, 9}), frozenset({7}), attempt=1),
)


def _problems(recorded: tuple[Recorded, ...], played: tuple[Played, ...] = PLAYED) -> str:
    return "\n".join(check(10, recorded, played).problems())


def test_a_run_in_order_has_no_problems() -> None:
    assert check(10, RECORDED, PLAYED) == Findings()


def test_a_lost_index_is_found() -> None:
    # A remainder without 8: nothing else in the ledger misses it.
    broken = (RECORDED[0], _recorded(frozenset({7, 9}), attempt=1, unreached=frozenset({9})))
    assert "1 messages lost: they have no fate: 8" in _problems(broken)


def test_a_doubled_index_is_found() -> None:
    broken = (*RECORDED, _recorded(frozenset({3}), batch=1))
    assert "1 messages counted twice, or not of this run: 3" in _problems(broken)


def test_one_lost_and_one_doubled_are_found_though_totals_agree() -> None:
    first = _recorded(ALL - {4}, remainder=frozenset({7, 8, 9}))
    findings = check(10, (first, RECORDED[1], _recorded(frozenset({5}), batch=1)), PLAYED)
    assert findings.lost == {4}
    assert findings.doubled == {5}


def test_an_index_beyond_the_run_is_found() -> None:
    findings = check(9, RECORDED, PLAYED)
    assert findings.doubled == {9}


def test_a_message_counted_as_sent_that_nobody_sent_is_found() -> None:
    # The ledger says that 8 was reached; its worker says that it was not.
    broken = (RECORDED[0], RECORDED[1]._replace(unreached=frozenset({9})))
    problems = _problems(broken)
    assert "counted as sent that no worker has sent: 8" in problems
    assert "settled otherwise than its worker noted: (0, 1)" in problems


def test_another_workers_outcome_in_the_settlement_is_found() -> None:
    # Another worker did deliver 8, so no total and no union of journals would show it.
    other = _played(frozenset({7, 8, 9}), frozenset({8}), attempt=1, worker="w2")
    broken = (RECORDED[0], RECORDED[1]._replace(unreached=frozenset({7, 9})))
    findings = check(10, broken, (*PLAYED, other))
    assert not findings.invented
    assert findings.disputed == {(0, 1)}


def test_a_settlement_that_no_journal_has_is_found() -> None:
    assert "settled otherwise" in _problems(RECORDED, PLAYED[:1])


def test_a_failure_listed_for_a_message_of_another_attempt_is_found() -> None:
    broken = (RECORDED[0], RECORDED[1]._replace(unreached=frozenset({1, 8, 9})))
    assert "settled otherwise" in _problems(broken)


def test_sent_twice_is_reported_and_allowed() -> None:
    again = _played(ALL, ALL - {0}, worker="w2")
    findings = check(10, RECORDED, (*PLAYED, again))
    assert findings.sent_twice == set(range(1, 8))
    assert findings.extra_sends == 7 + 0
    assert not findings.problems()


def test_what_was_cancelled_has_a_fate_and_needs_no_journal() -> None:
    cancelled = (RECORDED[0], RECORDED[1]._replace(cancelled=True, unreached=NOBODY))
    findings = check(10, cancelled, PLAYED[:1])
    assert not findings.problems()


def test_many_indexes_are_not_all_spelled_out() -> None:
    (problem, *_) = check(1_000, (), ()).problems()
    assert problem.startswith("1000 messages lost")
    assert len(problem) < 100


def test_journal_and_ledger_are_read_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker process's settlement function with a journal, and a run
    monkeypatch.setattr(delivery, "settlement_of", delivery.settlement_of)
    instruments.keep_journal(tmp_path, lambda point: None)
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger.open(url)
    run = ledger.start_run(make.simulation(num_messages=20), seed=1)
    ledger.record_batches(run.id, [make.row(run.id, 0), make.row(run.id, 1, first_index=10)])

    # When two attempts of its second batch are settled, the last of them in vain
    batch = make.batch(run=run.id, number=1, first_index=10)
    for delivered in (range(7), range(1)):
        done = np.isin(np.arange(batch.count), list(delivered))
        outcomes = Outcomes(np.ones(batch.count), done)
        batch = batch.model_copy(update={"retry": _attempts(2)})
        settlement = delivery.settlement_of(batch, outcomes, np.ones(batch.count), "w1", 0.0)
        ledger.settle([settlement])
        if batch.attempt == 0:
            batch = batch.remainder(np.flatnonzero(~done))

    # Then journal and ledger agree, and the first batch is what is lost
    evidence = Evidence(url, run.id)
    recorded = sorted(evidence.recorded(), key=lambda settlement: settlement.attempt)
    findings = check(20, recorded, read_journals(tmp_path, run.id))
    assert [settlement.delivered for settlement in recorded] == [set(range(10, 17)), {17}]
    assert recorded[1].unreached == {18, 19}
    assert findings == Findings(lost=set(range(10)))
    assert evidence.counts() == (13, 10)
    assert evidence.settled_attempts(1) == 2
    assert evidence.ledger_id() == ledger.id
    ledger.close()


def _attempts(number: int) -> object:
    return make.batch().retry.model_copy(update={"max_attempts": number})


def test_a_failpoint_strikes_at_its_number_and_at_no_other_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(number))
    reach = instruments.failpoint("after-commit:2")
    reach(instruments.Point.AFTER_COMMIT)
    reach(instruments.Point.AFTER_RETRY)
    assert not killed
    reach(instruments.Point.AFTER_COMMIT)
    assert killed == [9]
