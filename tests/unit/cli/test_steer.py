"""Commands that steer."""

from __future__ import annotations

from sms_pipeline.core.errors import EXIT_USAGE
from sms_pipeline.ledger.steering import in_hand
from sms_pipeline.ledger.store import Ledger
from tests.unit import make
from tests.unit.cli.commands import invoke


def test_run_is_paused_continued_and_cancelled(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    for command, control in (
        ("pause", "paused"),
        ("continue", "running"),
        ("cancel", "cancelled"),
    ):
        assert invoke(command).exit_code == 0
        assert ledger.run(run.id).control == control
    assert sum(one.cancelled for one in ledger.snapshot(run).profiles) == 10
    for command, said in (("continue", "that is final"), ("cancel", "has ended")):
        result = invoke(command)
        assert result.exit_code == EXIT_USAGE
        assert said in result.stderr


def test_pausing_tells_how_much_is_finished_first(ledger: Ledger) -> None:
    # Given a worker for `fast`, with 10 messages waiting for it, and 20 for nobody
    run = ledger.start_run(make.simulation(num_messages=100), seed=1)
    ledger.join("w1", [make.profile("fast")])
    rows = [
        make.row(run.id, 0),
        make.row(run.id, 1, first_index=10, size=20, profile="slow"),
    ]
    ledger.record_batches(run.id, rows)
    assert invoke("pause").stdout.splitlines() == [
        "Run 1 is stopping: about 10 messages in hand are finished first, the others wait.",
        "Continue it with: sms-pipeline continue 1",
    ]


def test_no_more_is_in_hand_than_workers_take(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=1_000, batch_size=2), seed=1)
    ledger.record_batches(run.id, [make.row(run.id, size=1_000)])
    assert in_hand(ledger.snapshot(run)) == 0
    ledger.join("w1", [make.profile("fast", count=5)])
    assert in_hand(ledger.snapshot(run)) == (3 * 5 // 2 + 1 + 50) * 2
