"""Runs to those whom an earlier one reached, or did not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sms_pipeline.core.errors import ConfigError, UnknownRunError
from sms_pipeline.core.messages import split
from sms_pipeline.core.recipients import Recipients
from sms_pipeline.core.records import Run
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer import table
from sms_pipeline.producer.messages import messages_of
from sms_pipeline.producer.recipients import examined
from tests.unit import make
from tests.unit.producer import people


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(table, "BLOCK", 140)
    return people.write(tmp_path / "people.csv", 30)


@pytest.fixture
def earlier(ledger: Ledger, file: Path) -> Run:
    """30 messages: 2 and 17 failed, 21 expired, and what batch 2 had left was cancelled: 24, 25."""
    run = ledger.start_run(people.checked(file), seed=7)
    ledger.record_batches(run.id, [make.row(run.id, n, n * 10) for n in range(3)])
    ledger.settle(
        [
            make.settlement(run.id, 0, delivered=9, failed=1, failed_indexes=[2]),
            make.settlement(run.id, 1, delivered=9, failed=1, failed_indexes=[17]),
            make.settlement(
                run.id, 2, delivered=7, expired=1, expired_indexes=[21], retried=2,
                remainder=make.bitmap(4, 5),
            ),
        ]
    )  # fmt: skip
    ledger.settle(
        [
            make.settlement(
                run.id, 2, 1, messages=2, delivered=0, cancelled=2, taken=make.bitmap(4, 5)
            )
        ]
    )
    return run


def follow_up(ledger: Ledger, file: Path, only: str) -> Simulation:
    asked = people.simulation(file, recipients={"file": str(file), "only": only})
    return examined(asked, only_first=False, ledger=ledger)


def numbers(ledger: Ledger, simulation: Simulation) -> list[str]:
    run = Run(99, make.NOON, 7, simulation.num_messages, simulation)
    return split(messages_of(ledger, run).take(0, simulation.num_messages)().to)


def test_those_who_were_not_reached(ledger: Ledger, file: Path, earlier: Run) -> None:
    simulation = follow_up(ledger, file, f"failed:{earlier.id}")
    assert numbers(ledger, simulation) == [people.number(row) for row in (2, 17, 21)]


def test_those_who_were_reached(ledger: Ledger, file: Path, earlier: Run) -> None:
    simulation = follow_up(ledger, file, f"delivered:{earlier.id}")
    rows = set(range(30)) - {2, 17, 21, 24, 25}
    assert numbers(ledger, simulation) == [people.number(row) for row in sorted(rows)]


def test_what_was_cancelled_is_in_neither_and_that_is_said(
    ledger: Ledger, file: Path, earlier: Run
) -> None:
    both = (follow_up(ledger, file, f"{what}:{earlier.id}") for what in ("failed", "delivered"))
    written_to = {number for simulation in both for number in numbers(ledger, simulation)}
    assert {people.number(row) for row in range(30)} - written_to == {
        people.number(row) for row in (24, 25)
    }
    assert "a cancelled one is neither" in (Recipients.model_fields["only"].description or "")


def test_a_follow_up_of_a_follow_up(ledger: Ledger, file: Path, earlier: Run) -> None:
    # Given a follow-up to rows 2, 17 and 21, of which the second failed again
    run = ledger.start_run(follow_up(ledger, file, f"failed:{earlier.id}"), seed=8)
    ledger.record_batches(run.id, [make.row(run.id, 0, 0, 3)])
    ledger.settle([make.settlement(run.id, messages=3, delivered=2, failed=1, failed_indexes=[1])])

    # Then the next one goes to that row only
    simulation = follow_up(ledger, file, f"failed:{run.id}")
    assert numbers(ledger, simulation) == [people.number(17)]


def refusal(ledger: Ledger | None, file: Path, only: str) -> str:
    asked = people.simulation(file, recipients={"file": str(file), "only": only})
    with pytest.raises(ConfigError) as refused:
        examined(asked, only_first=False, ledger=ledger)
    return str(refused.value).replace(str(file), file.name)


def test_what_can_not_be_followed_up(ledger: Ledger, file: Path, earlier: Run, run: Run) -> None:
    unfinished = ledger.start_run(earlier.simulation, seed=9)
    assert refusal(ledger, file, f"failed:{unfinished.id}").endswith("is not done yet")
    assert "went to no file of recipients" in refusal(ledger, file, f"failed:{run.id}")
    assert "needs a ledger" in refusal(None, file, f"failed:{earlier.id}")
    with pytest.raises(UnknownRunError, match="no run 99"):
        follow_up(ledger, file, "failed:99")
    people.write(file, 31)
    assert "went to another file" in refusal(ledger, file, f"failed:{earlier.id}")


@pytest.mark.parametrize("what", ["failed", "delivered"])
def test_a_forecast_reached_nobody(ledger: Ledger, file: Path, what: str) -> None:
    foretold = people.checked(file, num_messages=10).model_copy(
        update={"messages_from": "forecast"}
    )
    run = ledger.start_run(foretold, seed=7)
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id)])
    said = f"run {run.id} is a forecast: no message of it was ever sent; show it with: "
    assert refusal(ledger, file, f"{what}:{run.id}") == f"{said}sms-pipeline report {run.id}"


def test_nobody_is_left(ledger: Ledger, file: Path) -> None:
    run = ledger.start_run(people.checked(file, num_messages=10), seed=7)
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id)])
    nobody = "there is nobody of that kind in people.csv"
    assert refusal(ledger, file, f"failed:{run.id}") == f"failed:{run.id}: {nobody}"
