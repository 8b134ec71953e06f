"""The figures of real runs mean what they say: they depend on the run, not on how it is led."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.functional import checker
from tests.functional.terminal import PATIENCE_SECONDS, Terminal
from tests.services.waiting import wait_until

#: Two runs of the same kind on a machine with other work to do differ by less.
SAME = 0.05

#: 100 messages a second, half of them by each profile.
SENDERS = [
    {"name": "one", "count": 10, "mean_time": 0.2, "failure_rate": 0},
    {"name": "other", "count": 5, "mean_time": 0.1, "failure_rate": 0},
]


def rehearse(terminal: Terminal, *options: str, **simulation: Any) -> dict[str, Any]:
    """Run it here, and return what `--json` says."""
    given = {"senders": SENDERS, "num_messages": 400, "report_period": 0.5, **simulation}
    terminal.configure(**given)
    result = terminal.run("run", "--json", *options)
    assert result.code == 0, result.err
    return dict(result.json)


def test_delivery_times_do_not_depend_on_when_messages_are_dispatched(terminal: Terminal) -> None:
    # Given the same run twice: once all is dispatched at its start, once when there is room; at the
    # same time, so that what else the machine has to do slows down both
    static, adaptive = rehearse_both(
        terminal,
        ("--routing", "static"),
        ("--routing", "adaptive"),
        num_messages=800,
        batch_size=1,
        seed=1,
    )
    assert 7 < static["seconds"] < 12
    # Then messages take as long in either, from the alert to their delivery
    for name in ("mean_delivery_seconds", "p95_delivery_seconds"):
        assert adaptive[name] == pytest.approx(static[name], rel=SAME), name
    # And much less from their dispatch, where they are dispatched when there is room
    assert adaptive["mean_transit_seconds"] < 0.75 * static["mean_transit_seconds"]


def rehearse_both(
    terminal: Terminal, *variants: tuple[str, ...], **simulation: Any
) -> list[dict[str, Any]]:
    """Run it with each of these options at once, each with a ledger of its own."""
    terminal.configure(senders=SENDERS, report_period=0.5, **simulation)
    started = [
        terminal.start(
            "run",
            "--json",
            *options,
            SMS_DATABASE_URL=f"sqlite:///{terminal.folder / f'{number}.db'}",
        )
        for number, options in enumerate(variants)
    ]
    results = [run.wait() for run in started]
    assert [result.code for result in results] == [0] * len(variants), results
    return [result.json for result in results]


def test_a_deadline_counts_from_the_start_of_the_run(terminal: Terminal) -> None:
    # Given a run that takes twice as long as its messages have, each of which is dispatched less
    # than that before its turn
    found = rehearse(terminal, deadline=2.0, batch_size=1)
    # Then those whose turn comes later expire all the same
    assert 0 < found["delivered"] < 250
    assert found["expired"] == 400 - found["delivered"]
    latest = max(row["settled_at"] for row in checker.rows(ledger_of(terminal), "settlements", 1))
    (run,) = checker.rows(ledger_of(terminal), "runs", 1)
    assert latest - run["started_at"] < 4


def ledger_of(terminal: Terminal) -> str:
    """Where a run keeps its ledger when nothing is set."""
    return f"sqlite:///{terminal.folder / 'sms_pipeline.db'}"


def test_run_whose_process_is_gone_is_interrupted_until_it_is_resumed(terminal: Terminal) -> None:
    # Given a run that would take longer, and is killed in the middle
    terminal.configure(senders=SENDERS, num_messages=400, report_period=0.5)
    run = terminal.start("run")
    database = ledger_of(terminal)
    wait_until(lambda: delivered(database) > 0, PATIENCE_SECONDS, "some are delivered")
    run.kill()
    killed_at = time.time()

    # When it is looked at, then it is interrupted, and the senders are gone
    shown = terminal.run("monitor", "--once", "--json").json
    assert shown["state"] == "interrupted"
    assert [profile["senders"] for profile in shown["profiles"]] == [0, 0]

    # When it is resumed, then it ends, and tells for how long nothing had happened
    resumed_at = time.time()
    result = terminal.run("resume", "1")
    assert result.code == 0, result.err
    done = terminal.run("monitor", "1", "--json").json
    assert (done["state"], done["delivered"]) == ("done", 400)
    assert done["interrupted_seconds"] > resumed_at - killed_at
    assert done["interrupted_seconds"] < done["seconds"]


def delivered(database: str) -> int:
    """Messages delivered so far; none while there is no ledger."""
    try:
        return checker.finished(database, 1)
    except OperationalError:  # No file, or no tables in it.
        return 0


def test_pauses_are_told_while_they_last_and_afterwards(terminal: Terminal) -> None:
    # Given a run that is paused in the middle
    terminal.configure(senders=SENDERS, num_messages=800, batch_size=1, report_period=0.5)
    run = terminal.start("run", "--json")
    database = ledger_of(terminal)
    wait_until(lambda: delivered(database) > 0, PATIENCE_SECONDS, "some are delivered")
    assert terminal.run("pause", "1").code == 0

    # When it is looked at, then it is paused, and for ever longer
    first, second = (terminal.run("monitor", "--once", "--json").json for _ in range(2))
    assert first["state"] == second["state"] == "paused"
    assert 0 < first["paused_seconds"] < second["paused_seconds"]

    # When it goes on, then the pause is over
    assert terminal.run("continue", "1").code == 0
    result = run.wait()
    assert result.code == 0, result.err
    assert result.json["state"] == "done"
    assert second["paused_seconds"] < result.json["paused_seconds"] < result.json["seconds"]
