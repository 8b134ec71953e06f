"""A producer on virtual time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from sms_pipeline.core.messages import Columns
from sms_pipeline.core.records import BatchRow, Settlement
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.forecast.costs import Processor
from sms_pipeline.forecast.shell import Driven
from sms_pipeline.forecast.world import World
from sms_pipeline.producer.dispatching import (
    Dispatching,
    Effect,
    PublishFirst,
    ReadSnapshot,
    RecordBatches,
    Say,
    Wait,
    answered_by,
    with_columns,
)
from sms_pipeline.producer.load import Loads

#: No text takes part in a simulated run.
_NO_COLUMNS = Columns("", "")
_LEDGER = "simulated"
#: It looks at least once in so many strides.
_IDLE_STRIDES = 10

_Dispatch = Driven[Effect, None]


class VirtualProducer:
    """Performs what the dispatch of a run asks for."""

    def __init__(self, loads: Loads, processor: Processor, world: World) -> None:
        """
        Args:
            loads: the load of each profile.
            processor: does its work.
            world: all else.
        """
        self._processor = processor
        self._world = world
        self._begun = False
        #: Settlements since the counters were read.
        self._unseen = 0
        #: While it waits for one: since when, how often it looks, and how many waits there were.
        self._idle: tuple[float, float] | None = None
        self._waits = 0
        world.on_settled.append(self._see)
        dispatching = Dispatching(world.run, loads, world.agenda)
        self._dispatch: _Dispatch = Driven(dispatching.dispatch(), self._perform, self._end)

    def begin(self) -> None:
        """Start dispatching."""
        start = max(costs.start for costs in self._world.costs.values())
        self._world.agenda.after(start, self._dispatch.begin)

    def _end(self, _result: None) -> None:
        """All is dispatched."""

    def _perform(self, effect: Effect, dispatch: _Dispatch) -> None:
        match effect:
            case Wait(seconds, closed_for):
                self._wait(seconds, closed_for)
            case PublishFirst(rows, origin):
                self._publish(rows, origin)
            case RecordBatches():
                self._answer_at(self._processor.take(self._turn), effect)
            case _:
                self._answer_at(self._world.agenda.monotonic(), effect)

    @property
    def _turn(self) -> float:
        return max(costs.turn for costs in self._world.costs.values())

    def _answer_at(self, moment: float, effect: Effect) -> None:
        self._world.agenda.at(moment, lambda: self._dispatch.answer(self._ask_books(effect)))

    def _ask_books(self, effect: Effect) -> Any:
        if isinstance(effect, Say):
            return None
        if isinstance(effect, ReadSnapshot):
            self._unseen = 0
        return answered_by(self._world.books, self._world.run, effect)

    def _wait(self, seconds: float, closed_for: float) -> None:
        """Waiting for room is most of what a producer does, so looks that see nothing are left out.

        While no counter changes, no profile gets more room.
        """
        now = self._world.agenda.monotonic()
        if closed_for:
            self._world.agenda.at(now + closed_for, self._dispatch.answer)
            return
        self._waits += 1
        self._idle = now, seconds
        if self._unseen or not self._begun:
            self._look_again()
        else:
            waits = self._waits
            longest = max(seconds, _IDLE_STRIDES * self._world.stride)
            self._world.agenda.at(now + longest, lambda: self._look_after(waits))

    def _see(self, _settlement: Settlement) -> None:
        self._unseen += 1
        self._look_again()

    def _look_after(self, waits: int) -> None:
        if waits == self._waits:
            self._look_again()

    def _look_again(self) -> None:
        """If it waits, let it look at the next of its moments."""
        if self._idle is None:
            return
        since, period = self._idle
        self._idle = None
        periods = math.ceil((self._world.agenda.monotonic() - since) / period)
        self._world.agenda.at(since + max(periods, 1) * period, self._dispatch.answer)

    def _publish(self, rows: Sequence[BatchRow], origin: float | None) -> None:
        world, published = self._world, list[tuple[int, float]]()
        self._begun = True
        moment = world.agenda.monotonic()
        for row in rows:
            costs = world.costs[row.profile]
            made = self._processor.take(costs.publish_batch + costs.make_message * row.size)
            moment = made + costs.publish
            batch = with_columns(_LEDGER, world.run, row, _NO_COLUMNS, origin=origin)
            world.broker.publish(batch, moment)
            published.append((row.number, EPOCH + moment))
        world.agenda.at(moment, partial(self._dispatch.answer, published))
