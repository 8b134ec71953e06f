"""Sender banks on virtual time: as few steps as do not make an end late."""

from __future__ import annotations

import numpy as np
import pytest

from sms_pipeline.core.sender_bank import SenderBank
from sms_pipeline.core.submission import Finished
from sms_pipeline.forecast.agenda import Agenda
from sms_pipeline.forecast.senders import Senders
from tests.unit import make

STRIDE = 0.5
SECONDS = 3_000


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    step = SenderBank.step

    def counted(bank: SenderBank, now: float) -> list[Finished]:
        taken.append(now)
        return step(bank, now)

    monkeypatch.setattr(SenderBank, "step", counted)
    return taken


@pytest.mark.parametrize("busy", [1, 2], ids=["sending", "waiting behind another"])
def test_a_long_submission_takes_few_steps_and_its_end_is_told_at_once(
    busy: int, steps: list[float]
) -> None:
    agenda = Agenda()
    senders = Senders(agenda, [make.profile(count=2)], STRIDE)
    told: list[float] = []
    for _ in range(busy):
        durations = np.ones(2 * SECONDS)
        senders.play("fast", durations, np.inf, lambda _: told.append(agenda.monotonic()))
    agenda.run(lambda: False)
    assert told == [SECONDS * number for number in range(1, busy + 1)]
    assert len(steps) < 20 * busy
