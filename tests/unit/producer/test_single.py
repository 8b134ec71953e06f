"""One SMS whose number and text the caller gives."""

from __future__ import annotations

from typing import Any

import pytest

from sms_pipeline import SenderProfile, Simulation, Verdict, audit_ledger, send_sms
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.errors import (
    BrokerUnavailableError,
    ConfigError,
    LedgerUnavailableError,
    NeedsBrokerError,
)
from sms_pipeline.core.records import Control
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.recovery import require_messages
from sms_pipeline.producer.single import profile_for, send_one
from sms_pipeline.testing import eager_run, memory_ledger
from sms_pipeline.views.lists import NOT_KEPT, recipient
from sms_pipeline.views.trace import trace_message
from tests.unit import make

TO, TEXT = "202-555-0100", "Evacuate now."


def simulation(*names: str) -> Simulation:
    senders = tuple(
        SenderProfile(name=name, mean_time=0.0, failure_rate=0.0) for name in names or ("mine",)
    )
    return Simulation(senders=senders)


def sent(ledger: Ledger, to: Any = TO, text: Any = TEXT) -> Batch:
    batch = send_one(ledger, lambda batch: batch, simulation(), to, text, embedded=True)
    assert isinstance(batch, Batch)
    return batch


def gone(*_: object) -> None:
    raise LedgerUnavailableError("the ledger is gone")


def test_it_is_a_run_of_one_message_with_that_number_and_text() -> None:
    ledger = memory_ledger()
    batch = sent(ledger)
    assert (batch.to, batch.text, batch.size, batch.attempt) == (TO, TEXT, 1, 0)
    run = ledger.run()
    assert (run.id, run.total, run.next_index) == (batch.run, 1, 1)
    # And nobody takes it for a message that follows from the seed
    assert recipient(run, 0) == NOT_KEPT
    with pytest.raises(ConfigError, match=r"send_sms\.delay"):
        require_messages(run)


def test_its_trace_says_that_the_number_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = memory_ledger()
    sent(ledger)
    trace_message(ledger, ledger.run(), 0)
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "Message 0 of run 1, whose number is not kept, in batch 0:"


def test_in_eager_mode_it_is_played_at_once_and_proven() -> None:
    with eager_run(simulation()) as rehearsal:
        send_sms.delay(TO, TEXT)
        mine = rehearsal.ledger.run()
        assert mine.id != rehearsal.run.id
        assert rehearsal.ledger.snapshot(mine).counts.delivered == 1
        assert audit_ledger(rehearsal.ledger, mine).verdict is Verdict.PROVEN


def test_without_a_broker_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    with pytest.raises(NeedsBrokerError, match="CELERY_BROKER_URL"):
        send_sms.delay(TO, TEXT)


def test_one_that_can_not_be_published_is_cancelled() -> None:
    def refuse(_: Batch) -> None:
        raise BrokerUnavailableError("no")

    ledger = memory_ledger()
    with pytest.raises(BrokerUnavailableError):
        send_one(ledger, refuse, simulation(), TO, TEXT, embedded=False)
    run = ledger.run()
    assert run.control is Control.CANCELLED
    assert ledger.snapshot(run).counts.cancelled == 1
    assert audit_ledger(ledger, run).verdict is Verdict.PROVEN


def test_one_that_is_published_raises_nothing_if_the_ledger_goes_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Else the caller, who was told that it is not sent, would send it again
    ledger = memory_ledger()
    monkeypatch.setattr(ledger, "mark_published", gone)
    assert sent(ledger).run == ledger.run().id
    assert "published could not be noted: the ledger is gone" in caplog.text


def test_one_that_can_not_be_recorded_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = memory_ledger()
    record_batches = ledger.record_batches

    def gone_once(*_: object) -> None:
        monkeypatch.setattr(ledger, "record_batches", record_batches)
        gone()

    monkeypatch.setattr(ledger, "record_batches", gone_once)
    with pytest.raises(LedgerUnavailableError):
        sent(ledger)
    assert ledger.snapshot(ledger.run()).counts.cancelled == 1


def test_why_it_can_not_be_published_is_told_even_if_it_can_not_be_cancelled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: Batch) -> None:
        raise BrokerUnavailableError("no")

    ledger = memory_ledger()
    monkeypatch.setattr(ledger, "control", gone)
    with pytest.raises(BrokerUnavailableError):
        send_one(ledger, refuse, simulation(), TO, TEXT, embedded=False)
    assert "run 1 could not be cancelled: the ledger is gone" in caplog.text


@pytest.mark.parametrize(
    ("to", "text"),
    [
        ("", TEXT),
        ("secret", TEXT),
        ("202-555-0100\n202-555-0101", TEXT),
        ("5" * 99, TEXT),
        (2025550100, TEXT),
        (TO, ""),
        (TO, "x" * 1_531),
        (TO, None),
    ],
)
def test_what_can_not_be_sent_is_refused_and_not_repeated(to: Any, text: Any) -> None:
    ledger = memory_ledger()
    with pytest.raises(ConfigError, match="send_sms") as refused:
        sent(ledger, to, text)
    assert "secret" not in str(refused.value)
    assert ledger.latest_run_id() is None


def test_it_goes_to_a_profile_that_a_worker_is_there_for() -> None:
    one, two = make.worker(profile="one", left_at=make.NOON), make.worker(profile="two")
    assert profile_for(simulation("one", "two"), [one, two]) == "two"
    assert profile_for(simulation("one", "two"), []) == "one"


def test_it_does_not_go_to_the_profile_of_a_worker_that_was_killed() -> None:
    killed = make.worker(profile="one", seen_at=make.NOON)
    alive = make.worker(profile="two", seen_at=make.NOON + 60.0)
    assert profile_for(simulation("one", "two"), [killed, alive]) == "two"
    late = make.worker(profile="one", seen_at=alive.seen_at - 2.0)
    assert profile_for(simulation("one", "two"), [late, alive]) == "one"
