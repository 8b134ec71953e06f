"""Commands that steer."""

from __future__ import annotations

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
    result = invoke("continue")
    assert result.exit_code != 0
    assert "final" in result.stderr
