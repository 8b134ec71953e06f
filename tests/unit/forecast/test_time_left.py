"""The time left that views tell, held against simulated runs whose end is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pytest

from sms_pipeline.core.clock import Clock
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.progress import Findings, Tracker
from sms_pipeline.core.records import Retrying, Run, Settled, Settlement
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.agenda import Agenda
from sms_pipeline.forecast.rehearsal import rehearse
from sms_pipeline.forecast.setting import exact_setting
from sms_pipeline.forecast.standing import MemoryBooks
from tests.unit import make

#: Between two looks at a run, seconds.
EVERY = 0.5
#: Time left that is off by less is right.
CLOSE = 0.2


class Watched(MemoryBooks):
    """A run that somebody watches."""

    def __init__(
        self, run: Run, workers: Mapping[str, Sequence[SenderProfile]], clock: Clock
    ) -> None:
        super().__init__(run, workers, clock)
        assert isinstance(clock, Agenda)
        self._agenda = clock
        self._tracker = Tracker(workers)
        self._retrying: dict[int, Retrying] = {}
        #: (seconds from the start, seconds left)
        self.told: list[tuple[float, float | None]] = []
        clock.after(EVERY, self._look)

    def settle(self, group: Sequence[Settlement]) -> list[Settled]:
        for one in group:
            _, batch, attempt = one.key
            self._retrying.pop(batch, None)
            if one.retried:
                self._retrying[batch] = Retrying(
                    batch, one.profile, attempt, one.retried, one.settled_at
                )
        return super().settle(group)

    def _look(self) -> None:
        now, snapshot = self._agenda.monotonic(), self.snapshot(self._run)
        retrying, origin = list(self._retrying.values()), self.origin(self._run.id)
        findings = Findings(retrying=retrying, origin=origin)
        progress = self._tracker.update(snapshot, now, self._agenda.wall(), findings)
        self.told.append((now, progress.eta_seconds))
        if not snapshot.done:
            self._agenda.after(EVERY, self._look)


def errors(simulation: Simulation, seed: int, workers: int | None) -> list[float]:
    """By how much the time left was off, as a share of it, from a quarter of the run on."""
    opened = list[Watched]()

    def opening(*arguments: Any) -> Watched:
        opened.append(Watched(*arguments))
        return opened[0]

    end = rehearse(exact_setting(simulation, workers), seed, opening).seconds
    found = []
    for at, told in opened[0].told:
        if end / 4 <= at < end - EVERY:
            assert told is not None
            found.append(abs(told - (end - at)) / (end - at))
    return found


CASES: dict[str, tuple[dict[str, Any], int | None]] = {
    "default": ({"num_messages": 20_000}, None),
    "static": ({"num_messages": 5_000, "routing": "static"}, None),
    "workers": ({"num_messages": 10_000}, 2),
    "no retries": ({"num_messages": 5_000, "retry": {"max_attempts": 1}}, None),
    "long pauses": (
        {
            "num_messages": 3_000,
            "senders": [make.profile(count=30, failure_rate=0.2).model_dump()],
            "retry": {"backoff": 10, "max_attempts": 5},
        },
        None,
    ),
    "few senders": (
        {"num_messages": 200, "senders": [make.profile(count=3, mean_time=1.0).model_dump()]},
        None,
    ),
}


#: Of a run of 18 s.
EVENTS: dict[str, list[dict[str, Any]]] = {
    "outage": [{"at": 5, "for": 10, "outage": True}],
    "part of the senders": [{"at": 3, "for": 15, "outage": True, "share": 0.5}],
    "slowdown": [{"at": 5, "for": 15, "slowdown": 4}],
    "failures": [{"at": 4, "for": 8, "failure_rate": 0.8}],
    "one profile": [{"at": 2, "for": 15, "outage": True, "profile": "fast"}],
    "all": [
        {"at": 3, "for": 4, "outage": True},
        {"at": 8, "for": 6, "slowdown": 3},
        {"at": 6, "for": 5, "failure_rate": 0.3},
    ],
}
CASES |= {
    name: ({"num_messages": 8_000, "events": events}, None) for name, events in EVENTS.items()
}


@pytest.mark.parametrize("case", CASES)
def test_time_left_is_near_the_truth(case: str) -> None:
    configuration, workers = CASES[case]
    simulation = Simulation.model_validate(configuration, strict=False)
    seen = [error for seed in (1, 2, 3) for error in errors(simulation, seed, workers)]
    assert len(seen) > 10
    assert median(seen) < CLOSE
