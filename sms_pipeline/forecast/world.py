"""What all parts of a simulated run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sms_pipeline.core.records import Run, Settlement
from sms_pipeline.forecast.agenda import Agenda
from sms_pipeline.forecast.broker import Broker
from sms_pipeline.forecast.costs import Costs
from sms_pipeline.forecast.standing import Books


@dataclass(frozen=True, slots=True)
class World:
    """The time, the broker, the ledger, and what things cost."""

    run: Run
    agenda: Agenda
    broker: Broker
    books: Books
    #: By profile: a batch of one may stand for more messages than a batch of another.
    costs: Mapping[str, Costs]
    #: Seconds that are looked at together, where times do not depend on that.
    stride: float
    #: By profile: seconds by which a batch ends later than its simulated messages; none: not.
    slower: Mapping[str, float] = field(default_factory=dict)
    #: Are told of each settlement once it is committed.
    on_settled: list[Callable[[Settlement], None]] = field(default_factory=list)

    def settled(self, settlement: Settlement) -> None:
        """Tell whoever wants to know."""
        for told in self.on_settled:
            told(settlement)
