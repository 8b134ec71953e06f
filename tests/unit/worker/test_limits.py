"""A worker on the real clock keeps to carriers' limits, and starts nothing in an outage."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import pytest

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.events import Event, Spell, spells_of
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.delivery import Play, Played
from sms_pipeline.worker.process import Worker
from tests.unit import make
from tests.unit.worker.fakes import aside

PATIENCE_SECONDS = 30


def played(ledger: Ledger, profile: SenderProfile, batches: Sequence[Batch]) -> list[Played]:
    """Let a worker play all of them at once."""
    worker = Worker(ledger, [profile])
    worker.start()
    playing = [aside(worker.perform, Play(batch, math.inf)) for batch in batches]
    found = [one.result(PATIENCE_SECONDS) for one in playing]
    worker.stop()
    return found


def test_no_second_sees_more_messages_than_the_limit(ledger: Ledger) -> None:
    # Given a number that passes 40 parts a second, and three batches at once
    profile = make.profile(parts_per_second=40.0, mean_time=0.0, failure_rate=0)
    batches = [make.batch(40, number=number) for number in range(3)]
    # When they are played
    ends = np.sort(np.concatenate([one.ended_at for one in played(ledger, profile, batches)]))
    # Then no second has more, wherever it begins, and none less but the last
    in_a_second = np.searchsorted(ends, ends + 0.999) - np.arange(len(ends))
    assert in_a_second.max() == 40
    assert ends[-1] - ends[0] == pytest.approx(2, abs=0.01)


def test_nothing_starts_in_an_outage(ledger: Ledger, run: Run) -> None:
    # Given messages of a known time, and an outage that begins in the middle of them
    profile = make.profile(count=4, mean_time=0.02, shape=1e6, failure_rate=0)
    begin = time.time() + 0.2
    outage = Event.model_validate({"at": 0, "for": 0.5, "outage": True})
    batch = make.batch(80, events=spells_of((outage,), begin))
    # When they are played
    ((outcomes, ended_at),) = played(ledger, profile, [batch])
    # Then those that had not started wait until it is over
    starts = ended_at - outcomes.durations
    assert not ((starts >= begin) & (starts < begin + 0.499)).any()
    assert (starts < begin).any()
    assert (starts >= begin + 0.499).any()
    assert outcomes.delivered.all()


def test_what_is_echoed_is_what_is_settled(ledger: Ledger) -> None:
    # Given attempts that fail if they start while something is wrong
    heard: dict[int, bool] = {}

    def echo(_batch: Batch, outcomes: Outcomes, positions: np.ndarray) -> None:
        heard.update((place, bool(outcomes.delivered[place])) for place in positions.tolist())

    begin = time.time() + 0.1
    batch = make.batch(60, events=(Spell(start=begin, end=begin + 0.1, failure_rate=1.0),))
    worker = Worker(ledger, [make.profile(count=4, mean_time=0.02, failure_rate=0)], echo=echo)
    worker.start()
    outcomes, _ = worker.perform(Play(batch, math.inf))
    worker.stop()
    assert [heard[place] for place in range(60)] == outcomes.delivered.tolist()
    assert 0 < outcomes.delivered.sum() < 60
