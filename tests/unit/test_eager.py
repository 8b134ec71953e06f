"""A run without a broker, for the tests of others."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, current_app

from sms_pipeline import RetryPolicy, SenderProfile, Simulation, Verdict, send_sms
from sms_pipeline.celery import app
from sms_pipeline.testing import eager_run
from sms_pipeline.worker import pipeline


def simulation(**values: Any) -> Simulation:
    senders = (SenderProfile(name="mine", mean_time=0.0, failure_rate=0.5),)
    given = {"num_messages": 100, "batch_size": 30, "senders": senders, **values}
    return Simulation(**{"retry": RetryPolicy(max_attempts=3, backoff=0), **given})


def test_every_message_of_an_eager_run_has_one_fate() -> None:
    with eager_run(simulation()) as rehearsal:
        for batch in rehearsal.batches():
            send_sms.delay(batch.to_wire())
        result = rehearsal.audit()
        counts = rehearsal.ledger.snapshot(rehearsal.run).counts
    assert (result.verdict, result.batches) == (Verdict.PROVEN, 4)
    assert counts.delivered + counts.failed == 100
    assert counts.failed > 0
    assert counts.attempts > 100


def test_a_run_of_which_a_batch_was_not_sent_is_not_proven() -> None:
    with eager_run(simulation()) as rehearsal:
        for batch in list(rehearsal.batches())[:-1]:
            send_sms.delay(batch.to_wire())
        assert rehearsal.audit().verdict is Verdict.UNFINISHED


def test_another_app_of_the_process_does_not_get_its_tasks() -> None:
    before = current_app._get_current_object()
    try:
        Celery("of somebody else").set_default()
        with eager_run(simulation(num_messages=10)) as rehearsal:
            for batch in rehearsal.batches():
                send_sms.delay(batch.to_wire())
            assert rehearsal.audit().verdict is Verdict.PROVEN
    finally:
        before.set_default()
        before.set_current()


def test_profiles_take_turns() -> None:
    senders = tuple(
        SenderProfile(name=name, mean_time=0.0, failure_rate=0.0) for name in ("one", "two")
    )
    with eager_run(simulation(senders=senders)) as rehearsal:
        assert [batch.profile for batch in rehearsal.batches()] == ["one", "two", "one", "two"]


def test_afterwards_all_is_as_before() -> None:
    before = pipeline.installed()
    with pytest.raises(KeyError), eager_run(simulation()):
        assert app.conf.task_always_eager
        raise KeyError
    assert not app.conf.task_always_eager
    assert pipeline.installed() is before
