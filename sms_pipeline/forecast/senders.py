"""The sender banks of one worker, stepped on virtual time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.sender_bank import SenderBank
from sms_pipeline.core.submission import PLAIN, Finished, Seconds, Terms
from sms_pipeline.forecast.agenda import Agenda

#: Shortest pause between two steps while messages wait, seconds: shorter makes no difference.
TICK = 0.02
#: The next step is when so much of what a submission still takes is over: its end is not missed.
_NEARLY = 0.9
#: Senders that are few here: steps are long, so each of them comes round several times in one.
_FEW = 256

#: Told when each message of a submission ended, on the monotonic clock.
Ended = Callable[[Finished], None]


class Senders:
    """Plays what is submitted, and tells when its last message has ended, at that moment."""

    def __init__(self, agenda: Agenda, profiles: Iterable[SenderProfile], stride: float) -> None:
        """
        Args:
            agenda: the time.
            profiles: the senders.
            stride: how far ahead busy senders are looked for, seconds; times do not depend on it.
        """
        self._agenda = agenda
        self._banks = {one.name: SenderBank(one.lanes, stride, _FEW) for one in profiles}
        self._wake_at = dict.fromkeys(self._banks, math.inf)
        self._keys = itertools.count()
        self._waiting: dict[int, Ended] = {}

    def play(
        self,
        profile: str,
        durations: Seconds,
        give_up_at: float,
        ended: Ended,
        terms: Terms = PLAIN,
    ) -> None:
        """See `SenderDriver.play`."""
        key = next(self._keys)
        self._waiting[key] = ended
        bank = self._banks[profile]
        bank.submit(key, self._agenda.monotonic(), durations, give_up_at, terms)
        self._step(profile)

    def _wake(self, profile: str, moment: float) -> None:
        # An earlier call was put down since: that one has done, or will do, what is to be done.
        if self._wake_at[profile] == moment:
            self._wake_at[profile] = math.inf
            self._step(profile)

    def _step(self, profile: str) -> None:
        bank, now = self._banks[profile], self._agenda.monotonic()
        finished = bank.step(now)
        self._come_back(profile, bank, now)
        for one in finished:
            self._waiting.pop(one.key)(one)  # type: ignore[call-overload]

    def _come_back(self, profile: str, bank: SenderBank, now: float) -> None:
        pause = max(TICK, _NEARLY * bank.sending_seconds())
        moment = min(bank.next_end(), max(bank.next_event(), now + pause))
        if moment < self._wake_at[profile]:
            self._wake_at[profile] = moment
            self._agenda.at(moment, lambda: self._wake(profile, moment))
