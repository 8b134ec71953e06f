"""What was measured of machines, and is kept."""

from __future__ import annotations

import pytest

from sms_pipeline.core.errors import DamagedLedgerError
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.measurements import Measured, keep, newest, settlements_of
from sms_pipeline.ledger.store import Ledger
from tests.unit import make

FIRST = Measured(1_000.0, {"start": 0.1, "settle": 0.02})
#: A cost may be too small for the clock.
SECOND = Measured(2_000.0, {"start": 0.2, "settle": 0.0})


@pytest.mark.parametrize("rows_come", ["forwards"], indirect=True)
def test_the_newest_of_a_machine_counts(ledger: Ledger) -> None:
    for machine, measured in (("host-a", FIRST), ("host-a", SECOND), ("host-b", FIRST)):
        keep(ledger, machine, True, measured)
    assert newest(ledger, "host-a", True) == SECOND
    assert newest(ledger, "host-b", True) == FIRST
    assert newest(ledger, "host-c", True) is None
    # Nor does it say anything of RabbitMQ
    assert newest(ledger, "host-a", False) is None


@pytest.mark.parametrize("costs", ["", "5", '{"start": -1}', '{"start": "a"}', '{"start": NaN}'])
def test_costs_that_are_none_are_refused(ledger: Ledger, costs: str) -> None:
    keep(ledger, "host-a", True, FIRST)
    with ledger.writing() as connection:
        connection.execute(schema.measurements.update().values(costs=costs))
    with pytest.raises(DamagedLedgerError) as caught:
        newest(ledger, "host-a", True)
    assert str(caught.value) == (
        "the ledger has a row that can't be read: measurements.costs is no list of costs"
    )


def test_settlements_of_a_run_are_counted(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(), 1, True)
    assert settlements_of(ledger, run.id) == 0
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id)])
    assert settlements_of(ledger, run.id) == 1
